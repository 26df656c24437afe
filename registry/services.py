"""The verbs of the registry. Each owns its transaction and tells the activity feed inside it.

Files are read, hashed and checked before the transaction begins: it never waits for a disk.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from django.db import transaction

from accounts.models import Project
from registry import doctor, facts, feed, inspect, storage
from registry.doctor import Finding, Level, Report
from registry.inspect import Inspected
from registry.models import Adapter, BaseModel, Dataset, Entry, Modality
from registry.storage import BadPath, Manifest

AnyEntry = TypeVar("AnyEntry", bound=Entry)
# Called with a new entry inside its transaction.
Also = Callable[[Any], object] | None


class CannotRegister(ValueError):
    """What was given cannot be registered. ``field`` names the argument, the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


# --- Base models ---------------------------------------------------------------------------------


def register_model(
    *,
    user: Any,
    project: Project | None,
    name: str,
    storage_path: str = "",
    metadata: dict[str, Any] | None = None,
    also: Also = None,
    **fields: Any,
) -> BaseModel:
    """Register a base model from its files, from a config alone (``metadata["config"]``), or from
    the numbers given in ``fields``.

    What the files say stands above what the caller says, except for words about the model
    (family, stage, trainable, ...). Raises CannotRegister, and then nothing is left behind.
    """
    metadata = facts.own_words(metadata or {})
    entry_id = uuid.uuid4()
    inspected, files = None, None
    if storage_path:
        place = _place(storage_path, user)
        inspected, files = _read_model(place)
        storage_path = str(place)
    elif metadata.get("config") is not None:
        try:
            inspected = inspect.from_config(metadata["config"])
        except inspect.BadModel as error:
            raise CannotRegister("metadata.config", str(error)) from error
    if inspected is not None:
        fields = facts.with_facts(fields, inspected, has_files=files is not None)
        metadata = {**metadata, **facts.found_in(inspected)}
        if inspected.has_tokenizer:
            fields["tokenizer_path"] = storage_path
    if files is not None:
        fields |= {"size_bytes": storage.total_size(files), "checksum": storage.checksum(files)}
    model = BaseModel(
        id=entry_id,
        project=project,
        name=name,
        storage_path=storage_path,
        metadata=metadata,
        **fields,
    )
    _save_with_manifest(model, files, partial(feed.tell_of_model, model, user=user), also)
    return model


def _read_model(place: Path) -> tuple[Inspected, Manifest]:
    try:
        storage.check_links(place)
        return inspect.model_folder(place), storage.manifest(place)
    except (BadPath, inspect.BadModel) as error:
        raise CannotRegister("storage_path", str(error)) from error


# --- What jobs make ------------------------------------------------------------------------------


@transaction.atomic
def create_trained_model(
    *,
    name: str,
    project_id: uuid.UUID | None,
    base_model: BaseModel,
    storage_path: str,
    inspected: Inspected,
    metadata: dict[str, Any],
    user: Any,
    files: Manifest | None = None,
    checksum: str = "",
) -> BaseModel:
    """Register the model that a job has trained, inside the transaction of the job's move.

    The files have been read before (``inspected``; ``files`` is their manifest where the caller has
    one), so nothing here waits for a disk.
    """
    fields = facts.with_facts({"family": base_model.family}, inspected, has_files=True)
    model = BaseModel.objects.create(
        id=uuid.uuid4(),
        project_id=project_id,
        name=name,
        description=f"Fine-tuned from {base_model.name}.",
        storage_path=storage_path,
        tokenizer_path=storage_path if inspected.has_tokenizer else "",
        size_bytes=storage.total_size(files) if files else inspected.size_bytes,
        checksum=storage.checksum(files) if files else checksum,
        metadata={**metadata, **facts.found_in(inspected)},
        **fields,
    )
    _tell_trained(model, base_model, files, user)
    return model


