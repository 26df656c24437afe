"""Memory of one device while it trains, in bytes, moment by moment.

Three things fill a device: what stays (weights, optimizer states), what a backward pass leaves
(gradients) and what a forward pass keeps for it (activations). They are not largest at the same
time, so the estimate looks at the moments that can be the peak and takes the highest. It predicts
``torch.cuda.max_memory_allocated``; context and buffer on top of that decide whether a job fits.

Tokens are those of one micro batch; sizes are per token and layer unless a name says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from training.preflight.activations import (
    Numerics,
    autocast_copies,
    four_bit_inputs,
    numerics_of,
    saved_bytes_per_token,
    working_bytes_per_token,
)
from training.preflight.batches import largest_micro_batch_tokens
from training.preflight.calibration import PUBLISHED, Calibration
from training.preflight.facts import Experiment
from training.preflight.hardware import GIB, MIB, Card
from training.preflight.losses import (
    bytes_per_logit,
    evaluation_bytes,
    left_over_per_logit,
    loss_bytes,
)
from training.preflight.optimizers import DEEPSPEED_BUCKETS, optimizer_bytes
from training.preflight.shape import Shape
from training.preflight.sharding import Shares, shares
from training.trainer.spec import EXACT_MATCH, HELD_OUT_SPLITS

# 4-bit NormalFloat in blocks of 64 weights, each block's scale in 8 bits, and a float32 for every
# 256 scales: double quantization (Dettmers et al. 2023, QLoRA, section 3).
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
SIMPLE_NF4_BYTES = 0.5 + 4 / 64  # those scales in float32
# GPTQ and AWQ in groups of 128: a 16-bit scale and a 4-bit zero each (AutoGPTQ's format).
GROUPED_4BIT_BYTES = 0.5 + 2.5 / 128
INT8_BYTES = 1.0
# Methods that compare with the model before training, and of how many pairs it is asked at a time:
# `training.trainer.objectives.reference`.
ASK_THE_REFERENCE = ("dpo", "kto")
PAIRS_ASKED = 8
EVALUATION_ROWS = 8  # at least, whatever the micro batch: `training.trainer.loop`


# The caching allocator's rounding and gaps between blocks.
BUFFER_SHARE = 0.08
BUFFER_MINIMUM = 256 * MIB


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A point in a step and what torch has allocated there."""

    name: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes on one device. The parts are each at their own largest; as they are not so at the
    same moment, ``reused_bytes`` is how far their sum exceeds the peak; ``left_over_bytes`` torch
    keeps without using them, where there is room. Only ``trained_bytes``, the weights that are
    trained, and ``all_states_bytes``, the optimizer's states, are those of all devices together."""

    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    trainable_params: int
    trained_bytes: int
    all_states_bytes: int
    moments: tuple[Moment, ...]
    context_bytes: int
    left_over_bytes: int

    @cached_property
    def peak(self) -> Moment:
        return max(self.moments, key=lambda moment: moment.bytes)

    @property
    def peak_allocated_bytes(self) -> int:
        return self.peak.bytes

    @property
    def reused_bytes(self) -> int:
        parts = self.weights_bytes + self.gradients_bytes
        parts += self.optimizer_bytes + self.activations_bytes
        return parts - self.peak_allocated_bytes

    @property
    def reserved_bytes(self) -> int:
        """What torch has taken from the card where there is room: `max_memory_reserved`."""
        return self.peak_allocated_bytes + self.left_over_bytes

    @property
    def buffer_bytes(self) -> int:
        return max(round(self.peak_allocated_bytes * BUFFER_SHARE), BUFFER_MINIMUM)

    @cached_property
    def total_mb(self) -> int:
        """Everything, in whole MiB, rounded up."""
        total = self.peak_allocated_bytes + self.context_bytes + self.buffer_bytes
        return math.ceil(total / MIB)

    def as_dict(self) -> dict[str, Any]:
        """In GiB; ``total_with_buffer_gb`` × 1024 is exactly ``total_mb``."""
        return {
            "model_params_gb": _gib(self.weights_bytes),
            "activations_gb": _gib(self.activations_bytes),
            "gradients_gb": _gib(self.gradients_bytes),
            "optimizer_gb": _gib(self.optimizer_bytes),
            "total_with_buffer_gb": self.total_mb / 1024,
            "peak_allocated_gb": _gib(self.peak_allocated_bytes),
            "cuda_context_gb": _gib(self.context_bytes),
            "buffer_gb": _gib(self.buffer_bytes),
            "reused_gb": _gib(self.reused_bytes),
            "peak_moment": self.peak.name,
        }


