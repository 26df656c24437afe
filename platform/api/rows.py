"""Lists whose fields are columns: from the database to JSON without objects in between.

Making a model instance and asking fifty fields for its values takes longer than the database takes
to find it. The answer is the same to the last byte; tests/api/test_rows.py compares the two.
"""

from __future__ import annotations

import functools
from typing import Any

import orjson
from django.db.models import JSONField, TextField
from django.db.models.functions import Cast
from rest_framework import serializers

from api.renderers import dumps


class RowsSerializer(serializers.ListSerializer[Any]):
    """Of ``many=True``. Rows that `as_json` has written are shown as they are."""

    @property
    def data(self) -> Any:
        return self.instance if isinstance(self.instance, orjson.Fragment) else super().data


def as_json(queryset: Any, serializer_class: type[serializers.ModelSerializer[Any]]) -> bytes:
    """An array of the rows with the fields of the serializer, by their names in the answer. What
    the database holds as JSON goes through as it stands."""
    columns = columns_of(serializer_class)
    json = [name for name, column in columns.items() if isinstance(column, Cast)]
    rows = []
    for values in queryset.values_list(*columns.values()):
        row = dict(zip(columns, values, strict=True))
        for name in json:
            row[name] = orjson.Fragment(row[name])
        rows.append(row)
    return dumps(rows)


@functools.cache
def columns_of(serializer_class: type[serializers.ModelSerializer[Any]]) -> dict[str, Any]:
    """The column (or annotation) behind each field, but for those that are only sometimes there."""
    meta: Any = serializer_class.Meta
    fields = {field.name: field for field in meta.model._meta.concrete_fields}
    columns: dict[str, Any] = {}
    for name, shown in serializer_class().fields.items():
        field = fields.get(shown.source)
        if isinstance(field, JSONField):
            columns[name] = Cast(field.name, TextField())
        elif name not in getattr(meta, "sometimes", ()) and not shown.write_only:
            columns[name] = field.attname if field else shown.source
    return columns
