"""The head and its loss, by far the widest layer: what they take at their height, in bytes.

Our trainer's own loss never holds all logits (`training.trainer.cross_entropy`). What other
software does is counted for the accuracy benchmark, and is what ours falls back to where a model
does more with its logits than to compare them.
"""

from __future__ import annotations

from training.preflight.activations import Numerics, eager_evaluation_bytes, norm_bytes
from training.preflight.facts import Experiment
from training.preflight.shape import Shape

# Bytes for each logit at the height of the loss. In Transformers: log-probabilities, the gradient
# of the loss and that of the logits, float32 each; before version 4.45 the 16-bit logits beside
# them. A fused cross entropy (Liger, Unsloth) writes the gradient over float32 logits; its older
# form kept the 16-bit ones too. In eight chunks: the 16-bit logits, and of one chunk those in
# float32 and both gradients. The first four by differencing the micro batch sizes of published
# runs (docs/preflight.md). A kernel that reads 16-bit logits and writes their gradient beside them,
# be it flash-attn's or a compiler's, keeps float32 to itself; in chunks, of one at a time.
# A fused linear cross entropy never holds all logits: it has its own share below, as have the
# pieces of 128 tokens that LitGPT makes of the logits, and a loss in the type that comes.
LOSSES = {
    "transformers": 12.0,
    "transformers_4.44": 14.0,
    "unmoved": 12.0,
    "fused": 8.0,
    "fused_4.44": 10.0,
    "chunked": 2 + (4 + 4 + 2) / 8,
    "in_16_bits": 2 + 2,
    "chunked_in_16_bits": 2 + 2 / 8,
    "ours": 0.0,
    "fused_linear": 0.0,
    "as_it_comes": 0.0,
    "pieces": 0.0,
}
PIECE_TOKENS = 128
# Bytes a logit that the allocator keeps beside those: tensors that are not used again, as they are
# longer or shorter by a row. Without the copy that is moved by one: the 16-bit logits alone.
LEFT_OVER = {"transformers": 5.5, "transformers_4.44": 5.5, "fused": 5.5, "fused_4.44": 5.5}
LEFT_OVER |= {"unmoved": 2.0}
# `training.trainer.cross_entropy`: logits of a chunk, and rows of which there are whole sixteens.
CHUNK_LOGITS, ROUND_ROWS = 2**24, 16
# What an architecture does to its logits after the head, by the names in its config.json.
BEHIND_THE_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling")
# Losses that reach the head's weight while logits are still there: Liger adds to one gradient,
# while autograd makes one for each chunk and adds it to those of the chunks before.
HEAD_GRADIENTS_WITH_LOSS = {"chunked": 2, "chunked_in_16_bits": 2, "fused_linear": 1}


def loss_of(experiment: Experiment) -> str:
    """The name of the loss. Ours learns the next token and needs a plain head: not adapted, without
    anything behind it, and not in float16."""
    if experiment.stack.loss != "ours":
        return experiment.stack.loss
    config, targets = experiment.model.config or {}, experiment.lora.target_modules
    half = experiment.train.dtype == "float16" or experiment.resources.mixed_precision == "fp16"
    adapted = experiment.tuning != "full" and not isinstance(targets, str) and "lm_head" in targets
    changed = any(config.get(name) not in (None, 1, 1.0) for name in BEHIND_THE_HEAD)
    compares = experiment.recipe.method in ("dpo", "orpo", "kto")
    return "transformers" if half or adapted or changed or compares else "ours"


def loss_bytes(experiment: Experiment, shape: Shape, numerics: Numerics, tokens: int) -> int:
    """Head and cross entropy at their height, as if every token carried loss (at most they all
    do)."""
    loss, head = loss_of(experiment), shape.vocab_size * shape.hidden_size
    total = tokens * loss_bytes_per_token(experiment, shape, numerics)
    if not experiment.has_token_head:
        return total
    if loss == "ours":
        return total + _chunk_bytes(experiment, shape, numerics, tokens)
    if experiment.tuning == "full":
        total += HEAD_GRADIENTS_WITH_LOSS.get(loss, 0) * head * numerics.weight
    return total


