"""How `api.downloads` answers, in words of OpenAPI."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

RANGE = OpenApiParameter(
    "Range",
    str,
    OpenApiParameter.HEADER,
    description="`bytes=0-1023`: a part of the file, as in RFC 9110. With `If-Range` and the ETag "
    "only of the same version.",
)
BUSY = {503: OpenApiResponse(description="Too many downloads at once. `Retry-After` says when.")}
BINARY: Any = {(200, "application/octet-stream"): OpenApiTypes.BINARY, **BUSY}
RANGED: Any = {
    **BINARY,
    (206, "application/octet-stream"): OpenApiTypes.BINARY,
    304: OpenApiResponse(description="It is still what you have (`If-None-Match`)."),
    416: OpenApiResponse(description="The file has no such bytes."),
}
