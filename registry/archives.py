"""Uploaded archives, unpacked into the folder of a dataset or model: so far as is sound, and
nowhere else."""

from __future__ import annotations

import errno
import fcntl
import lzma
import os
import shutil
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from api.plain import is_plain, plain_text
from registry.doctor.formats import holds_rows
from registry.doctor.images import IMAGES
from registry.doctor.splits import split_of
from registry.doctor.unpack import ALWAYS_BYTES, MOST_TIMES
from registry.files import MOST_FILES, BadPath

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
_BLOCK = 1 << 20
_WAITING, _UNPACKED = ".waiting", ".unpacked"
ASK_AGAIN_SECONDS = 0.2
_BROKEN = (
    *(EOFError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, tarfile.TarError, struct.error),
    *(ValueError, LookupError, OverflowError),
)  # RuntimeError: it is encrypted
# Any other OSError is the archive's: places that are none, checksums of gzip, a file for a folder.
_OF_THE_DISK = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS),
    *(errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE),
)


class TakesLonger(Exception):
    """It unpacks to more than may be unpacked at once."""


class Wanted(NamedTuple):
    """Which files are taken out of an archive, what they are called where there is none of them,
    and what they make."""

    takes: Callable[[str], bool]
    called: str
    makes: str


class _Member(NamedTuple):
    name: str
    open: Any  # () -> IO[bytes]


def is_one(file_name: str) -> bool:
    return file_name.lower().endswith(SUFFIXES)


def take_in(archive: Path, folder: Path, file_name: str, at_once_bytes: int) -> bool:
    """Make the dataset's folder of an archive. False where that would keep a request waiting: then
    the archive itself lies in the folder, for a worker (`waiting_in`, `unpack_waiting`). Raises
    BadPath."""
    if archive.stat().st_size <= at_once_bytes:
        try:
            unpack(archive, folder, at_once_bytes)
            return True
        except TakesLonger:
            shutil.rmtree(folder)
    folder.mkdir(parents=True)
    end = next(end for end in SUFFIXES if file_name.lower().endswith(end))
    os.replace(archive, folder / f"{_WAITING}{end}")
    return False


def waiting_in(folder: Path) -> Path | None:
    """The archive in a dataset's folder that is still to be unpacked. Hidden, so that nobody takes
    it for one of the dataset's files."""
    return next(folder.glob(f"{_WAITING}.*"), None) if folder.is_dir() else None


def unpack_waiting(archive: Path, meanwhile: Callable[[], None]) -> None:
    """Put what is in it into the folder that it waits in. Killed at any moment, it is begun again;
    whoever is still at it ends first. ``meanwhile`` is called at least every second, and ends it by
    what it raises. Raises BadPath, and what ``meanwhile`` raises."""
    folder = archive.parent
    unpacked = folder / _UNPACKED
    with open(archive, "rb") as lock:
        while not _locked(lock):
            time.sleep(ASK_AGAIN_SECONDS)
            meanwhile()
        if not archive.exists():  # by whom we have waited for
            return
        for entry in folder.iterdir():
            if entry != archive:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        unpack(archive, unpacked, None, meanwhile)
        for entry in unpacked.iterdir():
            entry.rename(folder / entry.name)
        unpacked.rmdir()
        archive.unlink()


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unpack(
    archive: Path,
    folder: Path,
    at_once_bytes: int | None = None,
    meanwhile: Callable[[], None] = lambda: None,
    wanted: Wanted | None = None,
) -> None:
    """What is ``wanted`` (files of rows and images), with its folders; anything else is left out,
    links among it. A folder that everything lies in is left out too. Raises BadPath, and
    TakesLonger beyond ``at_once_bytes``."""
    wanted = wanted or DATASET
    most = max(archive.stat().st_size * MOST_TIMES, ALWAYS_BYTES)
    room = _Room(most, at_once_bytes, meanwhile, wanted)
    folder.mkdir(parents=True)
    try:
        with _opened(archive, room) as members:
            if len(members) > MOST_FILES:
                raise BadPath(f"The archive has more than {MOST_FILES:,} files.")
            if not members:
                raise BadPath(f"There is {wanted.called} in the archive.")
            paths = [_path_of(member) for member in members]
            shared = _shared_folders(paths)
            for member, path in zip(members, paths, strict=True):
                _write(member, folder.joinpath(*path.parts[shared:]), room)
    except FileExistsError as error:
        raise BadPath("The archive has a file in it twice.") from error
    except BadPath:
        raise
    except _BROKEN as error:
        raise BadPath(f"The archive cannot be unpacked: {plain_text(str(error))}.") from error
    except OSError as error:
        if error.errno in _OF_THE_DISK:
            raise
        raise BadPath(f"The archive cannot be unpacked: {plain_text(str(error))}.") from error


