"""Parts of files, written to the disk as they come.

What has come is written down (`Upload.offset`) only once it is on the disk, so a server that is
killed costs the last few megabytes of a part, which are sent again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, BinaryIO
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from accounts.models import Project
from api.plain import plain_text
from registry.models import Upload
from registry.uploads import first_look

log = logging.getLogger(__name__)

BLOCK_BYTES = 256 * 1024
# So much comes between two moments in which what has come is safe.
SAFE_EVERY_BYTES = 16 * 1024 * 1024
# What must stay free on the disk beside what is expected.
RESERVE_BYTES = 256 * 1024 * 1024
CHECKSUMS = ("sha1", "sha256")
# Hashes of uploads that this process receives just now: those of the longest silence go.
MOST_HASHES = 200


class CannotUpload(ValueError):
    """This file is not taken. ``field`` names what is wrong with it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TooLarge(ValueError):
    pass


class NoRoom(OSError):
    pass


class WrongOffset(Exception):
    """The part does not begin where the last one ended."""


class InUse(Exception):
    """Another part of the same file is coming just now."""


class WrongChecksum(Exception):
    """The part is not what its sender says; nothing of it was kept."""


def limit_bytes() -> int:
    return int(settings.TRAINYARD_UPLOAD_LIMIT_MB) * 1024 * 1024


def expiry() -> Any:
    return timezone.now() + timedelta(hours=settings.TRAINYARD_UPLOAD_HOURS)


def begin(*, user: Any, project: Project, file_name: str, size_bytes: int) -> Upload:
    """Raises CannotUpload, TooLarge, NoRoom; then nothing was written."""
    file_name = os.path.basename(plain_text(file_name).replace("\\", "/"))[:255]
    if reason := first_look.why_not(file_name):
        raise CannotUpload("filename", reason)
    if size_bytes == 0:
        raise CannotUpload("Upload-Length", f"'{file_name}' is empty.")
    if size_bytes > limit_bytes():
        raise TooLarge(
            f"The file is larger than {settings.TRAINYARD_UPLOAD_LIMIT_MB:,} MB "
            "(TRAINYARD_UPLOAD_LIMIT_MB)."
        )
    expected = sum(size - offset for size, offset in _open().values_list("size_bytes", "offset"))
    free = shutil.disk_usage(settings.TRAINYARD_UPLOADS).free - RESERVE_BYTES - expected
    if size_bytes > free:
        raise NoRoom(
            errno.ENOSPC,
            f"The disk has room for {max(free, 0) // 2**20:,} MB, and this file has "
            f"{size_bytes // 2**20:,} MB.",
        )
    upload = Upload(
        project=project,
        created_by=user if user.is_authenticated else None,
        file_name=file_name,
        size_bytes=size_bytes,
        expires_at=expiry(),
    )
    upload.path.touch()
    upload.save(force_insert=True)
    return upload


def receive(
    upload: Upload,
    offset: int,
    read: Callable[[int], bytes],
    checksum: tuple[str, bytes] | None = None,
) -> Upload:
    """Append what ``read`` gives, to its end; refreshes ``upload``.

    ``checksum``: algorithm and digest of this part. Raises WrongOffset, InUse, TooLarge, NoRoom,
    WrongChecksum, CannotUpload; and what ``read`` raises where its sender goes away. What had come
    until then is kept, but for a part whose checksum cannot be told.
    """
    with _locked(upload) as file:
        upload.refresh_from_db()
        if offset != upload.offset:
            raise WrongOffset(f"The part begins at {offset:,}, and {upload.offset:,} have come.")
        file.truncate(offset)  # what a crash has left behind it
        file.seek(offset)
        digest = hashlib.new(checksum[0]) if checksum else None
        whole = _hashes.pop(upload.pk, offset)
        end = offset
        try:
            while block := read(BLOCK_BYTES):
                if end + len(block) > upload.size_bytes:
                    raise TooLarge(f"More came than the {upload.size_bytes:,} bytes announced.")
                file.write(block)
                end += len(block)
                if whole is not None:
                    whole.update(block)
                if digest is not None:
                    digest.update(block)
                elif end - upload.offset >= SAFE_EVERY_BYTES:
                    _keep(upload, file, end)
        except CannotUpload:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoRoom(error.errno, "The disk of the server is full.") from error
            if digest is None:
                _keep(upload, file, end)
                _hashes.put(upload.pk, end, whole)
            raise
        if digest is not None and checksum is not None and digest.digest() != checksum[1]:
            file.truncate(offset)
            raise WrongChecksum("The part is not what its checksum says.")
        _keep(upload, file, end)
        _hashes.put(upload.pk, end, whole)
    if upload.is_complete:
        _complete(upload)
    return upload


def _keep(upload: Upload, file: BinaryIO, end: int) -> None:
    """The bytes until ``end`` are safe from now on. Raises CannotUpload where they show that the
    file is not what it should be: it goes, before the rest has come."""
    file.flush()
    os.fsync(file.fileno())
    looked_at = upload.offset < first_look.LOOKED_AT_BYTES
    Upload.objects.filter(pk=upload.pk).update(offset=end, expires_at=expiry())
    upload.offset = end
    if not looked_at:
        return
    with open(upload.path, "rb") as start:
        head = start.read(min(first_look.LOOKED_AT_BYTES, end))
    is_all = len(head) == upload.size_bytes
    if problem := first_look.problem(upload.file_name, head, is_all=is_all):
        remove(upload)
        raise CannotUpload("file", problem)


def _complete(upload: Upload) -> None:
    """Its hash is that of the bytes as they came; where another process had a part of them, the
    file is read once more."""
    whole = _hashes.pop(upload.pk, upload.offset)
    if whole is None:
        with open(upload.path, "rb") as file:
            whole = hashlib.file_digest(file, "sha256")
    upload.sha256 = whole.hexdigest()
    Upload.objects.filter(pk=upload.pk).update(sha256=upload.sha256)


@contextlib.contextmanager
def _locked(upload: Upload) -> Iterator[BinaryIO]:
    """One part at a time, in whichever process. The lock goes with the process that has it. Raises
    InUse, and CannotUpload where the file is gone."""
    try:
        file = open(upload.path, "r+b")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        raise CannotUpload("file", "What had come of this file is gone; begin anew.") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse("Another part of this file is coming just now.") from None
        yield file


def remove(upload: Upload) -> None:
    """It is not wanted (any more)."""
    Upload.objects.filter(pk=upload.pk).delete()
    upload.path.unlink(missing_ok=True)


def forget_expired() -> int:
    """Remove what nobody has continued in time; how many there were."""
    expired = list(Upload.objects.filter(expires_at__lt=timezone.now()))
    for upload in expired:
        remove(upload)
    return len(expired)


def _open() -> Any:
    return Upload.objects.filter(expires_at__gte=timezone.now())


class _Hashes:
    """SHA-256 of what has come of some uploads, with how many bytes of it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, tuple[int, Any]] = OrderedDict()

    def pop(self, upload_id: UUID, offset: int) -> Any:
        """None where this process does not know it."""
        if offset == 0:
            self._kept.pop(upload_id, None)
            return hashlib.sha256()
        known, digest = self._kept.pop(upload_id, (None, None))
        return digest if known == offset else None

    def put(self, upload_id: UUID, offset: int, digest: Any) -> None:
        if digest is None:
            return
        self._kept[upload_id] = (offset, digest)
        while len(self._kept) > MOST_HASHES:
            self._kept.popitem(last=False)


_hashes = _Hashes()
