"""Rows that were ticked in a list, and what is done to each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from accounts.scoping import ProjectScopedQuerySet, may_change

# As many as are ticked at once, with some to spare.
MOST_AT_ONCE = 100
SHOWN_BY_NAME = 3


class Refused(Exception):
    """It stays as it is; the message says why."""


@dataclass(frozen=True)
class Deed:
    """What a button below a list does to each row that is ticked: ``do(row, actor=user)``. ``done``
    is a participle: "cancelled"."""

    label: str
    icon: str
    do: Callable[..., Any]
    done: str
    tone: str = ""
    confirm: str = ""


def chosen(request: HttpRequest, name: str, values: Iterable[str] | None = None) -> list[UUID]:
    """The ids that were ticked, each once. Raises BadRequest for what is none, or too many."""
    given = request.POST.getlist(name) if values is None else values
    try:
        ids = list(dict.fromkeys(UUID(value) for value in given))
    except ValueError as error:
        raise BadRequest(f"{name}: not a UUID.") from error
    if len(ids) > MOST_AT_ONCE:
        raise BadRequest(f"{name}: at most {MOST_AT_ONCE} at once.")
    return ids


def answer(
    request: HttpRequest,
    visible: ProjectScopedQuerySet,
    deeds: Mapping[str, Deed],
    *,
    name: str,
    refuses: tuple[type[Exception], ...] = (),
    back: str,
) -> HttpResponse:
    """One of the deeds, to each of the ``visible`` that is ticked, and the list again. What refuses
    stays as it is, and is named.

    ``name`` is what a row is called, in its box and in sentences; ``back`` is the list's own.
    """
    deed = deeds.get(request.POST.get("do", ""))
    if deed is None:
        raise BadRequest(f"do: one of {', '.join(deeds)}.")
    rows = list(visible.filter(pk__in=chosen(request, name)))
    theirs = {pk for pk in {row.project_id for row in rows} if may_change(request.user, pk)}
    if rows and not theirs:
        raise PermissionDenied

    def do(row: Any) -> None:
        if row.project_id not in theirs:
            raise Refused(f"You may see {name} '{row}', but not change it.")
        deed.do(row, actor=request.user)

    _to_each(request, rows, do, deed.done, (Refused, *refuses))
    query = urlsplit(request.POST.get("back", "")).query  # the list as it was, with its filters
    return redirect(f"{reverse(back)}?{query}" if query else back)


def _to_each(
    request: HttpRequest,
    rows: Iterable[Any],
    do: Callable[[Any], object],
    done: str,
    refuses: tuple[type[Exception], ...],
) -> None:
    worked: list[str] = []
    refused: list[str] = []
    for row in rows:
        name = str(row)
        try:
            do(row)
        except refuses as error:
            refused.append(str(error))
        else:
            worked.append(name)
    if worked:
        messages.success(request, f"{_names(worked)} {done}.")
    for sentence in refused[:SHOWN_BY_NAME]:
        messages.error(request, sentence)
    if len(refused) > SHOWN_BY_NAME:
        messages.error(request, f"{len(refused) - SHOWN_BY_NAME} more stay as they are.")
    if not worked and not refused:
        messages.error(request, "Nothing was ticked.")


def _names(names: list[str]) -> str:
    if len(names) > SHOWN_BY_NAME:
        return f"{len(names)}"
    return ", ".join(f"'{name}'" for name in names)
