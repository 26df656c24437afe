"""What the top of every page says of the feed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import IntegerField, Subquery
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from activity.models import Activity, Cursor

# More are shown as "99+". A feed that nobody has ever marked need not be counted to its end.
MOST_COUNTED = 100


@dataclass(frozen=True)
class Bell:
    """``unread`` lines, up to MOST_COUNTED, and the ``cursor`` from where the page goes on."""

    unread: int
    cursor: int

    def __str__(self) -> str:
        return f"{MOST_COUNTED - 1}+" if self.unread >= MOST_COUNTED else str(self.unread)


class CountOf(Subquery):
    """How many rows a query has."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


def bell_of(user: Any) -> Bell:
    """One question, so that number and cursor are of the same moment."""
    unread = Activity.objects.visible_to(user).unread_by(user).values("pk")[:MOST_COUNTED]
    cursor, count = Cursor.objects.values_list("value", CountOf(unread)).get()
    return Bell(unread=count, cursor=cursor)


def bell(request: HttpRequest) -> dict[str, Any]:
    """Context processor. Nothing is asked for a page that does not show it."""
    user = getattr(request, "user", None)
    if user is None:
        return {}
    return {"bell": SimpleLazyObject(lambda: bell_of(user))}