def _chunk_bytes(experiment: Experiment, shape: Shape, numerics: Numerics, tokens: int) -> int:
    """Of one chunk its rows, the logits in float32 and what their sum is taken from, beside the
    gradient of the chunk before. Where the head is trained, its own gradient so far; which is at
    its height when the second chunk adds to it, in float32, what came from the first and comes from
    the second in the type of both."""
    head, value = shape.vocab_size * shape.hidden_size, numerics.compute
    rows = _rows_of_a_chunk(shape)
    logits = min(rows, _rounded(tokens)) * shape.vocab_size
    more = tokens > rows
    cast = head * value if numerics.autocast and numerics.weight > value else 0
    beside = cast + min(rows, tokens) * shape.hidden_size * value
    summing = (4 + 4 + (value if more else 0)) * logits
    if experiment.tuning != "full":
        return summing + beside
    adding = (4 + (value if value < 4 else 0)) * logits + (8 if more else value) * head
    return max(summing + (4 * head if more else 0), adding) + beside


def _rows_of_a_chunk(shape: Shape) -> int:
    return max(CHUNK_LOGITS // max(shape.vocab_size, 1) // ROUND_ROWS, 1) * ROUND_ROWS


def _rounded(tokens: int) -> int:
    return tokens + -tokens % ROUND_ROWS


def loss_bytes_per_token(experiment: Experiment, shape: Shape, numerics: Numerics) -> int:
    """What grows with the tokens. The few labels of a classifier do not count.

    Around the head: what the last norm keeps, and the head's own input where it is trained. Ours
    keeps the gradient of that input instead, beside the input while it is at work. A fused linear
    cross entropy works in chunks of as many tokens as make the logits about as large as the hidden
    states: those in 16 and 32 bits, and the gradient of the hidden states."""
    hidden, full = shape.hidden_size, experiment.tuning == "full"
    around = norm_bytes(hidden, 1, experiment, shape, numerics.stream)
    around += 2 * shape.head_dim * numerics.compute
    loss = loss_of(experiment)
    if loss == "ours" and experiment.has_token_head:
        cast = numerics.compute if numerics.stream > numerics.compute else 0
        return around + hidden * (numerics.stream + cast + numerics.compute)
    around += hidden * numerics.compute if full or experiment.stack.trains_embeddings else 0
    if not experiment.has_token_head:
        return around
    if loss == "fused_linear":
        return around + hidden * (2 + 4 + numerics.compute)
    return around + round(bytes_per_logit(experiment, numerics) * shape.vocab_size)


def bytes_per_logit(experiment: Experiment, numerics: Numerics) -> float:
    """In pieces, logits and log-probabilities are float32, and of one piece both gradients and that
    in 16 bits. As it comes, all three tensors have the type that autocast or the model gives."""
    loss = loss_of(experiment)
    if loss == "pieces":
        return 4 + 4 + (4 + 4 + 2) * min(1, PIECE_TOKENS / max(experiment.longest_row_tokens, 1))
    if loss == "as_it_comes":
        return 3.0 * (4 if numerics.autocast else numerics.compute)
    return LOSSES[loss]


def left_over_per_logit(experiment: Experiment, numerics: Numerics) -> float:
    """What the allocator keeps of each beside that."""
    loss = loss_of(experiment)
    if loss == "as_it_comes":
        return 4.0 if numerics.autocast else float(numerics.compute)  # the copy moved by one
    return LEFT_OVER.get(loss, 0.0)


def evaluation_bytes(experiment: Experiment, shape: Shape, numerics: Numerics, tokens: int) -> int:
    """Without gradients only the widest moment counts: the activation function of one layer, the
    scores of eager attention, or the logits: a chunk of them, or all as they come, in float32, and
    their log-probabilities."""
    layer = max(
        3 * numerics.compute * shape.active_intermediate_size,
        eager_evaluation_bytes(experiment, shape, numerics.compute),
    )
    layer += 2 * numerics.stream * shape.hidden_size
    if not experiment.has_token_head:
        return tokens * layer
    as_they_come = 0 if numerics.compute == 4 else numerics.compute
    if loss_of(experiment) == "ours":
        chunk = min(_rows_of_a_chunk(shape), _rounded(tokens)) * shape.vocab_size
        states = 2 * tokens * shape.hidden_size * numerics.stream
        return max(tokens * layer, states + (4 + 4) * chunk)
    return tokens * max(layer, (as_they_come + 4 + 4) * shape.vocab_size)
