"""Where a transfer keeps what has come so far, and who may write there.

``transfers/<id>/`` in TRAINYARD_HOME holds ``files/`` (whole and verified, under their names),
``parts/`` (what is still coming) and ``lock``. All of it goes with the transfer's end.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from django.conf import settings

from registry import storage, store
from registry.hub.models import Transfer
from registry.hub.trouble import Stopped, Trouble

ASK_AGAIN_SECONDS = 0.2


def folder_of(transfer_id: uuid.UUID) -> Path:
    return Path(settings.TRAINYARD_TRANSFERS) / str(transfer_id)


def files_of(transfer_id: uuid.UUID) -> Path:
    return folder_of(transfer_id) / "files"


def part_of(transfer_id: uuid.UUID, file_id: int) -> Path:
    return folder_of(transfer_id) / "parts" / str(file_id)


def file_in(folder: Path, path: str) -> Path:
    """Where a file of a repository lies below ``folder``. Raises Trouble for a path that would
    lead out of it: the list of files comes from outside."""
    parts = PurePosixPath(path).parts
    bad = not parts or path.startswith("/") or "\\" in path or "\x00" in path
    if bad or any(part in ("..", ".") or len(part.encode()) > 255 for part in parts):
        raise Trouble("bad_name", f"The hub lists a file that cannot be kept: {path[:200]!r}.")
    return folder.joinpath(*parts)


@contextmanager
def held(transfer_id: uuid.UUID, wait: Callable[[float], bool]) -> Iterator[None]:
    """Alone in the transfer's folder, which is made if need be. The kernel lets go of it however we
    end. ``wait(seconds)`` says whether to stop meanwhile; then Stopped is raised.
    """
    folder = folder_of(transfer_id)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "a", encoding="utf-8") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if wait(ASK_AGAIN_SECONDS):
                        raise Stopped from None
            if _is_still_there(lock.fileno(), folder / "lock"):
                (folder / "parts").mkdir(exist_ok=True)
                (folder / "files").mkdir(exist_ok=True)
                yield
                return


def _is_still_there(descriptor: int, path: Path) -> bool:
    """Who had the lock may have removed the folder with it."""
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def remove(transfer_id: uuid.UUID, others: Callable[[], Iterable[Path]] = tuple) -> bool:
    """Remove the folder, and before it the ``others``, unless somebody is at work there. Whether it
    is gone. What the others are is asked when nobody is."""
    folder = folder_of(transfer_id)
    try:
        with open(folder / "lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            storage.remove(*others(), folder)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        storage.remove(*others(), folder)
    return not folder.exists()


def all_ids() -> list[uuid.UUID]:
    """The transfers that have a folder."""
    home = Path(settings.TRAINYARD_TRANSFERS)
    found = []
    for place in home.iterdir() if home.is_dir() else ():
        try:
            found.append(uuid.UUID(place.name))
        except ValueError:
            continue
    return found


def free_bytes() -> int:
    return shutil.disk_usage(settings.TRAINYARD_TRANSFERS).free


def destination_of(transfer: Transfer) -> Path:
    """Where its files lie once it is an entry of the registry."""
    of = storage.upload_folder if transfer.makes == "dataset" else storage.model_folder
    return of(transfer.entry_id)


def around(transfer: Transfer) -> list[Path]:
    """What somebody who was killed while he made an entry of it has left beside that place:
    manifest and looks, whole or half written, and second names in the store."""
    place = destination_of(transfer)
    beside = [path for dot in ("", ".") for path in place.parent.glob(f"{dot}{place.name}.*")]
    return [*beside, *store.under_way(place)]
