"""Repaired copies of a dataset: a new version, made by a worker, beside the one it comes from."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import transaction

from registry import checks, feed, quotas, storage, store, verification, versions
from registry.doctor import orders
from registry.models import Dataset, DatasetTask, Modality

OPTIONS = (
    *("drop_duplicates", "drop_near_duplicates", "drop_leaked", "mend_text"),
    *("redact_personal", "validation_share", "seed"),
)
OF_TEXT = ("mend_text", "redact_personal")
_LONGEST_VERSION = 40


class CannotCopy(ValueError):
    """There is nothing that a copy could be made of. The message says why."""


def why_not(dataset: Dataset) -> str:
    """ "" where a copy can be made."""
    if not dataset.storage_path:
        return "The dataset has no files."
    if dataset.modality not in (Modality.TEXT, Modality.IMAGE):
        return f"Only text and images are repaired, not {dataset.modality}."
    if dataset.modality == Modality.IMAGE and dataset.statistics.get("max_characters"):
        return "Only folders of images are repaired, not rows that name images."
    return ""


def request(
    dataset: Dataset, *, user: Any, name: str = "", version: str = "", **options: Any
) -> DatasetTask:
    """Have a worker make it. Raises CannotCopy."""
    if reason := why_not(dataset):
        raise CannotCopy(reason)
    name = name or dataset.name
    version = version or next_version(dataset, name)
    told = {**options, "name": name, "version": version}
    with transaction.atomic():
        return checks.request(dataset, DatasetTask.Kind.REPAIR, user, told)


def next_version(dataset: Dataset, name: str) -> str:
    """The last number of the version is raised, past every version that there is."""
    taken = set(versions.of_name(dataset, name).values_list("version", flat=True))
    before, number = _parts(dataset.version)
    while (version := f"{before}{number}") in taken:
        number += 1
    return version


def _parts(version: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.*?)(\d{1,9})", version, re.DOTALL)
    if found is None:
        return f"{version[: _LONGEST_VERSION - 12]}-", 2
    return found[1][: _LONGEST_VERSION - 12], int(found[2]) + 1


def make(
    task: DatasetTask, news: orders.News, finish: Callable[[DatasetTask, Dataset], None]
) -> None:
    """Let the doctor write it, then register it; ``finish`` is called in the transaction of that.
    A later attempt begins anew."""
    old, options = task.dataset, task.options
    copy = Dataset(
        id=_id_of(task, task.attempt),
        project_id=old.project_id,
        name=options["name"],
        version=options["version"],
        description=old.description,
        modality=old.modality,
        tags=old.tags,
    )
    folder = storage.upload_folder(copy.pk)
    tidy(task, task.attempt - 1)
    storage.check_links(Path(old.storage_path))
    names = [name for name in OPTIONS if not (old.modality == Modality.IMAGE and name in OF_TEXT)]
    chosen = {name: options[name] for name in names if name in options}
    links = storage.is_upload(Path(old.storage_path))
    order = orders.Order(
        path=old.storage_path,
        modality=old.modality,
        columns=old.columns,
        index=str(verification.index_path(copy)),
        processes=checks.processes(),
        repair={**chosen, "target": str(folder), "links": links},
    )
    try:
        answer = orders.delegate(order, news, limit_s=checks.LIMIT_S)
        manifest = answer["outcome"]["manifest"]
        copy.storage_path = str(folder)
        copy.metadata = {
            "source": "repair",
            "repaired_from": str(old.pk),
            "repair": {**chosen, "counts": answer["counts"]},
        }
        checks.take_over(copy, answer["outcome"])
        store.adopt(folder, manifest)
        storage.write_manifest(verification.manifest_path(copy), manifest)
        with transaction.atomic():
            quotas.check(copy.project, copy.size_bytes)
            copy.save(force_insert=True)
            finish(task, copy)
            feed.tell_of_dataset(copy, user=task.requested_by)
    except BaseException:
        storage.remove(folder, verification.manifest_path(copy), verification.index_path(copy))
        raise


def tidy(task: DatasetTask, attempts: int) -> None:
    """Remove what the first ``attempts`` at a copy have left."""
    if task.kind == DatasetTask.Kind.REPAIR:
        for attempt in range(1, attempts + 1):
            copy = Dataset(id=_id_of(task, attempt))
            storage.remove(storage.upload_folder(copy.pk), verification.index_path(copy))


def _id_of(task: DatasetTask, attempt: int) -> uuid.UUID:
    """Of the copy. Each attempt has its own: one that was taken for lost and is not tidies up after
    itself, and must not take what another is writing."""
    return uuid.uuid5(task.pk, str(attempt))
