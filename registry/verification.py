"""Are the files still those that were registered? Asked before each use, and from time to time.

A file whose size, time and inode are those that it had when it was last found to be right is not
read again, unless all of them are asked for. What is found is written into the entry's row: a model
becomes broken and whole again, a dataset does not pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from registry import files, storage
from registry.doctor import Finding
from registry.files import FileFacts, Manifest, Meanwhile, Seen
from registry.models import Adapter, BaseModel, Dataset, Entry
from registry.storage import BadPath

CHECK_AGAIN = "Put the file back, or check the dataset again to take the files as they are now."


def manifest_path(entry: Entry) -> Path:
    kind = "datasets" if isinstance(entry, Dataset) else "models"
    return storage.manifest_path(entry.pk, kind=kind)


def own_files(entry: Entry) -> list[Path]:
    """What is kept about an entry's files, beside them."""
    path = manifest_path(entry)
    ours = [path, storage.seen_path(path)]
    return [*ours, index_path(entry)] if isinstance(entry, Dataset) else ours


def index_path(dataset: Dataset) -> Path:
    """What `doctor.index` keeps of its rows."""
    return manifest_path(dataset).with_name(f"{dataset.pk}.rows.npz")


def problems(entry: Entry, *, thorough: bool = False, meanwhile: Meanwhile = None) -> list[str]:
    """Which files are missing or no longer what they were, one sentence each.

    Empty where all is well, and for an entry that has no files. ``thorough`` reads all of them,
    also those that look untouched. Raises what ``meanwhile`` raises.
    """
    if not entry.storage_path:
        return []
    place = Path(entry.storage_path)
    before = storage.read_manifest(manifest_path(entry))
    try:
        if before is None or (entry.checksum and storage.checksum(before) != entry.checksum):
            return _without_manifest(entry, place, meanwhile)
        return _changes(entry, place, before, thorough, meanwhile)
    except BadPath as error:
        return [str(error)]
    except OSError as error:  # a bad disk, or a share that is away; other entries have theirs
        name = f"{error.filename}: " if error.filename else ""
        return [f"The files cannot be read: {name}{error.strerror or error}."]


def _without_manifest(entry: Entry, place: Path, meanwhile: Meanwhile) -> list[str]:
    if not entry.checksum:
        return [] if place.exists() else [f"{place} is missing."]
    now = storage.manifest(place, meanwhile)
    if storage.checksum(now) != entry.checksum:
        return ["The files are no longer those that were registered."]
    storage.write_manifest(manifest_path(entry), now)
    return []


def _changes(
    entry: Entry, place: Path, before: Manifest, thorough: bool, meanwhile: Meanwhile
) -> list[str]:
    folder = place if place.is_dir() else place.parent
    there = {name: folder / name for name in before if (folder / name).is_file()}
    if place.exists():
        storage.check_links(place)
    looks_path = storage.seen_path(manifest_path(entry))
    looked = storage.read_seen(looks_path)
    untouched = {} if thorough else _untouched(there, before, looked)
    hashed = files.hash_files([there[name] for name in there.keys() - untouched], meanwhile)
    right: dict[str, Seen] = dict(untouched)
    found = []
    for name, facts in sorted(before.items()):
        if name not in there:
            found.append(f"{name} is missing.")
        elif name not in untouched:
            now = hashed[there[name]]
            if now.facts != facts:
                found.append(_changed(name, facts, now.facts))
            elif now.seen is not None:
                right[name] = now.seen
    if right != looked:
        storage.write_seen(looks_path, right)
    # One more file of rows makes another dataset.
    return found + _new(entry, place, before)


def _untouched(
    there: dict[str, Path], before: Manifest, looked: dict[str, Seen]
) -> dict[str, Seen]:
    """The files that look as they did when they were last found to be right."""
    looks = {name: files.seen(path.stat()) for name, path in there.items() if name in looked}
    return {
        name: look
        for name, look in looks.items()
        if look == looked[name] and look.size == before[name]["size"]
    }


