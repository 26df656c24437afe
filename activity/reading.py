"""Marking what was read, and telling the reader's other pages of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, Max, UUIDField, Value
from django.db.models.functions import Now

from accounts.models import User
from activity.live import push_on_commit
from activity.models import Activity, ReadMark, ReadUpTo

# Whoever has more marks than this has them made into one line of `ReadUpTo`, where they can be.
MANY_MARKS = 200


def group_of(user_id: UUID) -> str:
    """The channel group of one person's pages."""
    return f"activity-reader-{user_id}"


@transaction.atomic
def mark(activities: Any, reader: Any) -> int:
    """Mark these as read by one person, in one statement; how many were unread."""
    unread = activities.unread_by(reader).order_by()
    marks = unread.values_list("pk", Value(reader.pk, UUIDField()), Now())
    select, values = marks.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {ReadMark._meta.db_table} (activity_id, user_id, read_at) {select} "
            "ON CONFLICT DO NOTHING",
            values,
        )
        count: int = cursor.rowcount
    if count:
        push_on_commit(group_of(reader.pk), "activity.read")
    return count


@transaction.atomic
def mark_all(reader: Any) -> int:
    """Everything that this person may see now; how many were unread."""
    visible = Activity.objects.visible_to(reader)
    newest = visible.aggregate(newest=Max("cursor"))["newest"] or 0
    count: int = visible.filter(cursor__lte=newest).unread_by(reader).count()
    if count:
        _read_up_to(reader, newest)
        push_on_commit(group_of(reader.pk), "activity.read")
    return count


def read_pairs(notices: Collection[Any]) -> set[tuple[UUID, UUID]]:
    """Of rows with an activity and a user: the pairs of both where the user has read it."""
    people = {notice.user_id for notice in notices}
    marks = ReadMark.objects.filter(
        activity__in={notice.activity_id for notice in notices}, user__in=people
    )
    up_to = dict(ReadUpTo.objects.filter(user__in=people).values_list("user", "cursor"))
    return set(marks.values_list("activity", "user")) | {
        (notice.activity_id, notice.user_id)
        for notice in notices
        if notice.activity.cursor <= up_to.get(notice.user_id, 0)
    }


def squash() -> None:
    """Many marks without a gap say no more than "everything up to the last of them"."""
    for reader in User.objects.annotate(marks=Count("read_marks")).filter(marks__gt=MANY_MARKS):
        with transaction.atomic():
            visible = Activity.objects.visible_to(reader).order_by("cursor")
            unread = visible.unread_by(reader).values_list("cursor", flat=True).first()
            if unread is None:
                mark_up_to = visible.aggregate(newest=Max("cursor"))["newest"] or 0
            else:
                mark_up_to = unread - 1
            _read_up_to(reader, mark_up_to)


def _read_up_to(reader: Any, cursor: int) -> None:
    """It only ever goes forward."""
    ReadUpTo.objects.get_or_create(user_id=reader.pk)
    ReadUpTo.objects.filter(user_id=reader.pk, cursor__lt=cursor).update(cursor=cursor)
    ReadMark.objects.filter(user_id=reader.pk, activity__cursor__lte=cursor).delete()
