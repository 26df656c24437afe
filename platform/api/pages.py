"""How a page of any app answers: whole, or for a script only the part of it that changes."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers


def wants_part(request: HttpRequest) -> bool:
    """Does htmx, or our own script in its name, ask for a part?"""
    return bool(request.htmx)  # type: ignore[attr-defined]


def render_page(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    *,
    part: str = "live",
    status: int = 200,
) -> HttpResponse:
    """``part`` names the template's partial. Both answers have one address: a browser that goes
    back must not take the part out of its cache for the page."""
    name = f"{template}#{part}" if wants_part(request) else template
    response = render(request, name, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response
