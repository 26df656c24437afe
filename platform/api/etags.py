"""``ETag``, ``If-None-Match`` and ``If-Match`` (RFC 9110) of one object.

The tag is a hash of what GET answers with, so it changes with everything that GET shows: a column
``updated_at`` would miss the rows that are shown with it and what an UPDATE writes past it. Some
fields change by themselves (what a project's jobs use at this moment): they have a part of the tag
to themselves, which counts for ``If-None-Match`` and not for ``If-Match``, or nobody could ever
change a project while it trains.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.utils.http import parse_etags
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, mixins, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from api.errors import BadRequest

ETAG = OpenApiParameter(
    "ETag",
    str,
    OpenApiParameter.HEADER,
    required=True,
    response=[status.HTTP_200_OK],
    description="Of this version of the object: for If-None-Match and If-Match.",
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="ETags that you have. 304 without a body if one of them is the object's now.",
)
IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="ETags of what you have read. 412 if the object has been changed since.",
)


class PreconditionFailed(exceptions.APIException):
    """412: somebody else has changed the object since the asker read it."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "precondition_failed"


class Tagged(mixins.RetrieveModelMixin):
    """GET of one object has an ``ETag``, and takes ``If-None-Match``."""

    # Fields that change without anybody changing the object.
    passing: tuple[str, ...] = ()

    @extend_schema(parameters=[IF_NONE_MATCH, ETAG])
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response = super().retrieve(request, *args, **kwargs)
        tag = tag_of(response.data, self.passing)
        known = [strong(one) for one in parse_etags(request.headers.get("If-None-Match", ""))]
        if tag in known or "*" in known:
            response = Response(status=status.HTTP_304_NOT_MODIFIED)
        response["ETag"] = tag
        # A browser may keep it, but has to ask whether it is still so.
        response["Cache-Control"] = "private, no-cache"
        return response


class IfMatch(Tagged, mixins.UpdateModelMixin, mixins.DestroyModelMixin):
    """PATCH and DELETE take ``If-Match``. Nobody changes the object between check and change: both
    are one transaction, which holds its row."""

    locks_row = False

    @extend_schema(parameters=[IF_MATCH, ETAG])
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with self.as_it_was_read():
            response = super().partial_update(request, *args, **kwargs)
        response["ETag"] = tag_of(response.data, self.passing)
        return response

    @extend_schema(parameters=[IF_MATCH])
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with self.as_it_was_read():
            return super().destroy(request, *args, **kwargs)

    def filter_queryset(self, queryset: Any) -> Any:
        rows = super().filter_queryset(queryset)  # type: ignore[misc]
        return rows.select_for_update(of=("self",)) if self.locks_row else rows

    @contextmanager
    def as_it_was_read(self) -> Iterator[None]:
        """Raises PreconditionFailed. Without the header there is nothing to check, or to lock."""
        sent = self.request.headers.get("If-Match")  # type: ignore[attr-defined]
        if sent is None:
            yield
            return
        with transaction.atomic():
            self.locks_row = True
            instance = self.get_object()  # type: ignore[attr-defined]
            shown = self.get_serializer(instance).data  # type: ignore[attr-defined]
            refuse_stale(sent, tag_of(shown, self.passing))
            yield


def tag_of(shown: Mapping[str, Any], passing: Collection[str] = ()) -> str:
    """Of what the API shows of an object. Keys in any order: PostgreSQL keeps none in JSON."""
    settled = {name: value for name, value in shown.items() if name not in passing}
    by_itself = {name: value for name, value in shown.items() if name in passing}
    return f'"{"-".join(_hash(part) for part in (settled, by_itself) if part)}"'


def _hash(fields: dict[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, cls=JSONEncoder)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def refuse_stale(sent: str, now: str) -> None:
    """Raises PreconditionFailed, and BadRequest for what is no list of ETags."""
    tags = parse_etags(sent)
    if not tags:
        raise BadRequest(f"If-Match: {sent[:80]!a} is no ETag. It stands in quotes, as in {now}.")
    if "*" not in tags and _settled(now) not in map(_settled, tags):
        raise PreconditionFailed(
            f"This has been changed since you read it: If-Match says {', '.join(tags)[:200]}, and "
            f"its ETag is {now} now. Read it again, and decide again."
        )


def _settled(tag: str) -> str:
    return strong(tag).strip('"').split("-")[0]


def strong(tag: str) -> str:
    """Ours are strong. A proxy that compresses makes them weak, and still means the same version
    (otherwise nobody behind nginx's gzip could use If-Match)."""
    return tag.removeprefix("W/")
