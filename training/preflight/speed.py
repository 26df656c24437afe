"""How long a step takes: a roofline over arithmetic and memory traffic, with a floor under both.

A device can be busy multiplying, busy moving bytes, or waiting for Python to launch the next
kernel. The first two add up, as the elementwise kernels of eager PyTorch do not overlap with the
products between them; launching runs beside both and counts where it takes about as long or longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.preflight.activations import is_compiled, numerics_of
from training.preflight.batches import (
    attended_tokens,
    counted_per_row,
    mean_row_tokens,
    padded_row_tokens,
)
from training.preflight.calibration import PUBLISHED, Calibration
from training.preflight.facts import Experiment
from training.preflight.hardware import Card
from training.preflight.memory import MemoryEstimate, quantized_bytes, weight_bytes
from training.preflight.shape import Shape
from training.preflight.traffic import (
    UNPACK_BYTES,
    layer_bytes_per_token,
    loss_traffic_per_token,
)

# FlashAttention-2 reaches 50 to 73 % of an A100's peak, and 35 % of an H100's, whose newer
# instructions it does not use (Dao 2023; Shah et al. 2024, abstract). Its backward pass multiplies
# two and a half times as much as its forward pass, as it works the scores out again.
ATTENTION_SHARE, ATTENTION_SHARE_HOPPER = 0.55, 0.35
FIRST_FLASH_SHARE = 0.6  # the first FlashAttention: 25 to 40 % of an A100's peak (Dao 2023)
HOPPER = 9.0
ATTENTION_BACKWARD = 2.5
# Host time to launch one layer's kernels once: Llama-3.2-1B, 16 layers, one short row, forward,
# backward and recomputation in 48.8 ms (ml-engineering, B200). Autocast, adapters and packed
# weights launch more (24 layers each: BERT-large in mixed precision on a V100 96 ms; Qwen-1.8B on
# an A100 125 ms with LoRA and autocast, 175 ms with LoRA on int4 without). A compiled layer is a
# quarter of that (12.6 of the 48.8 ms).
LAUNCH_S_PER_LAYER = 0.75e-3
AUTOCAST_LAUNCH_S = 0.25e-3
ADAPTERS_LAUNCH_S = 0.25e-3
UNPACKING_LAUNCH_S = 0.75e-3
COMPILED_LAUNCHES = 0.25
LINK_SHARE = 0.7  # what NCCL's collectives reach of the links' rate
# Machines of such cards have a network adapter for each: 1600 Gbit/s beside an A100's 300 GB/s, and
# 3200 beside an H100's 450. What a machine receives it hands on over its own links.
NETWORK_SHARE_OF_LINK = 2 / 3
CARDS_PER_MACHINE = 8
# What a collective takes however little it carries, most of it Python that nothing hides.
COLLECTIVE_S = 0.25e-3
# Kernels are short and long: where launching takes as long as the work, one does not hide all of
# the other, and a sum of fourth powers stands for that (Qwen's rows of 1024 and 2048 tokens).
OVERLAP_POWER = 4
CPU_LAUNCH_SHARE = 0.4  # no driver between Python and the kernel
# Of one weight by one thread: what bitsandbytes' kernels for the CPU took beyond torch's fused
# AdamW in our own runs of 5 and 60 million parameters: 32 to 43 ns on one machine, 17 to 23 on
# another (`benchmarks.preflight_on_cpu --optim adamw_8bit` beside the run without). In between.
EIGHT_BIT_UPDATE_S = 28e-9


@dataclass(frozen=True, kw_only=True)
class SpeedEstimate:
    """``tokens_per_second`` counts the rows' own tokens, not the padding beside them."""

    time_per_step_ms: float
    samples_per_second: float
    tokens_per_second: float
    bottleneck: str

    def throughput(self) -> dict[str, Any]:
        return {
            "samples_per_second": _three_digits(self.samples_per_second),
            "tokens_per_second": _three_digits(self.tokens_per_second),
        }


def estimate_speed(
    experiment: Experiment,
    shape: Shape,
    card: Card,
    memory: MemoryEstimate,
    calibration: Calibration = PUBLISHED,
) -> SpeedEstimate:
    """Step time on one device, and what goes through in a second."""
    row = mean_row_tokens(experiment)
    seconds, bottleneck = step_seconds(experiment, shape, card, memory, row, calibration)
    rows = experiment.train.global_batch_size
    return SpeedEstimate(
        time_per_step_ms=seconds * 1000,
        samples_per_second=rows / seconds,
        tokens_per_second=rows * counted_per_row(experiment) / seconds,
        bottleneck=bottleneck,
    )


