"""Brings the files of a plan: several at once, each from where it had stopped, each compared with
its hash before it gets its name."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from registry.hub import places
from registry.hub.models import TransferFile
from registry.hub.pulse import Pulse
from registry.hub.selection import Plan
from registry.hub.sources import Source
from registry.hub.trouble import Stopped, Trouble

log = logging.getLogger(__name__)

CONNECTIONS = 8
# Tries at one file without a new byte, before the whole transfer waits a while.
MOST_TRIES = 3
FIRST_WAIT_SECONDS = 0.5
WRITE_DOWN_SECONDS = 1.0
_BLOCK = 2**20


class Hashes:
    """SHA-256 of what comes, and beside it whatever else the source's hash is made with."""

    def __init__(self, size_bytes: int, expected: str) -> None:
        self.size_bytes = size_bytes
        self.kind, _, self.wanted = expected.partition(":")
        self.begin()

    def begin(self) -> None:
        self.sha256 = hashlib.sha256()
        self.other: Any = None
        if self.kind == "git-sha1":
            self.other = hashlib.sha1(b"blob %d\0" % self.size_bytes, usedforsecurity=False)
        elif self.kind == "md5":
            self.other = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def update(self, data: bytes) -> None:
        self.sha256.update(data)
        if self.other:
            self.other.update(data)
        self.size += len(data)

    def read(self, path: Path) -> None:
        with open(path, "rb") as file:
            while data := file.read(_BLOCK):
                self.update(data)

    @property
    def match(self) -> bool:
        return not self.wanted or (self.other or self.sha256).hexdigest() == self.wanted


class Fetch:
    """``write_down`` is told about once a second of the files that are whole: ids and SHA-256."""

    def __init__(
        self,
        source: Source,
        plan: Plan,
        pulse: Pulse,
        write_down: Callable[[list[tuple[int, str]]], None],
    ) -> None:
        self.source = source
        self.plan = plan
        self.pulse = pulse
        self.write_down = write_down
        self.folder = places.files_of(pulse.transfer_id)
        self.done: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self.failed = False

    def all(self, files: Sequence[TransferFile]) -> None:
        """Raises Trouble or Stopped, and then what has come stays for the next time."""
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch") as pool:
            # Large ones first: at the end no connection waits for the last of them.
            ordered = sorted(files, key=lambda file: -file.size_bytes)
            futures = [pool.submit(self._one, file) for file in ordered]
            open_: set[Future[None]] = set(futures)
            try:
                while open_:
                    done, open_ = wait(open_, WRITE_DOWN_SECONDS, FIRST_EXCEPTION)
                    self._write_down()
                    if any(future.exception() for future in done):
                        break
            finally:
                self.failed = True  # the others stop at their next block
                pool.shutdown(wait=True, cancel_futures=True)
        self._write_down()
        errors = [e for future in futures if not future.cancelled() and (e := future.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error

    def _write_down(self) -> None:
        done = []
        while not self.done.empty():
            done.append(self.done.get())
        if done:
            self.write_down(done)

    def _one(self, file: TransferFile) -> None:
        target = places.file_in(self.folder, file.path)
        part = places.part_of(self.pulse.transfer_id, file.pk)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            sha256 = self._whole(file, part)
            os.replace(part, target)
        except OSError as error:
            raise disk_trouble(error) from error
        self.pulse.done()
        self.done.put((file.pk, sha256))

    def _whole(self, file: TransferFile, part: Path) -> str:
        """Until the file is there as the hub says it is; its SHA-256."""
        tries = wrong = 0
        part.touch()
        while True:
            before = part.stat().st_size
            trouble: Trouble | None = None
            try:
                expected = self.source.hash_of(file.path, file.expected)
                hashes = Hashes(file.size_bytes, expected)
                hashes.read(part)
                self._append(file, part, hashes)
            except Trouble as error:
                trouble = error
            now = part.stat().st_size
            if now == file.size_bytes and trouble is None:
                if hashes.match:
                    return hashes.sha256.hexdigest()
                wrong += 1
                trouble = _wrong_bytes(file.path)
                self.pulse.lost(now)
                os.truncate(part, 0)
                if wrong == MOST_TRIES:
                    raise trouble
            if now > before:
                tries = 0
                continue
            tries += 1
            trouble = trouble or _cut(file.path)
            if not trouble.passes or trouble.wait_seconds is not None or tries >= MOST_TRIES:
                raise trouble
            log.info("%s, try %s: %s", file.path, tries, trouble)
            if self.pulse.pause(FIRST_WAIT_SECONDS * 2 ** (tries - 1)) or self.failed:
                raise Stopped

    def _append(self, file: TransferFile, part: Path, hashes: Hashes) -> None:
        """What the source sends behind what is there. Raises Trouble."""
        offset = hashes.size
        if offset > file.size_bytes:
            self._start_again(part, hashes)
            offset = 0
        if offset == file.size_bytes:
            return
        with (
            self.source.open(self.plan, file.path, file.size_bytes, offset) as (begin, blocks),
            open(part, "ab", buffering=0) as sink,
        ):
            if begin != offset:
                self._start_again(part, hashes)
            for block in blocks:
                if hashes.size + len(block) > file.size_bytes:
                    self._start_again(part, hashes)
                    raise _wrong_bytes(file.path)
                sink.write(block)
                hashes.update(block)
                self.pulse.moved(len(block))
                if self.failed:
                    raise Stopped

    def _start_again(self, part: Path, hashes: Hashes) -> None:
        self.pulse.lost(hashes.size)
        os.truncate(part, 0)
        hashes.begin()


def _wrong_bytes(path: str) -> Trouble:
    return Trouble(
        "wrong_bytes",
        f"What came as {path} is not what its own hash says.",
        "A proxy or a mirror may have damaged it, or the file is being changed. Try again later.",
        passes=True,
    )


def _cut(path: str) -> Trouble:
    return Trouble("network", f"{path} stopped coming in the middle.", "Try again.", passes=True)


def disk_trouble(error: OSError) -> Trouble:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Trouble(
            "disk_full",
            "The disk is full.",
            "Make room, then retry: what has come so far is kept.",
        )
    return Trouble(
        "disk_error",
        f"A file could not be written: {error.strerror or error}.",
        "Look at the rights and the health of the disk that TRAINYARD_HOME is on.",
    )