@transaction.atomic
def create_trained_adapter(
    *,
    name: str,
    project_id: uuid.UUID | None,
    base_model: BaseModel,
    method: str,
    storage_path: str,
    size_bytes: int,
    checksum: str,
    r: int | None,
    lora_alpha: int | None,
    target_modules: Any,
    metadata: dict[str, Any],
    model_card: str,
    user: Any,
    files: Manifest | None = None,
) -> Adapter:
    """Register the adapter that a job has trained, inside the transaction of the job's move."""
    adapter = Adapter.objects.create(
        id=uuid.uuid4(),
        project_id=project_id,
        name=name,
        description=f"A {method} adapter for {base_model.name}.",
        base_model=base_model,
        method=method,
        storage_path=storage_path,
        size_bytes=size_bytes,
        checksum=checksum,
        r=r,
        lora_alpha=lora_alpha,
        target_modules=target_modules,
        metadata=metadata,
        model_card=model_card,
    )
    _tell_trained(adapter, base_model, files, user)
    return adapter


def _tell_trained(
    entry: BaseModel | Adapter, base_model: BaseModel, files: Manifest | None, user: Any
) -> None:
    if files:
        # After the commit: a job whose move is rolled back leaves no manifest behind.
        write = partial(storage.write_manifest, manifest_path(entry), files)
        transaction.on_commit(write, robust=True)
    feed.tell_of_model(entry, user=user, message=f"Trained from {base_model.name}: {entry.name}")


# --- Datasets ------------------------------------------------------------------------------------


def register_dataset(
    *,
    user: Any,
    project: Project | None,
    name: str,
    storage_path: str,
    also: Also = None,
    **fields: Any,
) -> Dataset:
    """Register a folder of rows, or one file, where it lies. Raises CannotRegister.

    Rows that cannot be used do not keep a dataset out: it is registered with
    ``integrity_passed`` False and the findings that say why.
    """
    place = _place(storage_path, user)
    dataset = Dataset(id=uuid.uuid4(), project=project, name=name, **fields)
    dataset.storage_path = str(place)
    try:
        files = storage.manifest(place)
        if dataset.modality == Modality.TEXT and not doctor.split_files(place):
            raise CannotRegister(
                "storage_path", f"There is no .jsonl file in {place}, so there are no rows."
            )
        _examine(dataset, files)
    except BadPath as error:
        raise CannotRegister("storage_path", str(error)) from error
    _save_with_manifest(dataset, files, partial(feed.tell_of_dataset, dataset, user=user), also)
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
    """Take in an uploaded file of rows: move it to its place, check it, register it.

    ``temporary`` is on the same file system as TRAINYARD_HOME and is moved, not copied; ``sha256``
    has been worked out while it came. Raises CannotRegister, and then no folder is left behind.
    """
    size = temporary.stat().st_size
    if Path(file_name).suffix.lower() not in doctor.ROW_FILES:
        allowed = " or ".join(doctor.ROW_FILES)
        raise CannotRegister("file", f"'{file_name}' is not a {allowed} file.")
    if size == 0:
        raise CannotRegister("file", f"'{file_name}' is empty.")
    dataset = Dataset(id=uuid.uuid4(), project=project, name=name, **fields)
    folder = storage.upload_folder(dataset.pk)
    try:
        target = folder / f"{doctor.split_of(file_name) or 'train'}.jsonl"
        storage.take_in(temporary, target)
        dataset.storage_path = str(folder)
        dataset.metadata = {**dataset.metadata, "source": "upload", "file_name": file_name}
        files: Manifest = {target.name: {"sha256": sha256, "size": size}}
        _examine(dataset, files)
        tell = partial(feed.tell_of_dataset, dataset, user=user)
        _save_with_manifest(dataset, files, tell, also)
    except BaseException:
        storage.remove(folder)
        raise
    return dataset


def check_dataset(dataset: Dataset) -> Dataset:
    """Look at the files again and take them as they are now; a change is named in the report.

    Raises CannotRegister where they cannot be read at all.
    """
    place = Path(dataset.storage_path)
    try:
        files = storage.manifest(place)
        changed = verify_files(dataset)
        _examine(dataset, files, changed)
    except BadPath as error:
        raise CannotRegister("storage_path", str(error)) from error
    with transaction.atomic():
        dataset.save(
            update_fields=[
                "size_bytes",
                "checksum",
                "num_samples",
                "manifest_path",
                "integrity_checked",
                "integrity_passed",
                "integrity_report",
                "statistics",
                "updated_at",
            ]
        )
        storage.write_manifest(manifest_path(dataset), files)
    return dataset


