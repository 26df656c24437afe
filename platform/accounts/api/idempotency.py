"""POST with an ``Idempotency-Key``: draft-ietf-httpapi-idempotency-key-header, and what Stripe has
made common where the draft is silent (``Idempotent-Replayed``, 24 hours, 255 characters)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from django.http import HttpResponse, QueryDict
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, status
from rest_framework.request import Request

from accounts import idempotency
from accounts.models import IdempotencyKey
from api.errors import BadRequest

HEADER = "Idempotency-Key"
LONGEST = 255
# A string as structured headers write it (RFC 9651), or the bare word that most clients send.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')
_BARE = re.compile(r"[!#-+\--~]+")

PARAMETERS = [
    OpenApiParameter(
        HEADER,
        str,
        OpenApiParameter.HEADER,
        description=(
            "Your own name for this request, such as a UUID. Sent again within 24 hours with the "
            "same body, it creates nothing and gets the same answer, with `Idempotent-Replayed: "
            "true`. 409 while the first one is at work, 422 with another body. What was refused "
            "is not kept."
        ),
    ),
    OpenApiParameter(
        "Idempotent-Replayed",
        {"type": "string", "enum": ["true"]},
        OpenApiParameter.HEADER,
        response=[status.HTTP_201_CREATED],
        description="The answer to an earlier request with this Idempotency-Key.",
    ),
]


class RepeatableCreate(mixins.CreateModelMixin):
    """Takes an ``Idempotency-Key``. What creates the row calls ``also`` with it inside its
    transaction; files in the body have their ``sha256`` from the upload handler."""

    claimed: IdempotencyKey | None = None

    @extend_schema(parameters=PARAMETERS)
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        key = key_of(request)
        if key is None:
            return super().create(request, *args, **kwargs)
        self.claimed = idempotency.claim(
            request.user,
            key,
            request=f"{request.method} {request.path}",
            body_sha256=digest(request.data),
        )
        if self.claimed.status is not None:
            return repeat(self.claimed)
        try:
            return super().create(request, *args, **kwargs)
        except idempotency.AnsweredMeanwhile as error:
            return repeat(error.winner)
        except BaseException:
            idempotency.give_up(self.claimed)
            raise

    def perform_create(self, serializer: Any) -> None:
        serializer.save(also=self.keep_answer)

    def keep_answer(self, created: Any) -> None:
        """To be called as ``also``."""
        if self.claimed is not None:
            shown = self.get_serializer(created).data  # type: ignore[attr-defined]
            body = self.request.accepted_renderer.render(shown).decode()  # type: ignore[attr-defined]
            idempotency.keep(self.claimed, status.HTTP_201_CREATED, body)


def key_of(request: Request) -> str | None:
    """Raises BadRequest for one that cannot be."""
    sent = request.headers.get(HEADER)
    if sent is None:
        return None
    if quoted := _QUOTED.fullmatch(sent):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    else:
        key = sent if _BARE.fullmatch(sent) else ""
    if not 0 < len(key) <= LONGEST:
        raise BadRequest(
            f"{HEADER}: one key of at most {LONGEST} ASCII characters, such as a UUID; in quotes "
            f"if it has blanks or commas. This one has {len(sent)} characters: {sent[:80]!a}."
        )
    return key


def digest(body: Any) -> str:
    """SHA-256 of a body as it was understood: the order of its fields does not count. A file, which
    is on the disk by now and may be large, counts by the hash that was taken as it came."""
    fields = dict(body.lists()) if isinstance(body, QueryDict) else body
    text = json.dumps(fields, sort_keys=True, default=lambda file: [file.name, file.sha256])
    return hashlib.sha256(text.encode()).hexdigest()


def repeat(answered: IdempotencyKey) -> HttpResponse:
    return HttpResponse(
        answered.body,
        status=answered.status,
        content_type="application/json",
        headers={"Idempotent-Replayed": "true"},
    )
