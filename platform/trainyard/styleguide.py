"""/styleguide: every component of static/trainyard.css in every state, light or dark.

Who needs a component looks here first; who adds one shows it here
(tests/trainyard/test_styleguide.py). A component with a template of its own is shown by it.
"""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from api.pages import wants_part
from trainyard import examples

TONES = ("", "busy", "waiting", "good", "bad", "main")
SCHEMES = ("light", "dark")
# The tokens that components take their colours from.
COLOURS = (
    *("ground", "surface", "sunken", "line", "line-strong", "ink", "quiet"),
    *("accent", "on-accent", "busy", "waiting", "good", "bad"),
)
PARTS = ("weights", "gradients", "optimizer", "activations", "context", "buffer")
CURVES = 20


@login_required
@require_safe
def styleguide(request: HttpRequest) -> HttpResponse:
    if wants_part(request):  # of a list that is only an example
        return HttpResponse(status=204)
    scheme = request.GET.get("scheme", SCHEMES[0])
    if scheme not in SCHEMES:
        raise BadRequest(f"scheme: '{scheme}' is none of {', '.join(SCHEMES)}.")
    context = {
        **examples.of_everything(),
        "scheme": scheme,
        "schemes": SCHEMES,
        "tones": TONES,
        "colours": COLOURS,
        "parts": PARTS,
        "series": range(CURVES),
        "page": Paginator(range(100), 10).get_page(request.GET.get("page", 2)),
    }
    return render(request, "styleguide.html", context)
