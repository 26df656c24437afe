"""Numbers, times and states in the words of the pages. `static/js/times.js` says times alike."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import PurePath
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

DASH = "–"
_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


@register.filter
def duration(seconds: float | None) -> str:
    """The two largest units: 4325 is "1 h 12 min"."""
    if seconds is None:
        return DASH
    rest = round(seconds)
    if rest < 1:
        return "0 s"
    parts = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


@register.filter
def between(start: datetime | None, end: datetime | None) -> str:
    """How long from ``start`` to ``end``, or until now."""
    if start is None:
        return DASH
    return duration(((end or timezone.now()) - start).total_seconds())


@register.simple_tag
def moment(when: datetime | None) -> str | SafeString:
    """A <time> that says how long ago; a script keeps it fresh, the title has the exact time."""
    if when is None:
        return DASH
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        when.isoformat(timespec="seconds"),
        when.strftime("%Y-%m-%d %H:%M:%S %Z"),
        ago(when),
    )


def ago(when: datetime) -> str:
    """ "just now", "12 min ago", "3 h ago", and after a week the date."""
    seconds = (timezone.now() - when).total_seconds()
    if seconds < 45:
        return "just now"
    if seconds >= 7 * 86_400:
        return f"{when:%d %b %Y}".lstrip("0")
    unit, size = next((u, s) for u, s in _UNITS if seconds >= s * 0.75 or u == "s")
    return f"{max(round(seconds / size), 1)} {unit} ago"


@register.filter
def filesize(size_bytes: float | None) -> str:
    """Binary units, as the API's ``_mb`` and ``_gb`` are."""
    if not size_bytes:
        return DASH
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


@register.filter
def megabytes(size_mb: float | None) -> str:
    return filesize(size_mb * 2**20) if size_mb else DASH


@register.filter
def parameters(billions: float | None) -> str:
    """0.0041 is "4.1 M", 7.0 is "7 B"."""
    if not billions:
        return DASH
    for unit, size in (("B", 1.0), ("M", 1e-3), ("K", 1e-6)):
        if billions >= size or unit == "K":
            return f"{billions / size:.3g} {unit}"
    raise AssertionError("unreachable")


@register.filter
def number(value: Any) -> str:
    """Four significant digits, thousands apart: 2412.7 is "2,413", 0.00021 is "0.00021"."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if value and abs(value) < 1e-4:
        return f"{value:.3g}"
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:.4g}"


@register.filter
def percent(share: float | None) -> str:
    """0.0312 is "3.1 %"; what is not nothing is never shown as nothing."""
    if share is None:
        return DASH
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


@register.filter
def setting(value: Any) -> str:
    """A value of a configuration as it would be written in the API."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@register.filter
def words(name: str) -> str:
    """ "eval_token_accuracy" is "token accuracy"."""
    return str(name).removeprefix("eval_").replace("_", " ")


@register.filter
def tone(status: str) -> str:
    """The colour a state is shown in, of the five that the stylesheet has."""
    return _TONES.get(str(status).upper(), "quiet")


_TONES = {
    "RUNNING": "busy", "PAUSING": "busy", "INFO": "busy",
    "QUEUED": "waiting", "PAUSED": "waiting", "WARNING": "waiting",
    "COMPLETED": "good", "SUCCESS": "good", "ACTIVE": "good", "PRODUCTION": "good",
    "FAILED": "bad", "ERROR": "bad", "BROKEN": "bad",
}  # fmt: skip


@register.filter
def basename(path: str) -> str:
    return PurePath(path).name


@register.filter
def dirname(path: str) -> str:
    return str(PurePath(path).parent)
