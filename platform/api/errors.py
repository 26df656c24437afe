"""One shape for every error: ``{"error": "a sentence", "details": {"field": "a sentence"}}``."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, ProtectedError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

NAMED = 3  # of what still uses a row


class Conflict(exceptions.APIException):
    """409: the object's state does not allow this now."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class BadRequest(exceptions.APIException):
    """400 with a sentence, and further facts beside it (``details``)."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "bad_request"

    def __init__(self, error: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(error)
        self.details = details


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: its own errors and Django's, in our envelope."""
    if isinstance(error, ValidationError):
        error = exceptions.ValidationError(
            error.message_dict if hasattr(error, "error_dict") else error.messages
        )
    if isinstance(error, ProtectedError):
        error = Conflict(in_use(error, context["request"].user))
    response = exception_handler(error, context)
    if response is None:
        return None
    set_rollback()
    if isinstance(error, exceptions.ValidationError):
        details = flatten(error.detail)
        response.data = {"error": sentence(details), "details": details}
    else:
        response.data = {"error": _message(error)}
        if isinstance(error, BadRequest) and error.details is not None:
            response.data["details"] = error.details
    return response


def flatten(detail: Any, prefix: str = "") -> dict[str, str]:
    """Nested serializer errors as one level: ``{"train.max_steps": "…"}``."""
    if isinstance(detail, dict):
        flat: dict[str, str] = {}
        for key, value in detail.items():
            if key == "non_field_errors":
                name = prefix
            else:  # a list's errors come by index
                name = f"{prefix}[{key}]" if isinstance(key, int) else f"{prefix}.{key}".strip(".")
            flat.update(flatten(value, name))
        return flat
    if isinstance(detail, list):
        if any(isinstance(item, dict) for item in detail):
            flat = {}
            for index, item in enumerate(detail):
                flat.update(flatten(item, f"{prefix}[{index}]") if item else {})
            return flat
        return {prefix: " ".join(str(item) for item in detail)}
    return {prefix: str(detail)}


def sentence(details: dict[str, str]) -> str:
    """All details in one line: "train.max_steps: A valid integer is required."."""
    return " ".join(f"{field}: {text}" if field else text for field, text in details.items())


def _message(error: Exception) -> str:
    if isinstance(error, Http404 | exceptions.NotFound):
        return "Not found."
    if isinstance(error, PermissionDenied):
        return "You may see this, but not change it."
    return str(getattr(error, "detail", error))


def in_use(error: ProtectedError, user: Any) -> str:
    """What still names the row that was to be deleted, in a sentence. Of what this user may not see
    it says only how many there are."""
    rows = error.protected_objects
    seen: set[tuple[type[Model], Any]] = set()
    for kind in {type(row) for row in rows}:
        ids = [row.pk for row in rows if type(row) is kind]
        visible = kind._default_manager.filter(pk__in=ids)
        if hasattr(visible, "visible_to"):
            visible = visible.visible_to(user)
        seen |= {(kind, pk) for pk in visible.values_list("pk", flat=True)}
    names = sorted(
        f"{row._meta.verbose_name} '{row}'" for row in rows if (type(row), row.pk) in seen
    )[:NAMED]
    if more := len(rows) - len(names):
        names.append(f"{more} more" if names else f"{more} that you may not see")
    return f"Still in use by {' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}."


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 400 handler (a host it does not answer for, a body too large, ...)."""
    if request.path.startswith("/api/"):
        reason = str(exception).split(". ")[0].rstrip(".")
        return JsonResponse({"error": f"Bad request: {reason}."}, status=400)
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404 handler: JSON below /api/, a page elsewhere."""
    if request.path.startswith("/api/"):
        return JsonResponse({"error": "Not found."}, status=404)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's 500 handler: JSON below /api/, a page elsewhere. The traceback is in the log."""
    if request.path.startswith("/api/"):
        return JsonResponse({"error": "Server error. The server's log has the cause."}, status=500)
    return defaults.server_error(request)
