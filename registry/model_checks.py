"""All files of a model read again: at once where that is quick, else by a worker.

``BaseModel.check_heard_at`` is the truth, a message only rings the bell: whoever asks sets it,
whoever reads renews it, and it is empty again when what was found is in the row. A check of which
nothing is heard is begun again, a few times; ``check_attempt`` counts that before anything is read.
One that comes to no result breaks the model, which says why, until somebody has it checked again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from activity.live import send_on_commit
from registry import feed, services
from registry.inspect import ERROR, Finding
from registry.models import BaseModel, Entry
from registry.services import CannotRegister

log = logging.getLogger(__name__)

WORK = "registry.check_model"
# A second's work, or two.
READ_AT_ONCE_BYTES = 2 << 30
MOST_ATTEMPTS = 3
LONGEST_REASON = 500
DID_NOT_END = Finding(
    code="check_did_not_end",
    message=f"The check of its files was begun {MOST_ATTEMPTS} times and did not come to an end, "
    "most likely for want of memory; it is not begun again by itself.",
    fix="The worker's log may say why it ended. Then check the files again.",
    level=ERROR,
)


class _TakenAway(Exception):
    """Another worker has the check by now, somebody has made it, or the model is gone."""


def check(model: BaseModel) -> None:
    """`services.check_model`, or by a worker where it takes longer than a request may: then
    ``check_heard_at`` is set. Raises CannotRegister where it has no files."""
    if model.size_bytes > READ_AT_ONCE_BYTES and model.storage_path:
        request(model)
        return
    _read(model, BaseModel.objects.filter(pk=model.pk))
    model.refresh_from_db()


@transaction.atomic
def request(model: BaseModel) -> None:
    """By a worker. Who asks while one is open asks for the same."""
    not_asked = BaseModel.objects.filter(pk=model.pk, check_heard_at=None)
    asked = not_asked.update(check_heard_at=timezone.now(), check_attempt=0)
    model.refresh_from_db(fields=["check_heard_at", "check_attempt"])
    if asked:
        _wake(model)


def work(model_id: str, attempt: int) -> None:
    """The attempt after ``attempt``. Nothing where it has begun, or where nobody asks any more."""
    asked = BaseModel.objects.filter(pk=model_id).exclude(check_heard_at=None)
    begun = asked.filter(check_attempt=attempt, check_attempt__lt=MOST_ATTEMPTS).update(
        check_heard_at=timezone.now(), check_attempt=F("check_attempt") + 1
    )
    ours = asked.filter(check_attempt=attempt + 1)
    model = ours.first() if begun else None
    if model is None:
        return
    try:
        _read(model, ours, partial(_heard, ours))
    except _TakenAway:
        log.info("the check of model %s was taken away", model)


def _read(
    model: BaseModel, ours: QuerySet[BaseModel], meanwhile: Callable[[], object] | None = None
) -> None:
    """``ours`` is the model's row, as long as the check is ours. Raises what ``meanwhile`` does."""
    try:
        services.check_model(model, meanwhile)
    except (CannotRegister, _TakenAway, DatabaseError):  # none of them says anything of the files
        raise
    except Exception as error:  # again and again it would be no other
        log.exception("the files of model %s could not be read", model)
        _fail(ours, _could_not_be_read(error))
    else:
        ours.update(check_heard_at=None, check_attempt=0)


def _heard(ours: QuerySet[BaseModel]) -> None:
    if not ours.update(check_heard_at=timezone.now()):
        raise _TakenAway


def _could_not_be_read(error: Exception) -> Finding:
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Finding(
        code="could_not_be_read",
        message=f"Its files could not be read: {reason[:LONGEST_REASON]}",
        fix="Check the files again. If that ends the same, the server's log has the details.",
        level=ERROR,
    )


@transaction.atomic
def _fail(ours: QuerySet[BaseModel], finding: Finding) -> None:
    model = ours.select_for_update().first()
    if model is None:
        return
    inspection = {
        **model.inspection,
        "failed_check": finding.as_dict(),
        "file_problems": [finding.message],
    }
    BaseModel.objects.filter(pk=model.pk).update(
        status=BaseModel.Status.BROKEN,
        metadata={**model.metadata, "inspection": inspection},
        check_heard_at=None,
        updated_at=timezone.now(),
    )
    feed.tell_of_failed_check(model, finding.message)


def is_left_to_people(entry: Entry) -> bool:
    """Its check has ended its worker each time: nobody reads it unasked."""
    failed = entry.failed_check if isinstance(entry, BaseModel) else None
    return failed is not None and failed["code"] == DID_NOT_END.code


def reconcile() -> None:
    """Checks whose message or worker was lost are begun again, a few times."""
    now = timezone.now()
    silent = now - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS)
    lost = BaseModel.objects.filter(check_heard_at__lt=silent)
    for model in lost.only("check_attempt"):
        this = lost.filter(pk=model.pk, check_attempt=model.check_attempt)
        if model.check_attempt >= MOST_ATTEMPTS:
            _fail(this, DID_NOT_END)
            continue
        with transaction.atomic():
            if this.update(check_heard_at=now):
                _wake(model)


def _wake(model: BaseModel) -> None:
    arguments = [str(model.pk), model.check_attempt]
    send_on_commit(WORK, args=arguments, ignore_result=True)