def _changed(name: str, before: FileFacts, now: FileFacts) -> str:
    return f"{name} has changed ({before['size']:,} bytes then, {now['size']:,} now)."


def _new(entry: Entry, place: Path, before: Manifest) -> list[str]:
    if not isinstance(entry, Dataset) or not place.is_dir():
        return []
    names = {files.relative_name(place, file) for file in files.regular_files(place)}
    return [f"{name} is new." for name in sorted(names - before.keys())]


def due(before: datetime) -> Iterator[Entry]:
    """Entries with files that have not been read as a whole since then, the longest ago first."""
    for kind in (BaseModel, Dataset, Adapter):
        entries = kind._default_manager.exclude(storage_path="")
        late = entries.filter(Q(verified_at=None) | Q(verified_at__lt=before))
        ids = late.order_by(F("verified_at").asc(nulls_first=True), "pk").values_list("pk")
        for (pk,) in list(ids):
            if entry := kind._default_manager.filter(pk=pk).first():  # not deleted meanwhile
                yield entry


# --- Into the row --------------------------------------------------------------------------------


def verify(entry: Entry, *, thorough: bool = False, meanwhile: Meanwhile = None) -> list[str]:
    """`problems`, and the entry's row says what came of it."""
    found = problems(entry, thorough=thorough, meanwhile=meanwhile)
    if isinstance(entry, BaseModel) and entry.failed_check:
        # That its files are the same does not say that they can be read.
        found.append(entry.failed_check["message"])
    if found or thorough or _is_said_to_be_wrong(entry):
        settle(entry, found, thorough=thorough)
    return found


def _is_said_to_be_wrong(entry: Entry) -> bool:
    if isinstance(entry, Dataset):
        return bool(entry.integrity_report.get("file_problems"))
    return isinstance(entry, BaseModel) and entry.status == BaseModel.Status.BROKEN


@transaction.atomic
def settle(entry: Entry, found: list[str], *, thorough: bool) -> None:
    """Write into the row what a look at the files has found. Touches no row that says it already,
    but for the time of a thorough look."""
    now = timezone.now()
    rows = type(entry)._default_manager.filter(pk=entry.pk)
    current: Any = rows.select_for_update().first()
    if current is None:
        return
    changes: dict[str, Any] = {}
    if isinstance(current, BaseModel):
        changes |= _of_model(current, found)
    elif isinstance(current, Dataset):
        changes |= _of_dataset(current, found)
    if changes:
        changes["updated_at"] = now
    if thorough:
        changes["verified_at"] = now
    if changes:
        rows.update(**changes)
        for name, value in changes.items():
            setattr(entry, name, value)


def _of_model(model: BaseModel, found: list[str]) -> dict[str, Any]:
    status = BaseModel.Status.BROKEN if found else BaseModel.Status.ACTIVE
    if (status, found) == (model.status, model.file_problems):
        return {}
    inspection = {**model.inspection, "file_problems": found}
    if model.failed_check and model.failed_check["message"] not in found:
        del inspection["failed_check"]
    return {"status": status, "metadata": {**model.metadata, "inspection": inspection}}


def _of_dataset(dataset: Dataset, found: list[str]) -> dict[str, Any]:
    """While its files are not right it does not pass; a check takes them as they then are."""
    report = dataset.integrity_report
    before = report.get("file_problems", [])
    if found == before:
        return {}
    findings = [
        asdict(Finding(code="file_changed", message=sentence, fix=CHECK_AGAIN))
        for sentence in found
    ]
    others = [f for f in report.get("findings", []) if f.get("fix") != CHECK_AGAIN]
    errors = report.get("errors", 0) - len(before) + len(found)
    was_read = "checked_at" in report
    passed = was_read and errors == 0 and bool(dataset.num_samples)
    report = {**report, "findings": [*findings, *others], "errors": errors, "ok": passed}
    return {
        "integrity_checked": was_read or bool(found),
        "integrity_passed": passed,
        "integrity_report": {**report, "file_problems": found},
    }
