"""What a forward pass leaves behind and what a backward pass adds, in bytes per token.

The counts are those of the modules of Transformers under flash or memory-efficient attention; the
tests compare them with what autograd and PyTorch's own profiler see.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.preflight.facts import Experiment, ModelFacts
from training.preflight.shape import Linear, Shape

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
ADAPTER_SOURCES = ("attention_input", "attention_output", "mlp_input", "mlp_inner")


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
    only the norms are float32, matrices still compute in 16 bits. The same is done to models that
    were quantized before, by bitsandbytes or AWQ; those of GPTQ it leaves as they are.
    """
    weight = DTYPE_BYTES.get(experiment.train.dtype, 4)
    autocast = experiment.resources.mixed_precision in ("bf16", "fp16")
    turned = experiment.tuning == "qlora" or _is_turned_to_float32(experiment.model)
    if turned and experiment.stack.prepares_4bit == "all":
        return Numerics(weight=4, compute=2 if autocast else 4, stream=4, autocast=autocast)
    if experiment.tuning == "qlora" and experiment.stack.prepares_4bit == "norms":
        return Numerics(weight=weight, compute=weight, stream=4, autocast=autocast)
    if autocast and experiment.stack.fsdp_casts:
        return Numerics(weight=weight, compute=2, stream=2, autocast=False)
    return Numerics(
        weight=weight, compute=2 if autocast else weight, stream=weight, autocast=autocast
    )


def _is_turned_to_float32(model: ModelFacts) -> bool:
    label = f"{model.quantization or ''} {model.dtype}".lower()
    return model.quantized and any(one in label for one in ("bitsandbytes", "nf4", "awq"))


def is_compiled(experiment: Experiment) -> bool:
    return experiment.stack.compiled or experiment.train.torch_compile


def _is_lean(experiment: Experiment) -> bool:
    """Whether norms and activations keep what they need and no more: compiled, or Liger's."""
    return is_compiled(experiment) or experiment.train.use_liger_kernel


def saved_bytes_per_token(experiment: Experiment, shape: Shape, numerics: Numerics) -> int:
    """What autograd keeps of one layer."""
    full = experiment.tuning == "full"
    compute, stream = numerics.compute, numerics.stream
    norms = shape.norms_per_layer * norm_bytes(shape.hidden_size, 1, experiment, shape, stream)
    if shape.qk_norm:
        norms += norm_bytes(shape.query_size, shape.num_heads, experiment, shape, compute)
        norms += norm_bytes(shape.kv_size, shape.num_kv_heads, experiment, shape, compute)
    attention = compute * _attention_width(experiment, shape) + 4 * shape.num_heads
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


def _attention_width(experiment: Experiment, shape: Shape) -> int:
    """Queries, keys, values and what attention returns. Where one matrix makes the first three,
    keys and values are repeated for each head, or else values are a view that keeps all of what the
    matrix returned."""
    if not experiment.stack.joins_heads:
        return 2 * shape.query_size + 2 * shape.kv_size
    return (4 if shape.kv_size < shape.query_size else 6) * shape.query_size


def _mlp_bytes(experiment: Experiment, shape: Shape, compute: int) -> int:
    """Activation function: its input, and where it is a gate its output and what it gates. A
    compiler works out the gate's output again, as does Liger."""
    copies = 1 if not shape.gated else 2 if _is_lean(experiment) else 3
    return compute * shape.active_intermediate_size * copies


def norm_bytes(width: int, rows: int, experiment: Experiment, shape: Shape, value: int) -> int:
    """LayerNorm keeps its input and two numbers a row; RMSNorm as Transformers writes it keeps
    the input in float32, one number a row and, to train its weight, the normalized input. One that
    is compiled, or Liger's, keeps its input as it came."""
    if not shape.rms_norm:
        return width * value + 8 * rows
    if _is_lean(experiment):
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
        joined = experiment.stack.joins_heads and source == "attention_input"
        return width * (kept + 1) * (1 if joined else len(readers))
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
    copies = 4 if compute == 4 else 4 + compute
    copies += 1 + compute if shape.attention_dropout else 0
    repeated = 2 * compute * (shape.query_size - shape.kv_size)
    return _scores(experiment, shape) * copies + repeated


def _scores(experiment: Experiment, shape: Shape) -> int:
    """Of one token, where they are written down: one for each head and token of its row."""
    eager = experiment.train.attn_implementation == "eager"
    return shape.num_heads * experiment.longest_row_tokens if eager else 0


def eager_evaluation_bytes(experiment: Experiment, shape: Shape, compute: int) -> int:
    """Scores before and after the softmax, which is in float32 and casts what it reads."""
    return _scores(experiment, shape) * (4 + 4 + (0 if compute == 4 else compute))


def _eager_backward_bytes(experiment: Experiment, shape: Shape, compute: int) -> int:
    """Gradients on both sides of the softmax, beside what the layer keeps but for the feed-forward
    matrices, which is gone by then."""
    gradients = _scores(experiment, shape) * (4 + compute)
    return gradients - _mlp_bytes(experiment, shape, compute)


def working_bytes_per_token(experiment: Experiment, shape: Shape, numerics: Numerics) -> int:
    """What a layer's backward pass needs at its height beyond all that the layer keeps.

    Mostly (but for eager attention) that is at the activation function, where the gradients of its
    output and of what it multiplied are alive together, and that of the stream. What the matrix
    behind it kept is gone by then. The rotation's two tables are shared by all layers.
    """
    compute, inner = numerics.compute, shape.active_intermediate_size
    adapted = () if experiment.tuning == "full" else _adapted(experiment, shape)
    keeps_product = experiment.tuning == "full" or "mlp_inner" in adapted
    gradients = (3 if shape.gated else 2) * compute * inner
    product = compute if experiment.tuning == "full" else 2 if numerics.autocast else 4
    height = gradients + numerics.stream * shape.hidden_size
    height -= product * inner if keeps_product else 0
    tables = 2 * shape.head_dim * compute
    again = _recomputing_bytes(experiment, shape, numerics, adapted)
    return tables + max(height, again, _eager_backward_bytes(experiment, shape, compute))


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


def four_bit_inputs(shape: Shape, numerics: Numerics, *, alone: bool) -> int:
    """Bytes per token and layer of what 4-bit matrices multiply: each tensor once, and ``alone``
    what attention returns too, which it keeps itself. A layer with one norm feeds it to both."""
    widths = {one.reads: one.active_inputs for one in shape.linears}
    if not alone:
        widths.pop("attention_output", None)
    if shape.norms_per_layer == 1:
        widths.pop("mlp_input", None)
    return numerics.compute * sum(widths.values())


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
