"""What every list of ours does alike: pages of it, and its order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import BadRequest
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet

from accounts.questions import Question

ROWS_A_PAGE = 25


def page_of(
    found: QuerySet[Any],
    shown: QuerySet[Any],
    number: str | None,
    question: Question,
    total: int | None = None,
) -> Page[Any]:
    """A page of ``found``, with the rows as ``shown`` makes them. The database chooses the ids by
    an index alone and reads only these rows. ``total``: how many there are, where that is known."""
    paginator = Paginator(found.values_list("pk", flat=True), ROWS_A_PAGE)
    # Or it would count by itself, each time.
    paginator.count = question.answer("total", found.count) if total is None else total
    page = paginator.get_page(number)
    ids = question.answer(("page", page.number), lambda: list(page.object_list))
    rows = {row.pk: row for row in shown.filter(pk__in=ids)}
    page.object_list = [rows[pk] for pk in ids if pk in rows]
    return page


def ordered(
    rows: QuerySet[Any], orders: Mapping[str, tuple[str, ...]], wanted: str | None
) -> QuerySet[Any]:
    """By one of the ``orders``, of which the first holds where nothing is said. Raises
    BadRequest."""
    name = wanted or next(iter(orders))
    if name not in orders:
        raise BadRequest(f"sort: '{name}' is none of {', '.join(orders)}.")
    return rows.order_by(*orders[name])
