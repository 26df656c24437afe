"""Whose turn it is, and what was lost on the way.

So many transfers move at the same time as TRAINYARD_PARALLEL_TRANSFERS says, over all workers. Only
for those is a message sent, so the queue never holds more; a message that is lost is sent again.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from registry.hub import outcome, places
from registry.hub.lifecycle import IllegalMove
from registry.hub.models import Kind, Status, Transfer
from registry.models import BaseModel, Dataset

log = logging.getLogger(__name__)

QUEUE = "transfers"
TASKS = {
    Kind.HF_DATASET: "transfer_tasks.download_hf_dataset",
    Kind.HF_MODEL: "transfer_tasks.download_hf_model",
    Kind.HF_UPLOAD: "transfer_tasks.upload_hf_model",
    Kind.URL_DATASET: "transfer_tasks.download_url",
    Kind.URL_MODEL: "transfer_tasks.download_url",
    Kind.S3_DATASET: "transfer_tasks.download_bucket",
    Kind.S3_MODEL: "transfer_tasks.download_bucket",
}
NOBODY_ANSWERS = "No worker has taken it so far. Does one run that takes the queue 'transfers'?"
# What has failed can be tried again from where it stopped, for so long.
KEEP_FAILED = timedelta(days=7)


@transaction.atomic
def dispatch() -> int:
    """Send for as many as there is room for, the oldest first. How many."""
    now = timezone.now()
    # One at a time: who comes second waits here, and sees what the first has done.
    moving = list(
        Transfer.objects.select_for_update()
        .filter(status__in=[Status.QUEUED, Status.RUNNING])
        .order_by("queued_at", "pk")
    )
    heard = now - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS)
    taken = [t for t in moving if t.status == Status.RUNNING or (t.sent_at and t.sent_at > heard)]
    due = [t for t in moving if t not in taken and (t.not_before is None or t.not_before <= now)]
    chosen = due[: max(settings.TRAINYARD_PARALLEL_TRANSFERS - len(taken), 0)]
    for transfer in chosen:
        unheard = {"waiting_reason": NOBODY_ANSWERS} if transfer.sent_at else {}
        Transfer.objects.filter(pk=transfer.pk).update(sent_at=now, **unheard)
    if chosen:
        transaction.on_commit(lambda: ring(chosen), robust=True)
    return len(chosen)


def ring(transfers: list[Transfer]) -> None:
    """Tell the workers. What is lost is said again after a lease."""
    for transfer in transfers:
        arguments = [str(transfer.pk), transfer.attempt]
        current_app.send_task(TASKS[Kind(transfer.kind)], arguments, queue=QUEUE)


def wake() -> None:
    """`dispatch` after commit. One that fails is made good by the reconciler (robust)."""
    transaction.on_commit(dispatch, robust=True)


def reconcile() -> None:
    """Runs every few seconds, harmless doubled."""
    reap_lost()
    dispatch()
    sweep()


def reap_lost() -> None:
    """Transfers said to be running of which nothing has been heard for a lease."""
    silent = timezone.now() - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS)
    _lose(Q(heartbeat_at__lt=silent) | Q(heartbeat_at=None))


def reap_of_this_worker() -> None:
    """It has started anew: what it was moving before has ended with it."""
    _lose(Q(worker=settings.TRAINYARD_WORKER))


def _lose(which: Q) -> None:
    for transfer in Transfer.objects.filter(which, status=Status.RUNNING):
        try:
            outcome.troubled(transfer, transfer.attempt, outcome.LOST)
        except IllegalMove as error:
            log.info("already seen to: %s", error)


def sweep() -> None:
    """Remove the files of transfers that need them no more."""
    ids = places.all_ids()
    if not ids:
        return
    kept = Q(status__in=[Status.QUEUED, Status.RUNNING, Status.PAUSED]) | Q(
        status=Status.FAILED, finished_at__gt=timezone.now() - KEEP_FAILED
    )
    wanted = set(Transfer.objects.filter(kept, pk__in=ids).values_list("pk", flat=True))
    for transfer in Transfer.objects.filter(pk__in=[pk for pk in ids if pk not in wanted]):
        tidy(transfer)
    known = set(Transfer.objects.filter(pk__in=ids).values_list("pk", flat=True))
    for pk in ids:
        if pk not in known:
            places.remove(pk)


def tidy(transfer: Transfer) -> bool:
    """Remove what a transfer has left: what has come of it, and in and around its final place what
    became no entry. False while somebody is still at work there."""

    def others() -> list[Path]:
        if transfer.is_upload or _is_registered(transfer):
            return []
        return [places.destination_of(transfer), *places.around(transfer)]

    return places.remove(transfer.pk, others)


def _is_registered(transfer: Transfer) -> bool:
    entries = Dataset if transfer.makes == "dataset" else BaseModel
    return bool(entries.objects.filter(pk=transfer.entry_id).exists())
