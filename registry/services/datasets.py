"""Datasets: registered where they lie, uploaded, or brought by a transfer, and checked again."""

from __future__ import annotations

import uuid
from functools import partial
from pathlib import Path
from typing import Any

from accounts.models import Project
from registry import archives, checks, doctor, feed, quotas, storage, store, verification
from registry.files import Seen
from registry.models import Dataset, Modality
from registry.services.entries import (
    Also,
    CannotRegister,
    Received,
    apart,
    place_of,
    save_with_manifest,
)
from registry.storage import BadPath, Manifest


def register_dataset(
    *,
    user: Any,
    project: Project | None,
    name: str,
    storage_path: str = "",
    received: Received | None = None,
    also: Also = None,
    **fields: Any,
) -> Dataset:
    """Register a folder of rows, or one file, where it lies. Raises CannotRegister.

    Rows that cannot be used do not keep a dataset out: it is registered with
    ``integrity_passed`` False and the findings that say why.
    """
    place = received.folder if received else place_of(storage_path, user)
    entry_id = received.entry_id if received else uuid.uuid4()
    dataset = Dataset(id=entry_id, project=project, name=name, **fields)
    dataset.storage_path = str(place)
    try:
        storage.check_links(place)
        if dataset.modality == Modality.TEXT and not doctor.split_files(place):
            allowed = ", ".join(doctor.ROW_FILES)
            raise CannotRegister(
                "storage_path", f"There is no file with rows ({allowed}) in {place}."
            )
        files = received.files if received else None
        looks = store.adopt(place, received.files) if received else None
        _check_and_save(dataset, files, looks, user, also)
    except (BadPath, checks.CannotCheck) as error:
        raise CannotRegister("storage_path", str(error)) from error
    return dataset


def receive_upload(
    *,
    user: Any,
    project: Project | None,
    name: str,
    temporary: Path,
    file_name: str,
    sha256: str,
    also: Also = None,
    **fields: Any,
) -> Dataset:
    """Take in an uploaded file of rows, or an archive of such: move it to its place, check it,
    register it.

    ``temporary`` is on the same file system as TRAINYARD_HOME and is moved, not copied; ``sha256``
    has been worked out while it came. Raises CannotRegister, and then no folder is left behind.
    """
    size = temporary.stat().st_size
    if not archives.is_one(file_name) and not doctor.suffix_of(file_name):
        allowed = ", ".join((*doctor.ROW_FILES, *archives.SUFFIXES))
        raise CannotRegister("file", f"'{file_name}' is none of {allowed}.")
    if size == 0:
        raise CannotRegister("file", f"'{file_name}' is empty.")
    dataset = Dataset(id=uuid.uuid4(), project=project, name=name, **fields)
    folder = storage.upload_folder(dataset.pk)
    try:
        if reason := quotas.refusal(project, size):  # and again when it is saved: see there
            raise CannotRegister("project_id", reason)
        files: Manifest | None = None
        if not archives.is_one(file_name):
            target = folder / _stored_name(file_name)
            storage.take_in(temporary, target)
            files = {target.name: {"sha256": sha256, "size": size}}
        elif archives.take_in(temporary, folder, file_name, checks.at_once_bytes()):
            files = storage.manifest(folder)
        dataset.storage_path = str(folder)
        dataset.metadata = {**dataset.metadata, "source": "upload", "file_name": file_name}
        looks = store.adopt(folder, files) if files is not None else None
        _check_and_save(dataset, files, looks, user, also)
    except BaseException as error:
        storage.remove(folder, *verification.own_files(dataset))
        if isinstance(error, BadPath | checks.CannotCheck):
            raise CannotRegister("file", str(error)) from error
        raise
    return dataset


def _stored_name(file_name: str) -> str:
    """The name says its split and its format, and nothing else of it is kept."""
    suffix = doctor.suffix_of(file_name).replace(".ndjson", ".jsonl")
    return f"{doctor.split_of(file_name) or 'train'}{suffix}{doctor.packing_of(file_name)}"


def save_received(
    dataset: Dataset, files: Manifest | None, *, user: Any, also: Also = None
) -> None:
    """Check and register a dataset whose files have been put into its place; without ``files``, an
    archive of them that a worker unpacks. Raises CannotRegister."""
    place = Path(dataset.storage_path)
    if reason := quotas.refusal(dataset.project, checks.size_of(place)):
        raise CannotRegister("project_id", reason)
    try:
        looks = store.adopt(place, files) if files is not None else None
        _check_and_save(dataset, files, looks, user, also)
    except (BadPath, checks.CannotCheck) as error:
        raise CannotRegister("files", str(error)) from error


def _check_and_save(
    dataset: Dataset,
    files: Manifest | None,
    looks: dict[str, Seen] | None,
    user: Any,
    also: Also,
) -> None:
    """Its files lie where they will stay. Large ones are checked by a worker, and hashed by it too
    where nobody has done that."""
    place = Path(dataset.storage_path)
    tell = partial(feed.tell_of_dataset, dataset, user=user)
    if checks.is_large(place):
        dataset.size_bytes = checks.size_of(place)
        if files is not None:
            checks.take_files(dataset, files)

        def and_check(entry: Dataset) -> None:
            checks.request_check(entry, user=user, columns=entry.columns)
            if also is not None:
                also(entry)

        save_with_manifest(dataset, files, partial(tell, being_checked=True), and_check, looks)
        return
    if files is None:
        hashed = storage.hash_folder(place)
        files = {name: found.facts for name, found in hashed.items()}
        looks = apart(hashed)[1]
    checks.examine(dataset, files, columns=dataset.columns)
    save_with_manifest(dataset, files, tell, also, looks)


def check_dataset(dataset: Dataset, *, user: Any, columns: dict[str, str] | None = None) -> Dataset:
    """`checks.check`. Raises CannotRegister where the files cannot be read at all, or have no such
    columns."""
    known = dataset.statistics.get("columns", [])
    if columns and known and len(known) < doctor.MOST_COLUMNS:
        for field, column in columns.items():
            if column not in known:
                raise CannotRegister(
                    f"columns.{field}",
                    f"There is no column {column}. There are: {', '.join(known)}.",
                )
    try:
        return checks.check(dataset, user=user, columns=columns)
    except (BadPath, checks.CannotCheck) as error:
        raise CannotRegister("storage_path", str(error)) from error
