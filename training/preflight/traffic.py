"""Bytes that eager kernels read and write beside the matrix products, per token.

Every elementwise operation reads its inputs from the card's memory and writes its result back. The
counts follow the modules of Transformers operation by operation; a backward pass moves twice what
its forward pass moves.
"""

from __future__ import annotations

from training.preflight.activations import Numerics, is_compiled
from training.preflight.calibration import PUBLISHED, Calibration
from training.preflight.facts import Experiment
from training.preflight.losses import loss_of
from training.preflight.shape import Shape

FLOAT32 = 4
# To unpack a 4-bit weight: half a byte read, two written, and two read by the product.
UNPACK_BYTES = 4.5


def layer_bytes_per_token(
    experiment: Experiment, shape: Shape, numerics: Numerics, calibration: Calibration = PUBLISHED
) -> float:
    """One forward pass through one layer."""
    compute, stream, hidden = numerics.compute, numerics.stream, shape.hidden_size
    # To float32, its square and their mean, the product with its root, back, times the weight.
    norm: float = (stream + 4 * FLOAT32 + 2 * FLOAT32 + FLOAT32 + 3 * stream) * hidden
    if not shape.rms_norm:
        norm = 3 * stream * hidden
    # Two products and a sum for queries and keys, one of them of halves changed round.
    rotation = 10 * compute * (shape.query_size + shape.kv_size)
    activation = (5 if shape.gated else 2) * compute * shape.active_intermediate_size
    residuals = 2 * 3 * stream * hidden
    eager: float = shape.norms_per_layer * norm + rotation + activation + residuals
    eager += _attention_bytes(experiment, shape, numerics)
    if is_compiled(experiment):
        return calibration.traffic * calibration.compiled_share * eager
    eager += _cast_bytes(shape, numerics)
    adapters = _adapter_bytes(experiment, shape, numerics)
    if experiment.stack.fused or experiment.train.use_liger_kernel:
        # Of adapters there are hand-written kernels for packed weights only (Unsloth's).
        packed = experiment.tuning == "qlora" or experiment.model.quantized
        adapters *= calibration.fused_share if packed else 1.0
        eager *= calibration.fused_share
    return calibration.traffic * (eager + adapters)


def _cast_bytes(shape: Shape, numerics: Numerics) -> float:
    """Where the stream is wider than what multiplies, each matrix casts its input for itself."""
    if numerics.stream <= numerics.compute:
        return 0.0
    readers = (one for one in shape.linears if one.reads.endswith("_input"))
    return float((numerics.stream + numerics.compute) * sum(one.active_inputs for one in readers))


def _attention_bytes(experiment: Experiment, shape: Shape, numerics: Numerics) -> float:
    """Eager attention writes and reads its scores: scale, mask, softmax, dropout, product. Autocast
    wants the softmax in float32 and the product in 16 bits, and casts before either."""
    if experiment.train.attn_implementation != "eager":
        return 0.0
    scores = shape.num_heads * experiment.longest_row_tokens
    casts = 2 * (FLOAT32 + numerics.compute) if numerics.autocast else 0
    return float(scores * (8 * numerics.compute + 2 * FLOAT32 + casts))


def _adapter_bytes(experiment: Experiment, shape: Shape, numerics: Numerics) -> float:
    """Each adapter casts its input for itself, reads it, scales what comes out and adds it. Where
    nothing has to be cast or unpacked, `trainer/adapted.py` reads the input and adds in place."""
    if experiment.tuning == "full":
        return 0.0
    compute = numerics.compute
    own = 2 if numerics.autocast else experiment.stack.adapter_bytes
    of_input, of_output = compute + 2 * own, 4 * own + 3 * compute
    plain = experiment.tuning == "lora" and own == compute and not numerics.autocast
    if experiment.stack.adapts_in_place and plain and not experiment.model.quantized:
        of_input, of_output = compute, 2 * compute
    return float(
        sum(
            of_input * one.active_inputs + of_output * one.outputs
            for one in shape.targets(experiment.lora.target_modules)
        )
    )


def loss_traffic_per_token(experiment: Experiment, shape: Shape, numerics: Numerics) -> float:
    """Forward and backward of the cross entropy: logits written, cast, their log-probabilities, two
    gradients in float32, and one as the head takes it. A fused loss reads and writes them twice."""
    if not experiment.has_token_head:
        return 0.0
    if loss_of(experiment).startswith(("fused", "chunked", "in_16")) or is_compiled(experiment):
        return float(shape.vocab_size * (2 * FLOAT32 + 4 * numerics.compute))
    return float(shape.vocab_size * (8 * FLOAT32 + 5 * numerics.compute))
