"""/styleguide: every component of static/trainyard.css in every state, light and dark.

Who needs a component looks here first; who adds one shows it here.
"""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

TONES = ("", "busy", "waiting", "good", "bad", "main")
SCHEMES = ("light", "dark")
# The tokens that components take their colours from.
COLOURS = (
    *("ground", "surface", "sunken", "line", "line-strong", "ink", "quiet"),
    *("accent", "on-accent", "busy", "waiting", "good", "bad"),
)
PARTS = ("weights", "gradients", "optimizer", "activations", "context", "buffer")
CURVE = "0,20 60,60 120,95 180,120 240,138 300,150 360,160 420,171 480,180 540,186 600,190 720,196"


@login_required
@require_safe
def styleguide(request: HttpRequest) -> HttpResponse:
    context = {
        "schemes": SCHEMES,
        "tones": TONES,
        "colours": COLOURS,
        "parts": PARTS,
        "curve": CURVE,
        "page": Paginator(range(100), 10).get_page(request.GET.get("page", 2)),
    }
    return render(request, "styleguide.html", context)