def flops_per_token(experiment: Experiment, shape: Shape, length: float) -> float:
    """2 per weight forward, 2 for the gradient of the input, 2 for that of a trained weight
    (Kaplan et al. 2020, section 2.1), and one more forward pass of the layers where they are
    computed again; with attention."""
    return _product_flops(experiment, shape) + attention_flops(experiment, shape, length)


def _product_flops(experiment: Experiment, shape: Shape) -> float:
    passes = 3 if experiment.tuning == "full" else 2
    head = shape.vocab_size * shape.hidden_size if experiment.has_token_head else 0
    layers = shape.active_linear_params
    return 2.0 * (layers + head) * passes + 2.0 * layers * _again(experiment)


def attention_flops(experiment: Experiment, shape: Shape, length: float) -> float:
    """2 × layers × query size × length for causal attention in each pass."""
    return 2.0 * shape.num_layers * shape.query_size * length * (3 + _again(experiment))


def _again(experiment: Experiment) -> float:
    """How much of the layers' forward pass is computed a second time."""
    if experiment.stack.selective:
        return 0.5
    return 1.0 if experiment.train.gradient_checkpointing else 0.0


def step_seconds(
    experiment: Experiment,
    shape: Shape,
    card: Card,
    memory: MemoryEstimate,
    row_tokens: float,
    calibration: Calibration = PUBLISHED,
) -> tuple[float, str]:
    """Seconds of one optimizer step and what most of them are spent on."""
    length = padded_row_tokens(experiment, row_tokens)
    tokens = experiment.micro_batch_size * experiment.work_per_row * length
    tokens /= experiment.stack.context_ranks
    passes = 3 + _again(experiment)
    bandwidth = card.bandwidth_gb_s * 1e9
    numerics = numerics_of(experiment)

    peak = _tflops(experiment, card)
    rate = peak * 1e12 * card.achieved_share
    products = rate * calibration.product_share
    if not card.is_cpu:
        half_busy = calibration.width_per_tflop * peak
        products *= shape.hidden_size / (shape.hidden_size + half_busy)
    if experiment.stack.float8 and card.fp8_tflops and card.bf16_tflops:
        products *= 1 + calibration.float8_gain * (card.fp8_tflops / card.bf16_tflops - 1)
    multiplying = tokens * _product_flops(experiment, shape) / products
    attended = attended_tokens(experiment, length)
    multiplying += tokens * _attention_seconds(experiment, shape, card, attended)
    moved = (
        shape.num_layers * layer_bytes_per_token(experiment, shape, numerics, calibration) * passes
    )
    moved += calibration.traffic * loss_traffic_per_token(experiment, shape, numerics)
    weights = passes * weight_bytes(experiment, shape)
    if quantized_bytes(experiment) is not None:
        weights += passes * shape.linear_params * UNPACK_BYTES
    moving = (tokens * moved + weights) / bandwidth
    launching = _launch_seconds(experiment, shape, card) * passes

    # The optimizer reads weights, gradients and states, and writes all but the gradients.
    update = 2 * (memory.gradients_bytes * 2 + memory.optimizer_bytes) / bandwidth
    repeats = experiment.train.grad_accum * calibration.step_time
    if card.is_cpu and experiment.train.optim == "adamw_8bit":
        threads = max(experiment.resources.cpu_threads, 1)
        update += memory.trainable_params * EIGHT_BIT_UPDATE_S / threads
    update *= calibration.step_time
    if card.is_cpu:  # the thread that launches is the one that computes
        return repeats * (multiplying + moving + launching) + update, _slowest(
            multiplying, moving, launching
        )
    busy = beside(multiplying + moving, launching)
    talking = communication_seconds(experiment, shape, card, memory)
    exposed = max(
        talking - calibration.hidden_share * busy, (1 - calibration.hidden_share) * talking
    )
    exposed += COLLECTIVE_S * collectives(experiment, shape)
    if exposed > busy:
        return repeats * (busy + exposed) + update, "communication"
    return repeats * (busy + exposed) + update, (
        "kernel launches" if launching >= multiplying + moving else _slowest(multiplying, moving, 0)
    )