@contextmanager
def _opened(archive: Path, room: _Room) -> Iterator[list[_Member]]:
    """What is wanted of it. Names are believed, sizes are not."""

    def is_wanted(name: str) -> bool:
        return not _is_hidden(name) and room.wanted.takes(name)

    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            files = [one for one in zipped.infolist() if _is_file(one) and is_wanted(one.filename)]
            yield [_Member(one.filename, lambda one=one: zipped.open(one)) for one in files]
        return
    with tarfile.open(archive, "r:*") as tar:
        found = []
        for entry in tar:
            room.meanwhile()
            if tar.offset > room.most:
                raise room.too_much
            if entry.isreg() and is_wanted(entry.name):
                found.append(entry)
        yield [_Member(one.name, lambda one=one: tar.extractfile(one)) for one in found]


def _is_file(member: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(member.external_attr >> 16)
    return not member.is_dir() and kind in (0, stat.S_IFREG)


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part.startswith((".", "__MACOSX")) and part != ".." for part in parts)


def _holds_rows_or_an_image(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return holds_rows(path.name) or path.suffix.lower() in IMAGES


DATASET = Wanted(_holds_rows_or_an_image, "neither a file of rows nor an image", "dataset")


def _path_of(member: _Member) -> PurePosixPath:
    path = PurePosixPath(member.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\x00" in member.name:
        raise BadPath("The archive has a file in it that leads out of its folder.")
    if not is_plain(member.name):
        raise BadPath("The archive has a file in it whose name is not UTF-8.")
    if len(str(path)) > 500 or any(len(part.encode()) > 255 for part in path.parts):
        raise BadPath("The archive has a file in it whose name is too long.")
    return path


def _shared_folders(paths: list[PurePosixPath]) -> int:
    """1 where all files lie in one and the same folder: then it says nothing of them. Nor does one
    around other folders, but for that of a split."""
    around = paths[0].parts[:1]
    if any(len(path.parts) < 2 or path.parts[:1] != around for path in paths):
        return 0
    is_last = {path.parts[:-1] for path in paths} == {around}
    return int(is_last or not split_of(around[0]))


class _Room:
    """What may still come. What the archive says of its size is not believed."""

    def __init__(
        self,
        most: int,
        at_once_bytes: int | None,
        meanwhile: Callable[[], None],
        wanted: Wanted,
    ) -> None:
        self.most, self.at_once_bytes = most, at_once_bytes
        self.meanwhile, self.wanted = meanwhile, wanted
        self.written = 0

    @property
    def too_much(self) -> BadPath:
        makes = self.wanted.makes
        return BadPath(f"The archive unpacks to far more than it should: it is no {makes}.")

    def take(self, count: int) -> None:
        self.written += count
        if self.written > self.most:
            raise self.too_much
        if self.at_once_bytes is not None and self.written > self.at_once_bytes:
            raise TakesLonger
        self.meanwhile()


def _write(member: _Member, target: Path, room: _Room) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source: IO[bytes]
    with member.open() as source, open(target, "xb") as file:
        while block := source.read(_BLOCK):
            room.take(len(block))
            file.write(block)
