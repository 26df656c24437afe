"""Memory as a bar: what of the card each part takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIB_PER_GIB = 1024


@dataclass(frozen=True)
class Part:
    """``left`` and ``width`` in percent of the bar."""

    key: str
    label: str
    gib: float
    left: float
    width: float


@dataclass(frozen=True)
class Picture:
    """The bar is as long as the card's memory, or as what is needed where that is more."""

    parts: list[Part]
    needed_gib: float
    # None where nobody knows the card's memory.
    card_gib: float | None
    card_at: float | None
    reused_gib: float

    @property
    def is_too_large(self) -> bool:
        return self.card_gib is not None and self.needed_gib > self.card_gib

    @property
    def missing_gib(self) -> float:
        return self.needed_gib - (self.card_gib or 0)

    @property
    def free_gib(self) -> float | None:
        return None if self.card_gib is None else self.card_gib - self.needed_gib


_PARTS = (
    ("model_params_gb", "weights", "Weights"),
    ("gradients_gb", "gradients", "Gradients"),
    ("optimizer_gb", "optimizer", "Optimizer"),
    ("activations_gb", "activations", "Activations"),
    ("cuda_context_gb", "context", "Driver and libraries"),
    ("buffer_gb", "buffer", "Reserve"),
)


def of(report: Mapping[str, Any] | None) -> Picture | None:
    """Of a report as the API shows it; None where there is no estimate.

    The parts are not at their largest at the same moment; they are drawn smaller in proportion, so
    that the bar is as long as the peak.
    """
    if report is None or not report["vram_breakdown"]:
        return None
    sizes, needs_mb, headroom_mb = (
        report[name] for name in ("vram_breakdown", "estimated_vram_mb", "headroom_mb")
    )
    needed = needs_mb / MIB_PER_GIB
    card = None if headroom_mb is None else (needs_mb + headroom_mb) / MIB_PER_GIB
    whole = max(needed, card or 0) or 1
    drawn = {key: sizes[name] for name, key, _ in _PARTS}
    scale = _shrunk(drawn, needed)
    parts, left = [], 0.0
    for name, key, label in _PARTS:
        width = 100 * drawn[key] * scale / whole
        parts.append(Part(key, label, sizes[name], round(left, 3), round(width, 3)))
        left += width
    at = None if card is None else round(100 * card / whole, 3)
    return Picture(parts, needed, card, at, sizes["reused_gb"])


def _shrunk(drawn: dict[str, float], needed: float) -> float:
    total = sum(drawn.values())
    return needed / total if total else 1.0
