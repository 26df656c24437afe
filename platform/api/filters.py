"""django-filter, strict: a parameter or a value that cannot be is a 400 that names it."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from django import forms
from django.db.models import F, Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from api.errors import BadRequest
from api.pagination import LARGEST, as_whole_number

TRUE = ("true", "1", "yes")
FALSE = ("false", "0", "no")


class StrictFilterBackend(filters.DjangoFilterBackend):
    """Refuses parameters that there are not, and bad values, which django-filter does only when
    told so. Filters are of lists: one object is found by its id alone."""

    raise_exception = True

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        refuse_unknown_parameters(request, view)
        if not is_list(view) or _is_on_the_way(queryset, view):
            return queryset
        filterset = self.get_filterset_class(view)
        if filterset is None or not set(request.query_params) & set(filterset.base_filters):
            return queryset
        return super().filter_queryset(request, queryset, view)

    def get_filterset_class(self, view: Any, queryset: Any = None) -> Any:
        """The schema asks with the view's model, which an action's rows need not be."""
        return getattr(view, "filterset_class", None)


class FilterSet(filters.FilterSet):
    """Only the filters that are asked for are made: a list has a dozen, and a request names two."""

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        if data is not None:
            every: dict[str, filters.Filter] = vars(type(self))["base_filters"]
            self.base_filters = {name: one for name, one in every.items() if name in data}
        super().__init__(data, *args, **kwargs)


def is_list(view: Any) -> bool:
    """Does this route answer with the list envelope? An ``@action`` that does names its rows:
    ``@action(detail=True, plural="metrics", ...)``."""
    action = getattr(view, "action", None) or ""
    return action == "list" or "plural" in getattr(getattr(view, action, None), "kwargs", {})


def _is_on_the_way(queryset: Any, view: Any) -> bool:
    """The job, say, whose metrics are to be filtered."""
    filterset = getattr(view, "filterset_class", None)
    return filterset is not None and not issubclass(queryset.model, filterset._meta.model)


def known_parameters(request: Request, view: Any) -> list[str]:
    """What may stand behind the ``?`` of this route."""
    if request.method not in SAFE_METHODS:
        return []
    names = [parameter.name for parameter in getattr(view, "takes", ())]
    if is_list(view):
        filterset = getattr(view, "filterset_class", None)
        names += ["limit", "offset", *(filterset.base_filters if filterset else ())]
    return sorted(names)


def refuse_unknown_parameters(request: Request, view: Any) -> None:
    """A mistyped filter must not answer with everything. Raises BadRequest."""
    known = known_parameters(request, view)
    there_are = f"There are: {', '.join(known)}." if known else "There are none here."
    unknown = {
        name: f"There is no parameter '{name}'. {there_are}"
        for name in sorted(set(request.query_params) - set(known))
    }
    if unknown:
        raise BadRequest(" ".join(unknown.values()), unknown)


class StrictBooleanField(forms.Field):
    """``true`` or ``false``; anything else is refused instead of meaning "unset"."""

    widget = forms.TextInput

    def to_python(self, value: Any) -> bool | None:
        if value in self.empty_values:
            return None
        lowered = str(value).lower()
        if lowered in TRUE or lowered in FALSE:
            return lowered in TRUE
        raise forms.ValidationError(f"'{value}' is not true or false.")


@extend_schema_field(OpenApiTypes.BOOL)
class StrictBooleanFilter(filters.Filter):
    field_class = StrictBooleanField


class WholeNumberField(forms.CharField):
    def clean(self, value: Any) -> int | None:
        text = super().clean(value)
        try:
            return as_whole_number(text) if text else None
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


@extend_schema_field({"type": "integer", "minimum": 0, "maximum": LARGEST})
class WholeNumberFilter(filters.Filter):
    field_class = WholeNumberField


class KnownChoiceFilter(filters.ChoiceFilter):
    """One of the values that there are; the refusal of another one lists them."""

    def __init__(self, *args: Any, choices: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, choices=choices, error_messages=_refusal(choices), **kwargs)


class KnownChoicesFilter(filters.MultipleChoiceFilter):
    """Any of the values given: ``status=QUEUED&status=RUNNING``."""

    def __init__(self, *args: Any, choices: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, choices=choices, error_messages=_refusal(choices), **kwargs)


def _refusal(choices: list[tuple[str, str]]) -> dict[str, str]:
    known = ", ".join(value for value, _ in choices)
    return {"invalid_choice": f"'%(value)s' is not one of {known}."}


class Ordering(filters.OrderingFilter):
    """``ordering=name,-created_at``. Rows that are equal there stay in one order, by their id, and
    what has no value comes last on every database. ``renamed``: a parameter's word and its field.
    """

    def __init__(self, *names: str, **renamed: str) -> None:
        fields = {**{name: name for name in names}, **{v: k for k, v in renamed.items()}}
        choices = [(f"{sign}{word}", word) for word in fields.values() for sign in ("", "-")]
        super().__init__(
            fields=fields,
            choices=choices,
            error_messages=_refusal(choices),
            label="The first one counts most; - turns an order round.",
        )

    def filter(self, qs: QuerySet[Any], value: list[str] | None) -> QuerySet[Any]:
        words = [word for word in value or [] if word]
        if not words:
            return qs
        tie_break = "-pk" if words[-1].startswith("-") else "pk"
        return qs.order_by(*(self._order(qs, self.get_ordering_value(w)) for w in words), tie_break)

    def _order(self, qs: QuerySet[Any], name: str) -> Any:
        field = name.lstrip("-")
        if "__" in field or not qs.model._meta.get_field(field).null:
            return name  # as it stands, for the index
        direction = F(field).desc if name.startswith("-") else F(field).asc
        return direction(nulls_last=True)


class SearchFilter(filters.CharFilter):
    """Any of ``in_fields`` contains the words as they stand, upper or lower case alike."""

    def __init__(self, *args: Any, in_fields: tuple[str, ...], **kwargs: Any) -> None:
        names = [field.split("__")[-1].replace("_", " ") for field in in_fields]
        super().__init__(*args, **{"label": f"Words in: {', '.join(names)}.", **kwargs})
        self.in_fields = in_fields

    def filter(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not value:
            return qs
        if "\x00" in value:
            raise exceptions.ValidationError({self.field_name or "search": "NUL is not allowed."})
        return self.found(qs, value)

    def found(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        return qs.filter(reduce(or_, (Q(**{f"{f}__icontains": value}) for f in self.in_fields)))