def _attention_seconds(experiment: Experiment, shape: Shape, card: Card, length: float) -> float:
    """Of one token."""
    is_newer = (card.compute_capability or 0) >= HOPPER
    share = ATTENTION_SHARE_HOPPER if is_newer else ATTENTION_SHARE
    passes = 3 + _again(experiment)
    flops = attention_flops(experiment, shape, length) / passes
    if experiment.stack.first_flash:
        share *= FIRST_FLASH_SHARE
    return flops * (passes - 2 + ATTENTION_BACKWARD) / (_tflops(experiment, card) * 1e12 * share)


def _launch_seconds(experiment: Experiment, shape: Shape, card: Card) -> float:
    """Of one pass through all layers."""
    layer = LAUNCH_S_PER_LAYER
    if numerics_of(experiment).autocast:
        layer += AUTOCAST_LAUNCH_S
    if experiment.tuning != "full":
        layer += ADAPTERS_LAUNCH_S
    if quantized_bytes(experiment) is not None:
        layer += UNPACKING_LAUNCH_S
    share = CPU_LAUNCH_SHARE if card.is_cpu else 1.0
    share *= COMPILED_LAUNCHES if is_compiled(experiment) else 1.0
    return layer * share * shape.num_layers


def communication_seconds(
    experiment: Experiment, shape: Shape, card: Card, memory: MemoryEstimate
) -> float:
    """Between the cards, for one micro batch. ZeRO-3 gathers all weights forward and backward, the
    others gather them once a step or, under DDP, never; gradients are summed, which passes each of
    them twice over a ring, or once where every card keeps only its share."""
    gpus, strategy = experiment.resources.gpus, experiment.resources.strategy
    if gpus < 2:
        return 0.0
    repeats = experiment.train.grad_accum
    gradients = memory.trained_bytes
    passed: float
    weights = weight_bytes(experiment, shape)
    if experiment.stack.fsdp_casts:
        weights //= 2
    if strategy in ("fsdp", "zero3"):
        passed = 2 * weights + gradients
    elif strategy in ("zero1", "zero2"):
        passed = weights / repeats + gradients / (repeats if strategy == "zero1" else 1)
    else:
        passed = 2 * gradients / repeats
    link = card.link_gb_s * LINK_SHARE
    if gpus > CARDS_PER_MACHINE:
        link *= NETWORK_SHARE_OF_LINK
    return passed * (gpus - 1) / gpus / (link * 1e9)


def beside(working: float, launching: float) -> float:
    """Seconds of two things of which the longer hides most of the shorter."""
    longer, shorter = max(working, launching), min(working, launching)
    if longer <= 0:
        return 0.0
    return float(longer * (1 + (shorter / longer) ** OVERLAP_POWER) ** (1 / OVERLAP_POWER))


def collectives(experiment: Experiment, shape: Shape) -> int:
    """Of one micro batch where weights are gathered: each layer's are twice, and its gradients
    summed. PEFT's policy for FSDP1 makes a unit of each of an adapter's matrices."""
    resources = experiment.resources
    if resources.gpus < 2 or resources.strategy not in ("fsdp", "zero3"):
        return 0
    units = 1
    if experiment.stack.fsdp1 and experiment.tuning != "full":
        units += 2 * len(shape.targets(experiment.lora.target_modules))
    return 3 * units * shape.num_layers


def _slowest(multiplying: float, moving: float, launching: float) -> str:
    seconds = {"compute": multiplying, "memory bandwidth": moving, "kernel launches": launching}
    return max(seconds, key=lambda name: seconds[name])


def _tflops(experiment: Experiment, card: Card) -> float:
    """Of products in the type that the run computes in."""
    mixed = {"bf16": "bfloat16", "fp16": "float16"}
    dtype = mixed.get(experiment.resources.mixed_precision, experiment.train.dtype)
    return card.tflops(dtype, tf32=experiment.train.tf32)


def checkpoint_bytes(experiment: Experiment, memory: MemoryEstimate) -> int:
    """What a checkpoint holds: the trained weights, the optimizer's states, some small files."""
    small_files = 8 * 1024**2
    return memory.trained_bytes + memory.all_states_bytes + small_files


def _three_digits(value: float) -> float:
    return round(value, 3) if value < 100 else round(value, 1)
