"""Celery's side."""

from __future__ import annotations

from celery import shared_task

from accounts import changes, idempotency


@shared_task(name="accounts.forget_old_keys", ignore_result=True)
def forget_old_keys() -> None:
    idempotency.forget_old()


@shared_task(name="accounts.squash_changes", ignore_result=True)
def squash_changes() -> None:
    changes.squash()
