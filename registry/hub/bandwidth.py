"""So many bytes a second: of one transfer, and of all that move on this machine."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from pathlib import Path

from django.conf import settings

BURST_SECONDS = 0.5
# No debt is as long as this: what the file says then is from before the machine was started.
LONGEST_WAIT_SECONDS = 600.0
_MOMENT = struct.Struct("<d")


class Bucket:
    """At most half a second's worth at once."""

    def __init__(self, bytes_a_second: float) -> None:
        self.rate = bytes_a_second
        self.lock = threading.Lock()
        self.free_at = time.monotonic() - BURST_SECONDS

    def wait_for(self, count: int) -> float:
        """Seconds to wait before the next bytes, after ``count`` more have come."""
        with self.lock:
            now = time.monotonic()
            self.free_at = self.taken(count, now)
            return self.free_at - now

    def taken(self, count: int, now: float) -> float:
        return max(self.free_at, now - BURST_SECONDS) + count / self.rate


class SharedBucket(Bucket):
    """The same for all processes of this machine: when the next bytes may come stands in a file,
    whose lock goes with the process that has it."""

    def __init__(self, bytes_a_second: float, path: Path) -> None:
        super().__init__(bytes_a_second)
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def taken(self, count: int, now: float) -> float:
        fcntl.lockf(self.file, fcntl.LOCK_EX)
        try:
            written = os.pread(self.file, _MOMENT.size, 0)
            (moment,) = _MOMENT.unpack(written) if len(written) == _MOMENT.size else (0.0,)
            self.free_at = moment if moment < now + LONGEST_WAIT_SECONDS else 0.0
            free_at = super().taken(count, now)
            os.pwrite(self.file, _MOMENT.pack(free_at), 0)
            return free_at
        finally:
            fcntl.lockf(self.file, fcntl.LOCK_UN)


_everybody: dict[tuple[int, Path], SharedBucket] = {}


def everybodys_bucket() -> Bucket | None:
    """That of all transfers of this machine together."""
    limit = settings.TRAINYARD_TRANSFER_BANDWIDTH_MB * 1_000_000
    path = Path(settings.TRAINYARD_TRANSFERS) / "bandwidth"
    if not limit:
        return None
    if (limit, path) not in _everybody:
        _everybody[limit, path] = SharedBucket(limit, path)
    return _everybody[limit, path]
