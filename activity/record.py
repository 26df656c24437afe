"""The one way into the feed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from activity.live import push_on_commit, send_on_commit
from activity.models import Activity, Cursor

DELIVER = "activity.deliver"
SHARED = "activity-shared"
EVERYTHING = "activity-all"


def group_of(project_id: UUID | None) -> str:
    """The channel group that hears of a project's activities."""
    return f"activity-{project_id}" if project_id else SHARED


def record(
    event_type: str,
    *,
    entity_type: str,
    entity_id: UUID | None,
    title: str,
    message: str = "",
    status: str = "info",
    user: Any = None,
    project_id: UUID | None = None,
    metadata: dict[str, Any] | None = None,
) -> Activity:
    """Write one activity and ring the bell after commit.

    Call it inside the transaction of the change, last: a rollback then erases both, and the lock
    on the cursor is held only until the commit.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("record() belongs inside the transaction of the change it tells of")
    Cursor.objects.update(value=F("value") + 1)
    activity = Activity.objects.create(
        cursor=Cursor.objects.values_list("value", flat=True).get(),
        event_type=event_type,
        entity_type=entity_type,
        entity_id=entity_id,
        title=title[:300],
        message=message,
        status=status,
        user=user if user is not None and user.is_authenticated else None,
        project_id=project_id,
        metadata=metadata or {},
    )
    for group in (group_of(project_id), EVERYTHING):
        push_on_commit(group, "activity.recorded")
    send_on_commit(DELIVER, ignore_result=True)
    return activity
