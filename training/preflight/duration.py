"""How long a whole run takes: its steps, and everything around them.

Rates of disks and of tokenizers are assumptions, named here; a run seldom spends much on them, but
a short one may spend most of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from training.preflight import exports
from training.preflight.batches import mean_row_tokens
from training.preflight.calibration import PUBLISHED, Calibration
from training.preflight.facts import Experiment
from training.preflight.hardware import Card
from training.preflight.lengths import Lengths
from training.preflight.memory import (
    ASK_THE_REFERENCE,
    EVALUATION_ROWS,
    MemoryEstimate,
    weight_bytes,
)
from training.preflight.shape import Shape
from training.preflight.speed import (
    LAUNCH_S_PER_LAYER,
    SpeedEstimate,
    checkpoint_bytes,
    step_seconds,
)
from training.trainer.spec import EXACT_MATCH, EvalSpec

# Interpreter, imports, CUDA context; a worker keeps a trainer ready that has done most of it.
START_S, START_ON_A_CARD_S = 4.0, 12.0
DISK_BYTES_PER_S = 0.8e9  # an SSD on SATA or a network, with the wait until it is written
TOKENS_PER_S = 3e5  # that one process makes of text
# A forward pass beside the step it is part of: one of three passes, of fewer where frozen weights
# need no gradient.
FORWARD_SHARE = {"full": 1 / 3, "lora": 0.4, "qlora": 0.4}
ANSWER_SHARE = 0.5  # of a row, where nobody has counted prompts and answers apart
GRAPH_S = 30.0  # to trace and write an ONNX graph, beside its weights
# By how much lengths may be off, by how they came about.
LENGTH_DOUBT = {"counted": 1.0, "sampled": 1.05, "guessed": 1.4}


@dataclass(frozen=True, kw_only=True)
class Duration:
    """Seconds of each part of a run. ``reference_s`` is what dpo and kto ask the base model before
    the first step."""

    start_s: float
    data_s: float
    load_s: float
    reference_s: float
    training_s: float
    evaluation_s: float
    checkpoints_s: float
    export_s: float
    range_s: tuple[float, float]

    @property
    def total_s(self) -> float:
        return sum(self.parts().values())

    def parts(self) -> dict[str, float]:
        return {k.removesuffix("_s"): v for k, v in asdict(self).items() if k != "range_s"}


def duration_of(
    e: Experiment,
    shape: Shape,
    card: Card,
    memory: MemoryEstimate,
    speed: SpeedEstimate,
    calibration: Calibration = PUBLISHED,
) -> Duration | None:
    """None where the number of steps is not known."""
    steps = e.steps
    if steps is None:
        return None
    needs = _Needs(e, shape, card, memory, calibration)
    seconds = speed.time_per_step_ms / 1000
    parts = {
        "start_s": START_S if card.is_cpu else START_ON_A_CARD_S,
        "data_s": _tokens(e) / TOKENS_PER_S,
        "load_s": weight_bytes(e, shape) / DISK_BYTES_PER_S,
        "reference_s": needs.reference(steps),
        "evaluation_s": needs.evaluations(steps) + needs.exact_match(),
        "checkpoints_s": saves(e, steps) * checkpoint_bytes(e, memory) / DISK_BYTES_PER_S,
        "export_s": needs.exports(),
    }
    around = sum(parts.values())
    fastest, slowest = needs.bounds(seconds)
    return Duration(
        training_s=steps * seconds,
        range_s=(steps * fastest + around / 2, steps * slowest + around * 2),
        **parts,
    )


def saves(e: Experiment, steps: int) -> int:
    """At every interval and at the end; where the best is wanted, an evaluation may save too."""
    return -(-steps // max(e.train.checkpoint_interval, 1))


def evaluations(e: Experiment, steps: int) -> int:
    """Before the first step, after the last, and at every interval between."""
    between = (steps - 1) // e.eval_interval if e.eval_interval and e.eval_interval > 0 else 0
    return 2 + between


def _tokens(e: Experiment) -> float:
    """Of all rows that are read, before anything is cut."""
    if not e.has_token_head and e.recipe.method == "image_classification":
        return 0.0
    if e.dataset.lengths is not None:
        return float(e.dataset.lengths.tokens)
    rows = max(min(e.dataset.num_samples or 0, 10**12), 0)
    return rows * min(max(e.dataset.mean_tokens or 0.0, 0.0), 1e9)


@dataclass(frozen=True)
class _Needs:
    e: Experiment
    shape: Shape
    card: Card
    memory: MemoryEstimate
    calibration: Calibration

    def bounds(self, seconds: float) -> tuple[float, float]:
        """The fastest and the slowest step that would be no surprise."""
        e, doubt = self.e, self.calibration.time_doubt or time_doubt(self.card)
        lengths, faster, slower = e.dataset.lengths, seconds, seconds
        if lengths is not None and not e.rows_are_alike:
            doubt *= LENGTH_DOUBT[lengths.basis]
        elif e.dataset.mean_tokens is None and not e.rows_are_alike:
            longest = float(e.longest_row_tokens)
            slower, faster = (self._step(row) for row in (longest, max(longest / 5, 1.0)))
        return faster / doubt, slower * doubt

    def _step(self, row_tokens: float) -> float:
        found = step_seconds(
            self.e, self.shape, self.card, self.memory, row_tokens, self.calibration
        )
        return found[0]

    def evaluations(self, steps: int) -> float:
        """The loss of all held-out rows, each time."""
        rows = self.e.dataset.held_out_rows
        if not rows or not 0 < rows <= 10**12:
            return 0.0
        once = self._looking(rows, self.e.dataset.held_out or self.e.dataset.lengths)
        return evaluations(self.e, steps) * once

    def reference(self, steps: int) -> float:
        """All rows that the run will look at, once, without the adapter."""
        if self.e.recipe.method not in ASK_THE_REFERENCE:
            return 0.0
        rows = min(steps * self.e.train.global_batch_size, self.e.rows_an_epoch or 0, 10**12)
        return self._looking(rows, self.e.dataset.lengths) if rows > 0 else 0.0

    def _looking(self, rows: int, lengths: Lengths | None) -> float:
        """One forward pass over so many rows, sorted by length; the devices take turns."""
        e = self.e
        at_once = max(e.micro_batch_size, EVALUATION_ROWS)
        alone = replace(
            e,
            dataset=replace(e.dataset, lengths=lengths, num_samples=rows),
            train=replace(
                e.train,
                global_batch_size=at_once,
                grad_accum=1,
                gradient_checkpointing=False,
                packing=False,
                group_by_length=True,
            ),
            resources=replace(e.resources, gpus=min(e.resources.gpus, 1), strategy="ddp"),
        )
        idle = replace(self.memory, gradients_bytes=0, optimizer_bytes=0, trained_bytes=0)
        row = mean_row_tokens(alone)
        batch, _ = step_seconds(alone, self.shape, self.card, idle, row, self.calibration)
        turns = -(-rows // at_once) / max(e.resources.gpus, 1)
        return turns * batch * FORWARD_SHARE[e.tuning]

    def exact_match(self) -> float:
        """Answers of up to 200 rows, token by token, before and after: each token reads all the
        weights once, or waits for the launches of all layers."""
        e = self.e
        if EXACT_MATCH not in e.eval_suites or not e.has_token_head:
            return 0.0
        rows = min(EvalSpec.exact_match_rows, max(e.dataset.held_out_rows or 0, 0))
        reading = weight_bytes(e, self.shape) / (self.card.bandwidth_gb_s * 1e9)
        token = max(reading, LAUNCH_S_PER_LAYER * self.shape.num_layers)
        turns = -(-rows // max(e.micro_batch_size, EVALUATION_ROWS))
        return 2 * turns * token * mean_row_tokens(e) * ANSWER_SHARE

    def exports(self) -> float:
        """Each is written, and read again to be compared; all but the first begin with the weights
        of the base model."""
        sizes = exports.sizes_bytes(self.e, self.shape, self.memory)
        base = weight_bytes(self.e, self.shape)
        moved = sum(
            2 * size + (0 if kind == "safetensors" or not size else base)
            for kind, size in sizes.items()
        )
        return moved / DISK_BYTES_PER_S + (GRAPH_S if sizes.get("onnx") else 0.0)


def time_doubt(card: Card) -> float:
    """The factor by which a step time may be wrong."""
    return 3.0 if card.is_guessed else 1.5
