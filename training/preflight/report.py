"""What a preflight answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from training.preflight.fixes import Fix
from training.preflight.memory import MemoryEstimate


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How far estimates of this kind were from what was measured: median error in percent."""

    memory_percent: float
    time_percent: float
    basis: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "memory_percent": self.memory_percent,
            "time_percent": self.time_percent,
            "basis": self.basis,
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """Times in milliseconds or seconds as named, memory of one device in MiB.

    An incompatible experiment has errors and no estimate: zeros and empty objects. One that only
    lacks something here (memory, cards, disk, files) keeps its numbers: a person then needs them.
    """

    ok: bool
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    estimated_vram_mb: int = 0
    vram_breakdown: MemoryEstimate | None = None
    time_per_step_ms: float = 0
    throughput: dict[str, Any] = field(default_factory=dict)
    headroom_mb: int | None = None
    fits: bool | None = None
    bottleneck: str | None = None
    total_time_s: float | None = None
    total_time_range_s: tuple[float, float] | None = None
    disk_required_mb: int = 0
    confidence: Confidence | None = None
    fixes: tuple[Fix, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The body of ``POST /api/experiments/preflight``."""
        return {
            "ok": self.ok,
            "warnings": list(self.warnings),
            "errors": list(self.errors),
            "estimated_vram_mb": self.estimated_vram_mb,
            "vram_breakdown": self.vram_breakdown.as_dict() if self.vram_breakdown else {},
            "time_per_step_ms": _short(self.time_per_step_ms),
            "throughput": self.throughput,
            "headroom_mb": self.headroom_mb,
            "fits": self.fits,
            "bottleneck": self.bottleneck,
            "total_time_s": _short(self.total_time_s),
            "total_time_range_s": (
                [_short(end) for end in self.total_time_range_s]
                if self.total_time_range_s
                else None
            ),
            "disk_required_mb": self.disk_required_mb,
            "confidence": self.confidence.as_dict() if self.confidence else None,
            "fixes": [fix.as_dict() for fix in self.fixes],
        }


def _short(value: float | None) -> float | None:
    """Four decimals below one, one above: what a person reads is never 0 by rounding alone."""
    return None if value is None else round(value, 4 if value < 1 else 1)
