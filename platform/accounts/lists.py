"""What every list does alike: what is asked of it, its order, its pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from django import forms
from django.core.exceptions import BadRequest
from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet

from accounts.questions import Question

ROWS_A_PAGE = 25


class Asked(forms.Form):
    """Words, filters and an order, as `templates/_filters.html` and `_sort.html` send them.

    ``orders``: by the word in the address; the first holds where nothing is said. ``selects``: the
    fields that one chooses from beside the search, ``sort`` among them where no heading sorts. The
    others come by a link or a heading, and a search keeps them.
    """

    orders: ClassVar[Mapping[str, Sequence[Any]]]
    selects: ClassVar[tuple[str, ...]] = ()

    q = forms.CharField(max_length=200, required=False)
    sort = forms.ChoiceField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_choices("sort", [(word, word.capitalize()) for word in self.orders])

    def set_choices(self, name: str, choices: Sequence[tuple[Any, Any]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def clean_sort(self) -> str:
        return self.cleaned_data["sort"] or next(iter(self.orders))

    def valid(self) -> Self:
        """Raises BadRequest."""
        if not self.is_valid():
            raise BadRequest(self.errors.as_text())
        return self

    def in_order(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.order_by(*self.orders[self.sorted_by])

    def question(self, user: Any, *of: type[Model]) -> Question:
        return Question(user, *sorted(self.cleaned_data.items()), of=of)

    @property
    def sorted_by(self) -> str:
        word: str = self.cleaned_data["sort"]
        return word

    @property
    def narrows(self) -> dict[str, Any]:
        """What is asked for, without the order."""
        asked = {name: value for name, value in self.cleaned_data.items() if value}
        return {name: value for name, value in asked.items() if name != "sort"}

    @property
    def selected(self) -> list[forms.BoundField]:
        return [self[name] for name in self.selects]

    @property
    def kept(self) -> dict[str, Any]:
        """What a search keeps of what stands elsewhere."""
        asked = {"sort": self.data.get("sort"), **self.narrows}
        return {
            name: value
            for name, value in asked.items()
            if value and name not in ("q", *self.selects)
        }


def page_of(
    found: QuerySet[Any],
    shown: QuerySet[Any],
    number: str | None,
    question: Question,
    *,
    total: int | None = None,
    size: int = ROWS_A_PAGE,
) -> Page[Any]:
    """A page of ``found``, with the rows as ``shown`` makes them. The database chooses the ids by
    an index alone and reads only these rows. ``total``: how many there are, where that is known.
    A ``number`` that there is not leads to the nearest page."""
    paginator = Paginator(found.values_list("pk", flat=True), size)
    # Or it would count by itself, each time.
    paginator.count = question.answer("total", found.count) if total is None else total
    wanted = int(number) if number and number.isdecimal() and len(number) < 10 else 1
    page = paginator.get_page(max(wanted, 1))
    ids = question.answer(("page", page.number, size), lambda: list(page.object_list))
    rows = {row.pk: row for row in shown.filter(pk__in=ids)}
    page.object_list = [rows[pk] for pk in ids if pk in rows]
    return page
