"""What a forward pass leaves behind and what a backward pass adds, in bytes per token.

The counts are those of the modules of Transformers under flash or memory-efficient attention; the
tests compare them with what autograd and PyTorch's own profiler see.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.preflight.facts import Experiment
from training.preflight.shape import Linear, Shape

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
ADAPTER_SOURCES = ("attention_input", "attention_output", "mlp_input", "mlp_inner")

# Bytes for each logit at the height of the loss. In Transformers: log-probabilities, the gradient
# of the loss and that of the logits, float32 each; before version 4.45 the 16-bit logits beside
# them. A fused cross entropy (Liger, Unsloth) writes the gradient over float32 logits; its older
# form kept the 16-bit ones too. In eight chunks: the 16-bit logits, and of one chunk those in
# float32 and both gradients. The first four by differencing the micro batch sizes of published runs
# (docs/preflight.md).
# A fused linear cross entropy never holds all logits: it has its own share below.
LOSSES = {
    "transformers": 12.0,
    "transformers_4.44": 14.0,
    "fused": 8.0,
    "fused_4.44": 10.0,
    "chunked": 2 + (4 + 4 + 2) / 8,
    "fused_linear": 0.0,
}


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """Bytes of one value: in a weight, in what a layer computes, in the residual stream that
    runs past all layers. ``autocast`` says that weights are cast on the way."""

    weight: int
    compute: int
    stream: int
    autocast: bool


def numerics_of(experiment: Experiment) -> Numerics:
    """``dtype`` is that of the weights; mixed precision computes in 16 bits beside float32 ones.

    QLoRA: PEFT's prepare_model_for_kbit_training turns embeddings and norms to float32, and every
    4-bit matrix answers in the type it was asked in, so that all activations are float32. Where
    only the norms are float32, matrices still compute in 16 bits.
    """
    weight = DTYPE_BYTES.get(experiment.train.dtype, 4)
    autocast = experiment.resources.mixed_precision in ("bf16", "fp16")
    if experiment.tuning == "qlora" and experiment.stack.prepares_4bit == "all":
        return Numerics(weight=4, compute=2 if autocast else 4, stream=4, autocast=autocast)
    if experiment.tuning == "qlora" and experiment.stack.prepares_4bit == "norms":
        return Numerics(weight=weight, compute=weight, stream=4, autocast=autocast)
    if autocast and experiment.stack.fsdp_casts:
        return Numerics(weight=weight, compute=2, stream=2, autocast=False)
    return Numerics(
        weight=weight, compute=2 if autocast else weight, stream=weight, autocast=autocast
    )


def saved_bytes_per_token(experiment: Experiment, shape: Shape, numerics: Numerics) -> int:
    """What autograd keeps of one layer."""
    full = experiment.tuning == "full"
    compute, stream = numerics.compute, numerics.stream
    norms = shape.norms_per_layer * _norm_bytes(shape.hidden_size, 1, experiment, shape, stream)
    if shape.qk_norm:
        norms += _norm_bytes(shape.query_size, shape.num_heads, experiment, shape, compute)
        norms += _norm_bytes(shape.kv_size, shape.num_kv_heads, experiment, shape, compute)
    attention = compute * (2 * shape.query_size + 2 * shape.kv_size) + 4 * shape.num_heads
    attention += _eager_bytes(experiment, shape, compute)
    trained = shape.linears if full else shape.targets(experiment.lora.target_modules)
    inputs = sum(
        _saved_input(source, [one for one in trained if one.reads == source], experiment, numerics)
        for source in ADAPTER_SOURCES
    )
    down_projections = 0
    if not full:
        adapters = 2 if numerics.autocast else experiment.stack.adapter_bytes
        down_projections = len(trained) * experiment.lora.r * adapters
    dropped = 2 * shape.hidden_size if shape.hidden_dropout else 0  # where, a byte each
    return (
        norms
        + attention
        + dropped
        + _mlp_bytes(experiment, shape, compute)
        + inputs
        + down_projections
    )


def _mlp_bytes(experiment: Experiment, shape: Shape, compute: int) -> int:
    """Activation function: its input, and where it is a gate its output and what it gates. A
    compiler works out the gate's output again."""
    copies = 1 if not shape.gated else 2 if experiment.stack.compiled else 3
    return compute * shape.active_intermediate_size * copies


def _norm_bytes(width: int, rows: int, experiment: Experiment, shape: Shape, value: int) -> int:
    """LayerNorm keeps its input and two numbers a row; RMSNorm as Transformers writes it keeps
    the input in float32, one number a row and, to train its weight, the normalized input. A
    compiled one keeps its input as it came."""
    if not shape.rms_norm:
        return width * value + 8 * rows
    if experiment.stack.compiled:
        return width * value + 4 * rows
    return width * 4 + 4 * rows + (width * value if experiment.tuning == "full" else 0)


def _saved_input(
    source: str, readers: list[Linear], experiment: Experiment, numerics: Numerics
) -> int:
    """A trained matrix keeps its input. Readers of one tensor share it, unless each of them first
    casts it for itself; what attention returns is kept by attention already."""
    if not readers:
        return 0
    width = readers[0].active_inputs
    drops = experiment.tuning != "full" and experiment.lora.lora_dropout > 0
    if drops:  # each adapter drops out others, and keeps which
        kept = 2 if numerics.autocast else experiment.stack.adapter_bytes
        return width * (kept + 1) * len(readers)
    kept_anyway = source == "attention_output"
    if experiment.tuning == "full":
        casts_for_itself = numerics.stream > numerics.compute and source.endswith("_input")
        copies = len(readers) if casts_for_itself else 0 if kept_anyway else 1
        return width * numerics.compute * copies
    if numerics.autocast:
        return width * 2 * len(readers)
    adapters = experiment.stack.adapter_bytes
    if numerics.compute == adapters:
        return 0 if kept_anyway else width * adapters
    return width * adapters * len(readers)


