"""Celery's side."""

from __future__ import annotations

from celery import shared_task

from activity import reading
from activity.outgoing import dispatch, expiry, post_office
from activity.record import DELIVER


@shared_task(name=DELIVER, ignore_result=True)
def deliver() -> None:
    """The message is only a doorbell: it may come late, twice or never."""
    dispatch.dispatch()
    post_office.work()


@shared_task(name="activity.forget_old_deliveries", ignore_result=True)
def forget_old_deliveries() -> None:
    expiry.forget_old_deliveries()


@shared_task(name="activity.squash_marks", ignore_result=True)
def squash_marks() -> None:
    reading.squash()
