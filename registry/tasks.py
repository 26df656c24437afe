"""What the registry does by the clock, what takes longer than a request may, and transfers.

`registry.hub.runner` is imported by the tasks that need it: every worker loads this module, and
only those that take transfers need the hub's library.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from celery import shared_task
from celery.exceptions import Ignore
from django.conf import settings
from django.utils import timezone

from registry import checks, garbage, model_checks, treatment, verification
from registry.hub import dispatch, worker
from registry.hub.lifecycle import IllegalMove
from registry.hub.models import Kind, Transfer
from registry.uploads import receiving

__all__ = ["worker"]  # hooks into Celery's signals

log = logging.getLogger(__name__)

# So long one round may take: the worker's processes are there for training.
ROUND_SECONDS = 600


@shared_task(name="registry.verify_files", ignore_result=True)
def verify_files() -> None:
    """Read again what has not been read for TRAINYARD_VERIFY_DAYS."""
    if not settings.TRAINYARD_VERIFY_DAYS:
        return
    before = timezone.now() - timedelta(days=settings.TRAINYARD_VERIFY_DAYS)
    until = time.monotonic() + ROUND_SECONDS
    for entry in verification.due(before):
        if model_checks.is_left_to_people(entry):
            continue
        for problem in verification.verify(entry, thorough=True):
            log.warning("%s '%s': %s", entry._meta.verbose_name, entry, problem)
        if time.monotonic() > until:
            return


@shared_task(name=model_checks.WORK, ignore_result=True)
def check_model(model_id: str, attempt: int) -> None:
    model_checks.work(model_id, attempt)


@shared_task(name="registry.collect_garbage", ignore_result=True)
def collect_garbage() -> None:
    older_than = time.time() - settings.TRAINYARD_GARBAGE_GRACE_HOURS * 3600
    done = garbage.collect(older_than)
    for leftover in done.leftovers:
        log.info("removed %s, %s", leftover.path, leftover.what)
    if done.copies:
        log.info("removed %s files of the store (%s bytes)", done.copies, done.copies_bytes)


@shared_task(name=dispatch.TASKS[Kind.HF_DATASET])
def download_hf_dataset(transfer_id: str, attempt: int) -> str:
    return _run(transfer_id, attempt)


@shared_task(name=dispatch.TASKS[Kind.HF_MODEL])
def download_hf_model(transfer_id: str, attempt: int) -> str:
    return _run(transfer_id, attempt)


@shared_task(name=dispatch.TASKS[Kind.HF_UPLOAD])
def upload_hf_model(transfer_id: str, attempt: int) -> str:
    return _run(transfer_id, attempt)


@shared_task(name=dispatch.TASKS[Kind.URL_DATASET])
def download_url(transfer_id: str, attempt: int) -> str:
    return _run(transfer_id, attempt)


@shared_task(name=dispatch.TASKS[Kind.S3_DATASET])
def download_bucket(transfer_id: str, attempt: int) -> str:
    return _run(transfer_id, attempt)


def _run(transfer_id: str, attempt: int) -> str:
    """The message is only a doorbell: it may come late, twice or never. Leaves no result where
    this attempt is somebody else's or over (Ignore)."""
    from registry.hub import runner

    try:
        transfer = Transfer.objects.select_related("project", "created_by").get(pk=transfer_id)
        return runner.run(transfer, attempt)
    except (Transfer.DoesNotExist, IllegalMove) as error:
        log.info("a second message for transfer %s, attempt %s: %s", transfer_id, attempt, error)
        raise Ignore from error


@shared_task(name="registry.reconcile_transfers", ignore_result=True)
def reconcile_transfers() -> None:
    dispatch.reconcile()


@shared_task(name=checks.WORK, ignore_result=True)
def work_on_dataset(task_id: str) -> None:
    treatment.work(task_id)


@shared_task(name="registry.reconcile_dataset_tasks", ignore_result=True)
def reconcile_dataset_tasks() -> None:
    treatment.reconcile()
    model_checks.reconcile()


@shared_task(name="registry.forget_expired_uploads", ignore_result=True)
def forget_expired_uploads() -> None:
    receiving.forget_expired()
