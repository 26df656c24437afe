"""The doctor's work that a worker does: checks of large datasets, and repaired copies.

A message is only a doorbell: it may come late, twice or never. Who claims a task keeps it by its
heartbeat; a task of which nothing is heard is claimed again. Whoever lost it notices at its next
heartbeat, and stops.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from registry import archives, checks, copies, feed, quotas, storage, store, verification
from registry.doctor import orders
from registry.files import BadPath
from registry.models import Dataset, DatasetTask

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
RESEND_AFTER = timedelta(seconds=10)
_LOST = "The worker that read it ended three times on the way, most likely for want of memory."


class _TakenAway(Exception):
    """Somebody else has the task by now, or its dataset is gone."""


def work(task_id: str) -> None:
    """Claim the task and do it; nothing where it is somebody else's or over."""
    claimed = DatasetTask.objects.filter(
        pk=task_id, status=DatasetTask.Status.WAITING, attempt__lt=MOST_ATTEMPTS
    ).update(
        status=DatasetTask.Status.RUNNING, attempt=F("attempt") + 1, heartbeat_at=timezone.now()
    )
    if not claimed:
        return
    task = DatasetTask.objects.select_related("dataset", "requested_by").get(pk=task_id)
    try:
        if task.kind == DatasetTask.Kind.CHECK:
            _check(task)
        else:
            copies.make(task, _news_of(task), finish)
    except _TakenAway:
        log.info("%s was taken away", task)
    except (BadPath, orders.Failed, quotas.OverQuota, OSError) as error:
        fail(task, str(error))


def _check(task: DatasetTask) -> None:
    dataset = task.dataset
    place = Path(dataset.storage_path)
    archive = archives.waiting_in(place)
    if archive is not None:
        _unpack(task, archive)
    storage.check_links(place)
    order = orders.Order(
        path=dataset.storage_path,
        modality=dataset.modality,
        columns=task.options.get("columns", {}),
        hashes=True,
        before=storage.read_manifest(verification.manifest_path(dataset)),
        index=str(verification.index_path(dataset)),
        processes=checks.processes(),
    )
    outcome: orders.Outcome = orders.delegate(order, _news_of(task), limit_s=checks.LIMIT_S)
    assert outcome["manifest"] is not None
    if archive is not None:
        store.adopt(place, outcome["manifest"])
    with transaction.atomic():
        finish(task)
        if archive is not None:
            more = storage.total_size(outcome["manifest"]) - dataset.size_bytes
            quotas.check(dataset.project, more)
        checks.take_over(dataset, outcome)
        checks.save_checked(dataset, outcome["manifest"])
        feed.tell_of_check(dataset, user=task.requested_by)


def _unpack(task: DatasetTask, archive: Path) -> None:
    """Of what comes out of it, the check that follows is told."""
    news = _news_of(task)
    ours(task).update(step=DatasetTask.Step.UNPACKING)
    heard = time.monotonic()

    def meanwhile() -> None:
        nonlocal heard
        if time.monotonic() - heard > orders.NEWS_SECONDS:
            heard = time.monotonic()
            news(0, 0)

    archives.unpack_waiting(archive, meanwhile)
    size = checks.size_of(archive.parent)
    if reason := quotas.refusal(task.dataset.project, size - task.dataset.size_bytes):
        raise BadPath(reason)
    ours(task).update(step=DatasetTask.Step.READING, size_bytes=size)


def _news_of(task: DatasetTask) -> orders.News:
    def news(rows: int, read_bytes: int) -> None:
        if not ours(task).update(heartbeat_at=timezone.now(), rows=rows, read_bytes=read_bytes):
            raise _TakenAway

    return news


def ours(task: DatasetTask) -> Any:
    """The row, as long as this attempt has it."""
    return DatasetTask.objects.filter(
        pk=task.pk, status=DatasetTask.Status.RUNNING, attempt=task.attempt
    )


def finish(task: DatasetTask, result: Dataset | None = None) -> None:
    """Inside the transaction of what was done."""
    done = ours(task).update(
        status=DatasetTask.Status.DONE,
        finished_at=timezone.now(),
        read_bytes=F("size_bytes"),
        result=result,
    )
    if not done:
        raise _TakenAway


def fail(task: DatasetTask, message: str) -> None:
    with transaction.atomic():
        failed = ours(task).update(
            status=DatasetTask.Status.FAILED, finished_at=timezone.now(), message=message[:2000]
        )
        if failed:
            copies.tidy(task, task.attempt)
            feed.tell_of_failed_task(task, message)


def reconcile() -> None:
    """Tasks whose worker is gone are given to another, a few times; who was not told is told."""
    now = timezone.now()
    silent = Q(heartbeat_at__lt=now - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS))
    running = DatasetTask.objects.filter(silent, status=DatasetTask.Status.RUNNING)
    for task in running.filter(attempt__gte=MOST_ATTEMPTS).select_related("dataset"):
        fail(task, _LOST)
    running.filter(attempt__lt=MOST_ATTEMPTS).update(
        status=DatasetTask.Status.WAITING, heartbeat_at=None
    )
    unheard = Q(heartbeat_at=None, created_at__lt=now - RESEND_AFTER) | Q(
        heartbeat_at__lt=now - RESEND_AFTER
    )
    for task in DatasetTask.objects.filter(unheard, status=DatasetTask.Status.WAITING):
        # Not again at once: the bell was rung now.
        DatasetTask.objects.filter(pk=task.pk).update(heartbeat_at=now)
        checks.wake(task)
