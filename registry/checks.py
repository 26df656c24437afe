"""A dataset at the doctor: at once where it is small, by a worker where it is large.

Files are read before any transaction begins: it never waits for a disk.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from activity.live import send_on_commit
from registry import archives, storage
from registry.doctor import orders, packing_of
from registry.doctor.formats import BINARY, format_of, holds_rows
from registry.doctor.images import IMAGES
from registry.files import Manifest, regular_files
from registry.models import Dataset, DatasetTask
from registry.verification import index_path, manifest_path

WORK = "registry.work_on_dataset"
AT_ONCE_LIMIT_S = 120
LIMIT_S = 24 * 3600
IMAGES_AT_ONCE = 500
CHECKED_FIELDS = (
    *(
        "size_bytes",
        "checksum",
        "num_samples",
        "manifest_path",
        "columns",
        "verified_at",
        "updated_at",
    ),
    *("integrity_checked", "integrity_passed", "integrity_report", "statistics"),
    *("row_format", "is_split"),
)


class CannotCheck(ValueError):
    """The files cannot be read at all. The message says why."""


def is_large(place: Path) -> bool:
    """Would a request wait too long for the check? Raises BadPath."""
    files = regular_files(place)
    images = sum(map(_is_image, files))
    is_packed = archives.waiting_in(place) is not None
    return is_packed or images > IMAGES_AT_ONCE or _size_of(files) > at_once_bytes()


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGES


def at_once_bytes() -> int:
    return int(settings.TRAINYARD_CHECK_AT_ONCE_MB) * 1024 * 1024


def size_of(place: Path) -> int:
    """Of an archive that is still to be unpacked, its own. Raises BadPath."""
    archive = archives.waiting_in(place)
    return _size_of([archive] if archive else regular_files(place))


def _size_of(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def examine(
    dataset: Dataset, files: Manifest, *, columns: dict[str, str], before: Manifest | None = None
) -> None:
    """Write into the (unsaved) row what its files say. Raises BadPath, CannotCheck."""
    order = orders.Order(
        path=dataset.storage_path,
        modality=dataset.modality,
        columns=columns,
        before=before,
        index=str(index_path(dataset)),
    )
    outcome = _carried_out(order, files)
    outcome["manifest"] = files
    for sentence in orders.differences(before, files):
        orders.add_changed(outcome, sentence)
    take_over(dataset, outcome)


def _carried_out(order: orders.Order, files: Manifest) -> orders.Outcome:
    """What is read by libraries in C is read by a process of its own."""
    risky = [name for name in files if format_of(name) in BINARY or packing_of(name)]
    has_images = order.modality == "image" and any(_is_image(Path(name)) for name in files)
    if not has_images and not any(holds_rows(name) for name in risky):
        return orders.carry_out(order)
    try:
        answer: orders.Outcome = orders.delegate(order, limit_s=AT_ONCE_LIMIT_S)
    except orders.Failed as error:
        raise CannotCheck(str(error)) from error
    return answer


def take_over(dataset: Dataset, outcome: orders.Outcome) -> None:
    if outcome["manifest"] is not None:
        take_files(dataset, outcome["manifest"])
    if "file_problems" in dataset.integrity_report:  # `verification` has found them
        dataset.integrity_report, dataset.integrity_checked = {}, False
    if outcome["examined"]:
        dataset.num_samples = outcome["num_samples"]
        dataset.integrity_checked = True
        dataset.integrity_passed = outcome["passed"]
        dataset.integrity_report = outcome["integrity_report"]
        dataset.learn(outcome["statistics"])
        dataset.columns = outcome["statistics"]["mapping"]


def take_files(dataset: Dataset, files: Manifest) -> None:
    dataset.size_bytes = storage.total_size(files)
    dataset.checksum = storage.checksum(files)
    dataset.manifest_path = str(manifest_path(dataset))


def check(dataset: Dataset, *, user: Any, columns: dict[str, str] | None = None) -> Dataset:
    """Look at the files again and take them as they are now; a change is named in the report. A
    large dataset is left to a worker, and has not been checked until then.

    ``columns`` says under which columns; None keeps those that it has, nothing in it finds them
    anew. Raises BadPath, CannotCheck.
    """
    columns = dict(dataset.columns) if columns is None else columns
    place = Path(dataset.storage_path)
    storage.check_links(place)
    if is_large(place):
        request_check(dataset, user=user, columns=columns)
        return dataset
    files = storage.manifest(place)
    before = storage.read_manifest(manifest_path(dataset))
    examine(dataset, files, columns=columns, before=before)
    with transaction.atomic():
        save_checked(dataset, files)
    return dataset


def save_checked(dataset: Dataset, files: Manifest) -> None:
    """Inside a transaction."""
    dataset.verified_at = timezone.now()
    dataset.save(update_fields=CHECKED_FIELDS)
    storage.write_manifest(manifest_path(dataset), files)


# --- What a worker does --------------------------------------------------------------------------


def processes() -> int:
    return min(len(os.sched_getaffinity(0)), 4)


def request_check(dataset: Dataset, *, user: Any, columns: dict[str, str]) -> DatasetTask:
    """There is one open check of a dataset; who asks for another one gets it."""
    with transaction.atomic():
        Dataset.objects.filter(pk=dataset.pk).update(
            integrity_checked=False, integrity_passed=False
        )
        dataset.integrity_checked = dataset.integrity_passed = False
        try:
            with transaction.atomic():
                return request(dataset, DatasetTask.Kind.CHECK, user, {"columns": columns})
        except IntegrityError:
            return DatasetTask.objects.get(
                dataset=dataset, kind=DatasetTask.Kind.CHECK, status__in=DatasetTask.OPEN
            )


def request(
    dataset: Dataset, kind: DatasetTask.Kind, user: Any, options: dict[str, Any]
) -> DatasetTask:
    """Inside a transaction: after its commit a worker is told."""
    task = DatasetTask.objects.create(
        dataset=dataset,
        kind=kind,
        options=options,
        requested_by=user if user is not None and user.is_authenticated else None,
        size_bytes=dataset.size_bytes,
    )
    wake(task)
    return task


def wake(task: DatasetTask) -> None:
    """A lost message is made good by the reconciler, so a broker that is away fails nothing."""
    send_on_commit(WORK, args=[str(task.pk)], ignore_result=True)


def open_checks(datasets: list[Dataset]) -> dict[Any, DatasetTask]:
    """By dataset, in one query."""
    found = DatasetTask.objects.filter(
        dataset__in=datasets, kind=DatasetTask.Kind.CHECK, status__in=DatasetTask.OPEN
    )
    return {task.dataset_id: task for task in found}
