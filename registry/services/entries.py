"""What models, adapters and datasets have in common: to be saved with their manifest, edited and
deleted."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone

from registry import facts, quotas, storage, verification
from registry.files import Hashed, Seen
from registry.models import Entry
from registry.storage import BadPath, Manifest
from registry.verification import manifest_path

AnyEntry = TypeVar("AnyEntry", bound=Entry)
# Called with a new entry inside its transaction.
Also = Callable[[Any], object] | None


class CannotRegister(ValueError):
    """What was given cannot be registered. ``field`` names the argument, the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Received:
    """Files that the platform itself has brought to their place, and hashed on the way."""

    entry_id: uuid.UUID
    folder: Path
    files: Manifest


def edit(entry: AnyEntry, changes: dict[str, Any], *, beyond_quota: bool = False) -> AnyEntry:
    """Change what a person says of an entry. What an inspection has found stays as it is.

    Raises CannotRegister where the project that it moves to has no room, but for those who may
    go ``beyond_quota``.
    """
    if "metadata" in changes:
        found = {key: entry.metadata[key] for key in facts.INSPECTED_KEYS if key in entry.metadata}
        kept = found if "inspection" in found else {}
        changes = {**changes, "metadata": {**facts.own_words(changes["metadata"]), **kept}}
    for name, value in changes.items():
        setattr(entry, name, value)
    with transaction.atomic():  # the change and its audit entry
        if "project" in changes and quotas.counts(entry) and not beyond_quota:
            _move_room(entry)
        entry.save(update_fields=[*changes, "updated_at"])
    return entry


def _move_room(entry: Entry) -> None:
    """An entry that moves to another project takes its room there."""
    before = type(entry)._default_manager.filter(pk=entry.pk).values_list("project", flat=True)
    if entry.project_id not in before:
        try:
            quotas.check(entry.project, entry.size_bytes)
        except quotas.OverQuota as error:
            raise CannotRegister("project_id", str(error)) from error


def delete(entry: Entry) -> None:
    """Take an entry out of the registry. Raises ProtectedError where something still uses it.

    After the commit its manifest goes, and the folder that an upload or a transfer made for it.
    Files that were registered where they lay, and what jobs have exported, stay.
    """
    ours = verification.own_files(entry)
    folders = (storage.upload_folder(entry.pk), storage.model_folder(entry.pk))
    ours += [folder for folder in folders if entry.storage_path == str(folder)]
    with transaction.atomic():
        entry.delete()
        transaction.on_commit(lambda: storage.remove(*ours), robust=True)  # a partial has no name


def verify_files(entry: Entry) -> list[str]:
    """Which files are missing or no longer what they were, one sentence each; hashes all of them.

    Empty where all is well, and for an entry that has no files.
    """
    return verification.problems(entry, thorough=True)


def place_of(storage_path: str, user: Any) -> Path:
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


def save_with_manifest(
    entry: Entry,
    files: Manifest | None,
    tell: partial[None],
    also: Also,
    looks: dict[str, Seen] | None = None,
) -> None:
    """Row, activity and manifest together, or none of them. ``looks`` is how the files looked when
    they were hashed. Raises CannotRegister where the project's quota has no room for them."""
    path = manifest_path(entry)
    try:
        if files is not None:
            storage.write_manifest(path, files)
            storage.write_seen(storage.seen_path(path), looks or {})
            entry.verified_at = timezone.now()
        with transaction.atomic():
            if quotas.counts(entry):
                quotas.check(entry.project, entry.size_bytes)
            entry.save(force_insert=True)
            if also is not None:
                also(entry)
            tell()
    except quotas.OverQuota as error:
        storage.remove(*verification.own_files(entry))
        raise CannotRegister("project_id", str(error)) from error
    except BaseException:
        storage.remove(*verification.own_files(entry))
        raise


def apart(hashed: dict[str, Hashed]) -> tuple[Manifest, dict[str, Seen]]:
    """The manifest, and how the files looked."""
    looks = {name: found.seen for name, found in hashed.items() if found.seen is not None}
    return {name: found.facts for name, found in hashed.items()}, looks
