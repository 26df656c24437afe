"""Files that have come become one dataset: a file for each split, or an archive of images."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accounts.models import Project
from api.plain import plain_text
from registry import archives, checks, doctor, services, storage, verification
from registry.models import Dataset, Entry, Upload
from registry.services import CannotRegister


@dataclass(frozen=True)
class Received:
    """A file on the same file system as TRAINYARD_HOME; ``split`` as it was chosen, or "" for what
    the name says. What becomes a dataset is moved, not copied."""

    path: Path
    file_name: str
    sha256: str
    split: str = ""

    @classmethod
    def of(cls, upload: Upload, split: str = "") -> Received:
        """Raises CannotRegister where not all of it has come."""
        if not upload.is_complete:
            raise CannotRegister(
                "files", f"'{upload}' has come to {upload.percent} %: send the rest first."
            )
        return cls(upload.path, upload.file_name, upload.sha256, split)

    @classmethod
    def of_form(cls, file: Any, split: str = "") -> Received:
        """Of a form's file, as `LimitedUpload` has written it; Django removes what is left."""
        name = plain_text(file.name or "")
        return cls(Path(file.temporary_file_path()), name, file.sha256, split)

    @property
    def belongs_to(self) -> str:
        return self.split or doctor.split_of(self.file_name) or "train"


def register(
    *,
    user: Any,
    project: Project,
    name: str,
    files: list[Received],
    also: Any = None,
    **fields: Any,
) -> Dataset:
    """Raises CannotRegister, and then nothing is left behind and the files are where they were."""
    if not files:
        raise CannotRegister("files", "There is no file.")
    dataset = Dataset(id=uuid.uuid4(), project=project, name=name, **fields)
    folder = storage.upload_folder(dataset.pk)
    with all_or_nothing(folder, dataset) as moved:
        manifest: storage.Manifest | None
        if any(archives.is_one(file.file_name) for file in files):
            manifest = _unpacked(files, folder, moved)
        else:
            manifest = _moved(files, folder, moved)
        dataset.storage_path = str(folder)
        dataset.metadata = {**dataset.metadata, **origin(files)}
        services.save_received(dataset, manifest, user=user, also=also)
    return dataset


@contextmanager
def all_or_nothing(folder: Path, entry: Entry) -> Iterator[dict[Path, Path]]:
    """What is moved into the folder is told to the dictionary, with where it came from. Where the
    entry is not made, it goes back there, and nothing is left of the folder."""
    moved: dict[Path, Path] = {}
    try:
        yield moved
    except BaseException:
        for place, came_from in moved.items():
            if place.exists():
                place.rename(came_from)
        storage.remove(folder, *verification.own_files(entry))
        raise


def origin(files: list[Received]) -> dict[str, Any]:
    """What the entry's metadata says of where it came from."""
    names = [file.file_name for file in files]
    several = {"file_names": names} if len(names) > 1 else {}
    return {"source": "upload", "file_name": names[0], **several}


def _moved(files: list[Received], folder: Path, moved: dict[Path, Path]) -> storage.Manifest:
    """A file for each split, or several that are numbered as exports of large datasets are."""
    folder.mkdir(parents=True)
    manifest: storage.Manifest = {}
    many = Counter(file.belongs_to for file in files)
    numbers: Counter[str] = Counter()
    for file in files:
        if not doctor.suffix_of(file.file_name):
            allowed = ", ".join(doctor.ROW_FILES)
            raise CannotRegister("files", f"'{file.file_name}' is none of {allowed}.")
        split = file.belongs_to
        number = f"-{numbers[split]:05d}-of-{many[split]:05d}" if many[split] > 1 else ""
        numbers[split] += 1
        suffix = doctor.suffix_of(file.file_name) + doctor.packing_of(file.file_name)
        target = folder / f"{split}{number}{suffix}"
        size = file.path.stat().st_size
        moved[target] = file.path
        file.path.rename(target)
        manifest[target.name] = {"sha256": file.sha256, "size": size}
    return manifest


def _unpacked(
    files: list[Received], folder: Path, moved: dict[Path, Path]
) -> storage.Manifest | None:
    """None where a worker unpacks it."""
    if len(files) > 1:
        raise CannotRegister("files", "An archive comes alone, with a folder for each split.")
    archive = files[0]
    try:
        if archives.take_in(archive.path, folder, archive.file_name, checks.at_once_bytes()):
            return storage.manifest(folder)
        if waiting := archives.waiting_in(folder):
            moved[waiting] = archive.path
        return None
    except storage.BadPath as error:
        raise CannotRegister("files", str(error)) from error