def _eager_bytes(experiment: Experiment, shape: Shape, compute: int) -> int:
    """Eager attention also keeps, for each head and every earlier token, the float32 softmax and
    its copy for the next product, what dropout leaves of it and where, and keys and values repeated
    for every head."""
    if experiment.train.attn_implementation != "eager":
        return 0
    scores = shape.num_heads * experiment.longest_row_tokens
    copies = 4 if compute == 4 else 4 + compute
    copies += 1 + compute if shape.attention_dropout else 0
    return scores * copies + 2 * compute * (shape.query_size - shape.kv_size)


def working_bytes_per_token(experiment: Experiment, shape: Shape, numerics: Numerics) -> int:
    """What a layer's backward pass needs at its height beyond all that the layer keeps.

    Mostly that is at the activation function, where the gradients of its output and of what it
    multiplied are alive together, and that of the stream. What the matrix behind it kept is gone by
    then. The rotation's two tables are shared by all layers.
    """
    compute, inner = numerics.compute, shape.active_intermediate_size
    adapted = () if experiment.tuning == "full" else _adapted(experiment, shape)
    keeps_product = experiment.tuning == "full" or "mlp_inner" in adapted
    gradients = (3 if shape.gated else 2) * compute * inner
    product = compute if experiment.tuning == "full" else 2 if numerics.autocast else 4
    height = gradients + numerics.stream * shape.hidden_size
    height -= product * inner if keeps_product else 0
    tables = 2 * shape.head_dim * compute
    return tables + max(height, _recomputing_bytes(experiment, shape, numerics, adapted))


def _adapted(experiment: Experiment, shape: Shape) -> set[str]:
    return {one.reads for one in shape.targets(experiment.lora.target_modules)}


def _recomputing_bytes(
    experiment: Experiment, shape: Shape, numerics: Numerics, adapted: set[str] | tuple[str, ...]
) -> int:
    """The same while the layer is computed again, which is higher where adapters of another type
    than their layer sit at the feed-forward: each casts its input for itself or, without autocast,
    turns what its matrix returns to its own type to add to it. About five copies of the hidden
    states are on their way as well."""
    compute, own = numerics.compute, experiment.stack.adapter_bytes
    inner, hidden = shape.active_intermediate_size, shape.hidden_size
    if not experiment.train.gradient_checkpointing or compute == own:
        return 0
    height = 0
    if "mlp_inner" in adapted:  # its input, and that in the adapter's type
        height = (compute + own) * inner + 5 * compute * hidden
    if "mlp_input" in adapted and not numerics.autocast:
        not_yet = own * inner if "mlp_inner" in adapted else 0
        height = max(height, 3 * own * inner + 6 * compute * hidden - not_yet)
    return height


def loss_bytes_per_token(experiment: Experiment, shape: Shape, numerics: Numerics) -> int:
    """Head and cross entropy, as if every token carried loss (at most they all do). The few labels
    of a classifier do not count.

    Around the head: what the last norm keeps, and the head's own input where it is trained. A
    fused linear cross entropy works in chunks of as many tokens as make the logits about as large
    as the hidden states: those in 16 and 32 bits, and the gradient of the hidden states."""
    hidden, full = shape.hidden_size, experiment.tuning == "full"
    around = _norm_bytes(hidden, 1, experiment, shape, numerics.stream)
    around += hidden * numerics.compute if full or experiment.stack.trains_embeddings else 0
    around += 2 * shape.head_dim * numerics.compute
    if not experiment.has_token_head:
        return around
    if experiment.stack.loss == "fused_linear":
        return around + hidden * (2 + 4 + numerics.compute)
    return around + round(LOSSES[experiment.stack.loss] * shape.vocab_size)


def evaluation_bytes_per_token(experiment: Experiment, shape: Shape, numerics: Numerics) -> int:
    """Without gradients only the widest moment counts: the logits as they come, in float32, and
    their log-probabilities; or the activation function of one layer."""
    layer = 3 * numerics.compute * shape.active_intermediate_size
    layer += 2 * numerics.stream * shape.hidden_size
    if not experiment.has_token_head:
        return layer
    as_they_come = 0 if numerics.compute == 4 else numerics.compute
    return max(layer, (as_they_come + 4 + 4) * shape.vocab_size)


def autocast_copies(experiment: Experiment, shape: Shape, numerics: Numerics) -> int:
    """16-bit copies of float32 matrices: autocast caches those of trained weights, and autograd
    keeps those of frozen ones until checkpointing lets them go layer by layer."""
    if not numerics.autocast or numerics.weight == numerics.compute:
        return 0
    if experiment.tuning == "qlora":
        return 2 * shape.vocab_size * shape.hidden_size  # all else is in four bits
    if experiment.tuning != "full" and experiment.train.gradient_checkpointing:
        return 2 * shape.vocab_size * shape.hidden_size
    return 2 * shape.matmul_params