def _gib(size: int) -> float:
    return round(size / GIB, 4)


def estimate_memory(
    experiment: Experiment, shape: Shape, card: Card, calibration: Calibration = PUBLISHED
) -> MemoryEstimate:
    """What each part takes and when the sum is highest."""
    numerics = numerics_of(experiment)
    trained = trainable_params(experiment, shape)
    value = numerics.weight if experiment.tuning == "full" else experiment.stack.adapter_bytes
    weights = weight_bytes(experiment, shape)
    if experiment.tuning != "full":
        weights += trained * value
    held = shares(
        experiment,
        shape,
        weights=weights,
        outside=max(shape.total_params - shape.linear_params - shape.tower_params, 0)
        * numerics.weight,
        gradients=trained * value,
        gathered_bytes=_gathered_bytes(experiment, numerics),
    )
    all_states, temporary = optimizer_bytes(experiment, shape, card, trained, value)
    states, temporary = all_states // held.parts, temporary // held.parts
    if experiment.stack.steps_in_backward:
        held = _one_layer_at_a_time(held, shape)
        temporary = _of_the_largest(temporary, shape)
    if experiment.stack.keeps_gradients:
        kept = held.resting_gradients
        held = replace(held, waiting=kept, kept_gradients=kept)
    if experiment.stack.deepspeed:
        states += DEEPSPEED_BUCKETS

    passing = _passing(experiment, shape, numerics)
    stays = held.weights + states
    at_head = held.weights_at_head + states + held.waiting + passing.copies + passing.head
    in_layer = stays + held.waiting + passing.copies + passing.first_layer
    end = stays + held.gradients + passing.copies + passing.last_layer
    stepping = held.resting_weights + states + held.resting_gradients + temporary
    writing = held.resting_weights + states + held.kept_gradients
    writing += _put_together(experiment, shape, value)
    moments = [
        ("load", held.resting_weights),
        ("start of the backward pass", max(at_head, in_layer)),
        ("end of the backward pass", end),
        ("optimizer step", stepping),
        ("checkpoint", writing),
    ]
    evaluating = 0
    if set(HELD_OUT_SPLITS) & set(experiment.dataset.splits):
        evaluating = _evaluation(experiment, shape, numerics)
        resting = stays + held.kept_gradients + passing.copies
        evaluating += _answers(experiment, shape, numerics)
        moments.append(("evaluation", resting + evaluating))
    asking = 0
    if experiment.recipe.method in ASK_THE_REFERENCE:
        asking = evaluation_bytes(experiment, shape, numerics, _asked_tokens(experiment))
        moments.append(("reference", held.weights + passing.copies + asking))
    return MemoryEstimate(
        weights_bytes=held.weights,
        gradients_bytes=held.gradients,
        optimizer_bytes=states + temporary,
        activations_bytes=passing.copies
        + max(passing.head, passing.first_layer, passing.last_layer, evaluating, asking),
        trainable_params=trained,
        trained_bytes=trained * value,
        all_states_bytes=all_states,
        moments=tuple(
            Moment(name=name, bytes=round(size * calibration.peak_memory)) for name, size in moments
        ),
        context_bytes=card.context_bytes,
        left_over_bytes=_left_over(experiment, shape, numerics, passing, calibration),
    )


