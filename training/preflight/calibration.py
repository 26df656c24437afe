"""The numbers of the speed model that no count gives, most of them fitted to published runs.

They are an argument of the estimate, so that a platform which has measured its own runs can bring
its own. ``python -m benchmarks.preflight_accuracy`` fits them anew, on all sources and with each
source left out in turn, and prints the errors of both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Shares are between 0 and 1.

    ``product_share``: what products of very wide layers reach of the best rate measured on the
    card. ``width_per_tflop``: a layer as wide as this times the card's TFLOP/s reaches half of
    that, as more units need larger products to be busy. ``traffic``: how often the counted bytes
    are moved. ``fused_share`` and ``compiled_share``: what is left of that traffic once
    hand-written kernels, or torch.compile, keep intermediate results inside the chip; the former is
    counted (a norm moves 8 bytes in place of 30, a rotation 4 in place of 20, the feed-forward as
    many as ever), not fitted.
    ``hidden_share``: what part of the computing time hides talk between cards. ``float8_gain``:
    what part of the faster float8 rate is left once casts and scales are paid (llm-foundry's rows
    with and without it). ``reserved_share``: of what comes and goes in a step beside the logits,
    what the allocator keeps besides, and ``reserved_share_of_all`` without checkpointing.
    ``step_time`` and ``peak_memory`` multiply the whole estimate: 1 until own runs say otherwise;
    so does ``time_doubt``, the factor by which a step time may then still be wrong.
    """

    product_share: float = 0.95
    width_per_tflop: float = 0.42
    traffic: float = 1.55
    fused_share: float = 0.5
    compiled_share: float = 0.67
    hidden_share: float = 0.8
    float8_gain: float = 0.35
    reserved_share: float = 0.1
    reserved_share_of_all: float = 0.3
    step_time: float = 1.0
    peak_memory: float = 1.0
    time_doubt: float | None = None


PUBLISHED = Calibration()
FITTED = (
    "product_share",
    "width_per_tflop",
    "traffic",
    "compiled_share",
    "hidden_share",
)
