"""A running transfer's heart: it says that it lives and how far it has come, hears that it shall
stop, and keeps to the bandwidth."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from registry.hub.bandwidth import Bucket, everybodys_bucket
from registry.hub.models import Status, Transfer
from registry.hub.trouble import Stopped

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
# The rate is of about so many last seconds.
RATE_SECONDS = 5.0

# The worker is to end: what runs goes back into the queue.
going_down = threading.Event()


class Pulse(threading.Thread):
    """Of one attempt at one transfer. Used as a context around its work."""

    def __init__(self, transfer: Transfer) -> None:
        super().__init__(name=f"pulse-{transfer.pk}", daemon=True)
        self.transfer_id = transfer.pk
        self.attempt = transfer.attempt
        self.stopped = threading.Event()  # the work is to stop
        self.over = threading.Event()  # the work has ended
        own = Bucket(transfer.bandwidth_limit) if transfer.bandwidth_limit else None
        self.buckets = [bucket for bucket in (own, everybodys_bucket()) if bucket]
        self.lock = threading.Lock()
        self.bytes_moved = 0
        self.files_done = 0
        self.phase = ""
        self.rate: float | None = None
        self._seen: tuple[float, int] | None = None

    def __enter__(self) -> Pulse:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        self.join()

    # -- For the work ------------------------------------------------------------------------------

    def moved(self, count: int) -> None:
        """So many bytes more. Waits where they came too fast; raises Stopped."""
        with self.lock:
            self.bytes_moved += count
        if self.buckets:
            seconds = max(bucket.wait_for(count) for bucket in self.buckets)
            if seconds > 0:
                self.stopped.wait(seconds)
        self.go_on()

    def lost(self, count: int) -> None:
        """So many bytes were wrong, and are fetched again."""
        with self.lock:
            self.bytes_moved -= count
        self._seen = None

    def done(self) -> None:
        """One more file is whole."""
        with self.lock:
            self.files_done += 1

    def begin(self, phase: str, *, bytes_moved: int = 0, files_done: int = 0) -> None:
        with self.lock:
            self.phase, self.bytes_moved, self.files_done = phase, bytes_moved, files_done
        self._seen = None
        self.beat()
        self.go_on()

    def go_on(self) -> None:
        """Raises Stopped where the work is to stop."""
        if self.stopped.is_set() or going_down.is_set():
            raise Stopped

    def pause(self, seconds: float) -> bool:
        """Wait; True at once where the work is to stop."""
        deadline = time.monotonic() + seconds
        while (rest := deadline - time.monotonic()) > 0:
            if going_down.is_set() or self.stopped.wait(min(rest, 0.5)):
                return True
        return self.stopped.is_set() or going_down.is_set()

    # -- The heart itself --------------------------------------------------------------------------

    def run(self) -> None:
        try:
            while not self.over.wait(BEAT_SECONDS):
                try:
                    self.beat()
                except (DatabaseError, InterfaceError) as error:
                    log.warning("transfer %s: the database does not answer (%s)", self.name, error)
                    connection.close()
        finally:
            connection.close()

    def beat(self) -> None:
        self._measure()
        ours = Transfer.objects.filter(
            pk=self.transfer_id, attempt=self.attempt, status=Status.RUNNING
        )
        now = timezone.now()
        alive = ours.update(
            heartbeat_at=now,
            updated_at=now,
            phase=self.phase,
            bytes_transferred=self.bytes_moved,
            files_done=self.files_done,
            rate_bytes_s=self.rate,
        )
        if not alive:
            self.stopped.set()

    def _measure(self) -> None:
        now, moved = time.monotonic(), self.bytes_moved
        if self._seen is None:
            self._seen, self.rate = (now, moved), None
            return
        seconds = now - self._seen[0]
        if seconds < BEAT_SECONDS / 2:
            return
        latest = (moved - self._seen[1]) / seconds
        weight = min(seconds / RATE_SECONDS, 1.0)
        self.rate = latest if self.rate is None else self.rate + weight * (latest - self.rate)
        self._seen = (now, moved)