def tokens_at_once(experiment: Experiment) -> int:
    """Of one micro batch on one device."""
    return -(-largest_micro_batch_tokens(experiment) // experiment.stack.context_ranks)


@dataclass(frozen=True, kw_only=True)
class _Passing:
    """Bytes that come and go within a step: 16-bit ``copies`` of weights, and the activations
    while the loss, the last layer and the first layer are at work in the backward pass."""

    copies: int
    head: int
    first_layer: int
    last_layer: int


def _passing(experiment: Experiment, shape: Shape, numerics: Numerics) -> _Passing:
    """With checkpointing one copy of the stream per layer stays, and one layer at a time is
    computed again (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost); else all of
    it stays, from which each layer's backward pass takes its own."""
    tokens = tokens_at_once(experiment)
    saved = saved_bytes_per_token(experiment, shape, numerics)
    working = working_bytes_per_token(experiment, shape, numerics)
    stream = shape.hidden_size * numerics.stream
    if experiment.stack.selective:
        products = sum(one.outputs * one.active for one in shape.linears[::2])
        kept = shape.num_layers * (stream + numerics.compute * (shape.query_size + products))
        in_layer, at_the_end = saved + working, saved + working + stream
    elif experiment.stack.offloads_activations:
        kept, in_layer = 0, saved + working
        at_the_end = in_layer
    elif experiment.train.gradient_checkpointing:
        kept = stream * shape.num_layers
        in_layer = saved + working
        # FSDP1 watches the inputs of frozen layers for their gradients, and so keeps both alive.
        frozen = experiment.stack.fsdp1 and experiment.tuning != "full"
        watched = kept + stream * max(shape.num_layers - 2, 0)
        at_the_end = in_layer + (watched if frozen and experiment.resources.gpus > 1 else stream)
    else:
        kept = saved * shape.num_layers
        in_layer, at_the_end = working, saved + working
    at_head = tokens * kept + loss_bytes(experiment, shape, numerics, tokens)
    if experiment.stack.keeps_4bit_inputs and _packed_and_not_checkpointed(experiment):
        at_head = max(at_head, tokens * kept + _kept_inputs(experiment, shape, numerics))
    return _Passing(
        copies=autocast_copies(experiment, shape, numerics),
        head=at_head,
        first_layer=tokens * (kept + in_layer),
        last_layer=tokens * at_the_end,
    )


def _left_over(
    experiment: Experiment,
    shape: Shape,
    numerics: Numerics,
    passing: _Passing,
    calibration: Calibration,
) -> int:
    """Where there is room, the allocator keeps what it once had and cannot use again, as the next
    tensor has another size. Over the single-card LoRA and QLoRA runs of fms-acceleration
    (nvidia-smi less context less torch's own peak) that is a tenth of what comes and goes beside
    the logits, and 5.5 bytes for each logit: those and their copies moved by one differ by a row.
    It gives all of that back before it runs out of memory. Without checkpointing three tenths (the
    runs of hf-docs)."""
    moving = max(passing.head, passing.first_layer, passing.last_layer)
    if not experiment.train.gradient_checkpointing and not experiment.stack.selective:
        return round(calibration.reserved_share_of_all * moving)
    logits = tokens_at_once(experiment) * shape.vocab_size if experiment.has_token_head else 0
    at_the_peak = bytes_per_logit(experiment, numerics) * logits
    left_over = logits * left_over_per_logit(experiment, numerics)
    return round(calibration.reserved_share * max(moving - at_the_peak, 0) + left_over)


def _packed_and_not_checkpointed(experiment: Experiment) -> bool:
    return experiment.tuning == "qlora" and not experiment.train.gradient_checkpointing


def _kept_inputs(experiment: Experiment, shape: Shape, numerics: Numerics) -> int:
    """Where 4-bit matrices hold their inputs outside autograd, those go when the graph does: after
    the next forward pass, with its own inputs, the logits of both and the unpacked head."""
    now = four_bit_inputs(shape, numerics, alone=False)
    before = four_bit_inputs(shape, numerics, alone=True)
    logits = (4 + 4) * shape.vocab_size
    unpacked = (2 + 2) * shape.vocab_size * shape.hidden_size
    inputs = shape.num_layers * (now + before)
    return tokens_at_once(experiment) * (inputs + logits) + unpacked


def _evaluation(experiment: Experiment, shape: Shape, numerics: Numerics) -> int:
    rows = max(experiment.micro_batch_size, EVALUATION_ROWS)
    tokens = rows * experiment.sequences_per_row * experiment.longest_row_tokens
    return evaluation_bytes(experiment, shape, numerics, tokens)


def _answers(experiment: Experiment, shape: Shape, numerics: Numerics) -> int:
    """Keys and values of all tokens of the rows that are answered at a time."""
    if EXACT_MATCH not in experiment.eval_suites or not experiment.has_token_head:
        return 0
    rows = max(experiment.micro_batch_size, EVALUATION_ROWS)
    kept = 2 * numerics.compute * shape.num_layers * shape.kv_size
    return rows * experiment.longest_row_tokens * kept


def _asked_tokens(experiment: Experiment) -> int:
    """Of what the model before training is asked about at a time, whatever the micro batch."""
    return 2 * PAIRS_ASKED * experiment.longest_row_tokens


def _put_together(experiment: Experiment, shape: Shape, value: int) -> int:
    """What a checkpoint puts together on the device: nothing where one holds all, and nothing of a
    whole model, of which each writes its share; of a sharded adapter one matrix at a time."""
    resources = experiment.resources
    sharded = resources.gpus > 1 and resources.strategy != "ddp"
    if experiment.tuning == "full" or not sharded:
        return 0
    targets = shape.targets(experiment.lora.target_modules)
    return value * experiment.lora.r * max((max(t.inputs, t.outputs) for t in targets), default=0)


def _one_layer_at_a_time(held: Shares, shape: Shape) -> Shares:
    """Each gradient is used up as soon as it is there: those of one layer, or of the embeddings."""
    gradients = _of_the_largest(held.gradients, shape)
    return replace(held, waiting=0, gradients=gradients, resting_gradients=gradients)


def _of_the_largest(size: int, shape: Shape) -> int:
    """The share that one layer has of it, or the embeddings."""
    total = max(shape.total_params, 1)
    return size * min(max(shape.layer_params, shape.embedding_params), total) // total


def _gathered_bytes(experiment: Experiment, numerics: Numerics) -> float:
    return numerics.compute / numerics.weight if experiment.stack.fsdp_casts else 1.0


def trainable_params(experiment: Experiment, shape: Shape) -> int:
    """All that text passes, or those of the adapters."""
    if experiment.tuning == "full":
        return shape.total_params - shape.tower_params
    added = shape.lora_params(experiment.lora.r, experiment.lora.target_modules)
    if experiment.lora.use_dora:  # a magnitude for every output (Liu et al. 2024, equation 5)
        adapted = shape.adapted(experiment.lora.target_modules)
        added += sum(layers * sum(one.outputs for one in targets) for layers, targets in adapted)
    if experiment.stack.trains_embeddings:  # PEFT's modules_to_save: copies beside the originals
        added += shape.embedding_params + shape.head_params
    return added


def weight_bytes(experiment: Experiment, shape: Shape) -> int:
    """The base model as it is loaded. Quantization touches the layers' matrices alone:
    embeddings, norms and head stay as they are (bitsandbytes, GPTQ, AWQ). Files that are quantized
    hold experts so, too."""
    numerics = numerics_of(experiment)
    per_weight = quantized_bytes(experiment)
    if per_weight is None:
        return shape.total_params * numerics.weight
    packed = shape.linear_params if experiment.model.quantized else shape.packed_params
    packed += shape.vocab_size * shape.hidden_size if experiment.stack.quantizes_head else 0
    outside = max(shape.total_params - packed, 0)
    return round(packed * per_weight) + outside * numerics.weight


def quantized_bytes(experiment: Experiment) -> float | None:
    """Bytes per weight of a quantized matrix with its scales, None where nothing is quantized."""
    model = experiment.model
    if model.quantized:
        label = f"{model.quantization or ''} {model.dtype}".lower()
        if "8" in label and "4" not in label:
            return INT8_BYTES
        return NF4_BYTES if "nf4" in label or "bitsandbytes" in label else GROUPED_4BIT_BYTES
    if experiment.tuning != "qlora":
        return None
    return NF4_BYTES if experiment.stack.double_quantization else SIMPLE_NF4_BYTES
