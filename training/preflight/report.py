"""What a preflight answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from training.preflight.batches import Batches
from training.preflight.corrections import FORMULAS, Correction
from training.preflight.fixes import Fix
from training.preflight.memory import MemoryEstimate
from training.preflight.shortages import DOES_NOT_FIT


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How far estimates of this kind were from what was measured: median error in percent.

    ``correction`` is what own runs have taught, and is in the estimate already.
    ``knows_lengths``: without them a run that differs says nothing of the formulas.
    """

    memory_percent: float
    time_percent: float
    basis: str
    correction: Correction | None = None
    knows_lengths: bool = True

    def as_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "memory_percent": round(self.memory_percent, 1),
            "time_percent": round(self.time_percent, 1),
            "basis": self.basis,
        }
        if self.correction is not None:
            memory, time = self.correction.memory, self.correction.time
            told |= {
                **self.correction.kind._asdict(),
                "memory_runs": memory.runs,
                "time_runs": time.runs,
                "memory_factor": round(memory.value, 5),
                "time_factor": round(time.value, 5),
                "knows_lengths": self.knows_lengths,
                "formulas": FORMULAS,
            }
        return told


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
    time_breakdown_s: dict[str, float] = field(default_factory=dict)
    batches: Batches | None = None
    disk_required_mb: int = 0
    exports_bytes: int = 0
    host_memory_required_mb: int = 0
    download_mb: int = 0
    confidence: Confidence | None = None
    fixes: tuple[Fix, ...] = ()

    @property
    def only_too_large(self) -> bool:
        """Whether nothing but the memory of its device speaks against it, by this estimate."""
        return self.fits is False and all(DOES_NOT_FIT in sentence for sentence in self.errors)

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
            "time_breakdown_s": {k: _short(v) for k, v in self.time_breakdown_s.items()},
            "rows": self.batches.as_dict() if self.batches else {},
            "disk_required_mb": self.disk_required_mb,
            "host_memory_required_mb": self.host_memory_required_mb,
            "download_mb": self.download_mb,
            "confidence": self.confidence.as_dict() if self.confidence else None,
            "fixes": [fix.as_dict() for fix in self.fixes],
        }


def _short(value: float | None) -> float | None:
    """Four decimals below one, one above: what a person reads is never 0 by rounding alone."""
    return None if value is None else round(value, 4 if value < 1 else 1)