def _examine(dataset: Dataset, files: Manifest, changed: list[str] | None = None) -> None:
    """Write into the (unsaved) row what its files say. What is neither text nor a labelled image is
    not read: there is nothing here that could judge it."""
    dataset.size_bytes = storage.total_size(files)
    dataset.checksum = storage.checksum(files)
    dataset.manifest_path = str(manifest_path(dataset))
    place = Path(dataset.storage_path)
    if dataset.modality == Modality.TEXT:
        report = doctor.check(place)
    elif dataset.modality == Modality.IMAGE and doctor.image_folders(place):
        report = doctor.check_images(place)
    elif dataset.modality == Modality.IMAGE and doctor.split_files(place):
        report = doctor.check(place)
    else:
        return
    for sentence in changed or []:
        report.findings.add(_changed(sentence))
    _take_over(dataset, report)


def _changed(sentence: str) -> Finding:
    return Finding(
        code="file_changed",
        message=f"Since the last check: {sentence}",
        fix="Jobs that ran before have seen other rows. Register a new version to keep both.",
        level=Level.WARNING,
    )


def _take_over(dataset: Dataset, report: Report) -> None:
    dataset.num_samples = report.num_samples
    dataset.integrity_checked = True
    dataset.integrity_passed = report.passed
    dataset.integrity_report = report.integrity_report
    dataset.statistics = report.statistics


# --- All of them ---------------------------------------------------------------------------------


def edit(entry: AnyEntry, changes: dict[str, Any]) -> AnyEntry:
    """Change what a person says of an entry. What an inspection has found stays as it is."""
    if "metadata" in changes:
        found = {key: entry.metadata[key] for key in facts.INSPECTED_KEYS if key in entry.metadata}
        kept = found if "inspection" in found else {}
        changes = {**changes, "metadata": {**facts.own_words(changes["metadata"]), **kept}}
    for name, value in changes.items():
        setattr(entry, name, value)
    with transaction.atomic():  # the change and its audit entry
        entry.save(update_fields=[*changes, "updated_at"])
    return entry


def delete(entry: Entry) -> None:
    """Take an entry out of the registry. Raises ProtectedError where something still uses it.

    After the commit its manifest goes, and the folder that an upload made for it. Files that were
    registered where they lay, and what jobs have exported, stay.
    """
    ours = [manifest_path(entry)]
    folder = storage.upload_folder(entry.pk)
    if isinstance(entry, Dataset) and entry.storage_path == str(folder):
        ours.append(folder)
    with transaction.atomic():
        entry.delete()
        transaction.on_commit(partial(storage.remove, *ours), robust=True)


def verify_files(entry: Entry) -> list[str]:
    """Which files are missing or no longer what they were, one sentence each; hashes all of them.

    Empty where all is well, and for an entry that has no files.
    """
    if not entry.storage_path:
        return []
    place = Path(entry.storage_path)
    before = storage.read_manifest(manifest_path(entry))
    if before is not None:
        return storage.changes(place, before, also_new=isinstance(entry, Dataset))
    try:
        now = storage.manifest(place)
    except BadPath as error:
        return [str(error)]
    if entry.checksum and storage.checksum(now) != entry.checksum:
        return ["The files are no longer those that were registered."]
    return []


def manifest_path(entry: Entry) -> Path:
    kind = "datasets" if isinstance(entry, Dataset) else "models"
    return storage.manifest_path(entry.pk, kind=kind)


def _place(storage_path: str, user: Any) -> Path:
    try:
        place = storage.resolve(storage_path)
    except BadPath as error:
        raise CannotRegister("storage_path", str(error)) from error
    # What uploads and jobs have written belongs to a project; its path is no way around that.
    if storage.is_upload(place) or (storage.is_export(place) and not user.is_superuser):
        raise CannotRegister(
            "storage_path", f"'{storage_path}' belongs to an entry of the registry already."
        )
    return place


def _save_with_manifest(
    entry: BaseModel | Dataset, files: Manifest | None, tell: partial[None], also: Also
) -> None:
    """Row, activity and manifest together, or none of them."""
    path = manifest_path(entry)
    try:
        if files is not None:
            storage.write_manifest(path, files)
        with transaction.atomic():
            entry.save(force_insert=True)
            if also is not None:
                also(entry)
            tell()
    except BaseException:
        storage.remove(path)
        raise
