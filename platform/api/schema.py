"""The OpenAPI document: our envelopes, our errors, and how one signs in.

`docs/openapi.yaml` is what ``make schema`` writes; ``/api/schema`` answers with the same.
"""

from __future__ import annotations

import inspect
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS

from api.filters import is_list

ERRORS = {
    "400": ("BadRequest", "The request cannot be: a field, a parameter or an id is at fault."),
    "401": ("Unauthorized", "Nobody has signed in, or the token is not valid (any more)."),
    "403": ("Forbidden", "You may see this, but not do this."),
    "404": ("NotFound", "There is no such thing, or not for you."),
    "409": ("Conflict", "The state of the thing does not allow this now."),
    "412": ("PreconditionFailed", "Somebody has changed it since you read it (`If-Match`)."),
    "422": ("KeyReused", "The `Idempotency-Key` belongs to another request."),
    "default": ("OtherError", "Any other error has the same shape."),
}
# What is answered only to those who send this header.
ASKED_FOR = {"412": "If-Match", "422": "Idempotency-Key"}


class Schema(AutoSchema):
    """Describes a view as `api.filters` and `api.pagination` make it behave."""

    def get_override_parameters(self) -> list[Any]:
        declared = list(super().get_override_parameters())
        return [*declared, *(getattr(self.view, "takes", ()) if self.method == "GET" else ())]

    def _resolve_path_parameters(self, variables: Any) -> Any:
        """What a path is about it names by a UUID: `views.UUIDLookup` says so, no regex. Parts of
        it that have a number (`views.UUIDLookup.numbered`) are named by that."""
        found = super()._resolve_path_parameters(variables)  # type: ignore[no-untyped-call]
        numbered = getattr(self.view, "numbered", ())
        uuid = {"type": "string", "format": "uuid"}
        number = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
        return [{**one, "schema": number if one["name"] in numbered else uuid} for one in found]

    def get_description(self) -> str:  # type: ignore[override]
        """Of the action, else of the view itself; what it inherits describes our code."""
        action = getattr(self.view, getattr(self.view, "action", None) or "", None)
        own = getattr(action, "__doc__", None) if hasattr(action, "mapping") else None
        return inspect.cleandoc(own or vars(type(self.view)).get("__doc__") or "")

    def get_auth(self) -> list[Any]:
        """The same everywhere: the document says it once, for all operations."""
        return []

    def get_paginated_name(self, serializer_name: str) -> str:
        return f"{serializer_name}List"

    def _is_list_view(self, serializer: Any = None) -> bool:
        return is_list(self.view) if hasattr(self.view, "action") else False

    def _get_paginator(self) -> Any:
        paginator = super()._get_paginator()  # type: ignore[no-untyped-call]
        if paginator is not None:
            paginator.plural = getattr(self.view, "plural", "results")
        return paginator

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        sent = {parameter.name for parameter in self.get_override_parameters()}
        if "If-None-Match" in sent:
            bodies["304"] = {"description": "It is still what you have."}
        for code, (name, _) in ERRORS.items():
            if self._may_answer(code, sent):
                bodies.setdefault(code, {"$ref": f"#/components/responses/{name}"})
        return bodies

    def _may_answer(self, code: str, sent: set[str]) -> bool:
        if code == "404":
            return "{" in self.path
        if code == "409":
            return self.method not in SAFE_METHODS
        return code not in ASKED_FOR or ASKED_FOR[code] in sent

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        """An answer has all of its fields, also those that a request may leave out. A serializer
        names what its answers have only sometimes: ``Meta.sometimes``."""
        schema = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if not vars(type(serializer)).get("__doc__"):
            schema.pop("description", None)  # the base class's
        if direction == "response" and isinstance(serializer, serializers.ModelSerializer):
            sometimes = getattr(serializer.Meta, "sometimes", ())
            schema["required"] = sorted(set(schema["properties"]) - set(sometimes))
        return schema


class ShapedJSONExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "api.fields.ShapedJSON"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Any:
        shape = self.target.shape
        if isinstance(shape, serializers.ListSerializer):
            items = auto_schema.resolve_serializer(shape.child, direction).ref
            return {"type": "array", "items": items}
        return auto_schema.resolve_serializer(shape, direction).ref


def add_components(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """A postprocessing hook: what every operation refers to."""
    for kind, components in COMPONENTS.items():
        found = result["components"].setdefault(kind, {})
        result["components"][kind] = dict(sorted({**found, **components}.items()))
    return result


COMPONENTS: dict[str, dict[str, Any]] = {
    "schemas": {
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {"type": "string", "description": "What went wrong, in a sentence."},
                "details": {
                    "type": "object",
                    "additionalProperties": True,
                    "description": "The same, field by field: `train.max_steps`.",
                },
            },
            "example": {"error": "Not found."},
        }
    },
    "responses": {
        name: {
            "description": words,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        for name, words in ERRORS.values()
    },
    "securitySchemes": {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token from `POST /api/tokens`.",
        }
    },
}
