"""What a model is made of, from its config.json: parameters per component, exact to the one.

`families` holds what differs between architectures; the tests compare the counts with the modules
that Transformers builds. Where no config is known the shape is inferred from the few numbers
there are.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from training.preflight.configs import LARGEST, on, part_of, size
from training.preflight.facts import ModelFacts
from training.preflight.families import FAMILIES, LLAMA, Family
from training.preflight.parts import Linear, Shape
from training.preflight.towers import tower_of

__all__ = ["Linear", "Shape", "shape_of"]

_LARGEST_MODEL = 10**14


def shape_of(model: ModelFacts) -> Shape | None:
    """The shape of a model from the best that is known of it, None where nothing is."""
    config = model.config or {}
    inner = part_of(config, "text_config")
    shape = _from_config(config if inner is None else inner)
    if shape is None:
        return _inferred(model)
    if inner is not None:
        tower = tower_of(config, shape.hidden_size)
        shape = replace(shape, tower=tower, exact=shape.exact and tower is not None)
    counted = model.params if not model.quantized else None
    if counted is not None and 0 < counted < _LARGEST_MODEL:
        return replace(shape, counted_params=counted)
    if not shape.exact and inner is None:  # the label knows more of an unlisted family than we do
        return replace(shape, counted_params=_total(model))
    return shape


def _from_config(config: dict[str, Any]) -> Shape | None:
    model_type = config.get("model_type")
    known = isinstance(model_type, str) and model_type in FAMILIES
    family = FAMILIES[str(model_type)] if known else _unknown(config)
    hidden = size(config, "hidden_size", "n_embd", "d_model")
    layers = size(config, "num_hidden_layers", "n_layer", "n_layers")
    vocab = 0 if family.sees_images else size(config, "vocab_size")
    if hidden is None or layers is None or vocab is None:
        return None
    heads = size(config, "num_attention_heads", "n_head", "n_heads") or max(hidden // 128, 1)
    shape = _assemble(
        family,
        num_layers=layers,
        hidden=hidden,
        vocab=vocab,
        heads=heads,
        kv_heads=_kv_heads(family, config, heads),
        head_dim=size(config, "head_dim") or max(hidden // heads, 1),
        inner=_inner(family, config, hidden),
        biases=(
            on(config, family.qkv_bias),
            on(config, family.out_bias),
            on(config, family.mlp_bias),
        ),
        norms=_norms(family, config),
        tied=on(config, ("tie_word_embeddings", family.tied)),
    )
    shape = replace(
        shape,
        exact=known,
        attention_dropout=_drops(family, config, "attention", "attn"),
        hidden_dropout=_drops(family, config, "hidden", "resid"),
    )
    if family.expert_width is not None:
        shape = _with_experts(shape, family, config)
    return _with_head(_with_positions(shape, family, config), family, config)


# By any of the names that families give them.
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_CHOSEN = ("num_experts_per_tok", "moe_k", "moe_topk")


def _unknown(config: dict[str, Any]) -> Family:
    """What a family that is not listed is read as: a Llama, with experts where it names several."""
    if (size(config, *_EXPERTS) or 1) == 1:
        return LLAMA
    narrow = size(config, "moe_intermediate_size") is not None
    return replace(
        LLAMA,
        expert_width="moe_intermediate_size" if narrow else "intermediate_size",
        shared_width="shared_expert_intermediate_size",
    )


def _drops(family: Family, config: dict[str, Any], *words: str) -> bool:
    """Whether training drops out there: what the config says, else what the family does."""
    said = [config[key] for key in config if "drop" in key and key.startswith(words)]
    rates = [rate for rate in said if isinstance(rate, int | float)]
    return any(rate > 0 for rate in rates) if rates else family.drops_out


def _inner(family: Family, config: dict[str, Any], hidden: int) -> int:
    inner = size(config, "ffn_hidden_size", "intermediate_size", "ffn_dim", "n_inner")
    return max(1, int((inner or 4 * hidden) * family.inner_share))


def _kv_heads(family: Family, config: dict[str, Any], heads: int) -> int:
    grouped = size(config, "num_key_value_heads", "num_kv_heads") or heads
    if family.is_encoder:
        return heads
    if not family.multi_query or on(config, ("new_decoder_architecture", False)):
        return grouped
    return 1 if on(config, ("multi_query", True)) else heads


def _norms(family: Family, config: dict[str, Any]) -> int:
    """Falcon norms once for a parallel layer, twice in its newer and its sequential form; StableLM
    once where it is parallel."""
    if config.get("model_type") == "stablelm":
        return 1 if on(config, ("use_parallel_residual", False)) else 2
    if "parallel_attn" not in config and config.get("model_type") != "falcon":
        return family.norms
    if on(config, ("new_decoder_architecture", False)):
        return 1 if config.get("num_ln_in_parallel_attn") == 1 else 2
    return 1 if on(config, ("parallel_attn", True)) else 2


def _with_experts(shape: Shape, family: Family, config: dict[str, Any]) -> Shape:
    """Experts in place of the feed-forward matrices, the router that chooses among them, and what
    every token passes beside them. Some layers may be dense all the same."""
    count = size(config, *_EXPERTS) or 1
    chosen = min(size(config, *_CHOSEN) or 1, count)
    width = size(config, str(family.expert_width)) or shape.intermediate_size
    shared = size(config, family.shared_width) or 0 if family.shared_width else 0
    shared += width * (size(config, "n_shared_experts", "moe_num_shared_experts") or 0)
    hidden = shape.hidden_size
    dense = [one for one in shape.linears if one.reads in ("mlp_input", "mlp_inner")]
    attention = [one for one in shape.linears if one not in dense]

    def of_width(size: int) -> list[Linear]:
        return [
            replace(one, outputs=size) if one.reads == "mlp_input" else replace(one, inputs=size)
            for one in dense
        ]

    experts = [replace(one, copies=count, active=chosen, is_expert=True) for one in of_width(width)]
    experts += of_width(shared) if shared else []
    router = hidden * count + (hidden if shared else 0)
    dense_layers = _dense_layers(shape.num_layers, config)
    differs = sum(one.params for one in dense) - sum(one.params for one in experts) - router
    return replace(
        shape,
        linears=(*attention, *experts),
        norm_params_per_layer=shape.norm_params_per_layer + router,
        other_params=shape.other_params + dense_layers * differs,
        intermediate_size=width,
        active_intermediate_size=width * chosen + shared,
    )


def _dense_layers(num_layers: int, config: dict[str, Any]) -> int:
    """Layers without experts: those named or at the beginning, and all but every n-th."""
    named = config.get("mlp_only_layers")
    named = {one for one in named if isinstance(one, int)} if isinstance(named, list) else set()
    named = {one for one in named if 0 <= one < num_layers}
    named |= set(range(min(size(config, "first_k_dense_replace") or 0, num_layers)))
    step = size(config, "decoder_sparse_step") or 1
    if step == 1:
        return len(named)
    sparse = num_layers // step
    return num_layers - sparse + len([n for n in named if (n + 1) % step == 0])


def _with_positions(shape: Shape, family: Family, config: dict[str, Any]) -> Shape:
    """Add learned positions, and OPT's narrower embeddings with their two projections."""
    hidden, other = shape.hidden_size, shape.other_params
    if family.positions is not None:
        length = size(config, "max_position_embeddings", "n_positions") or 0
        other += (length + family.positions) * hidden
    if family.token_types:
        other += (size(config, "type_vocab_size") or 2) * hidden
    width = size(config, "word_embed_proj_dim") or hidden
    if config.get("model_type") != "opt":
        return replace(shape, other_params=other)
    if width != hidden:
        other += 2 * width * hidden
    if not on(config, ("do_layer_norm_before", True)):
        other -= 2 * hidden
    embedding = shape.vocab_size * width
    head = embedding if shape.head_params else 0
    return replace(shape, other_params=other, embedding_params=embedding, head_params=head)


def _with_head(shape: Shape, family: Family, config: dict[str, Any]) -> Shape:
    """What stands after the last layer: the tokens' scores, or those of labels where the config's
    class is a classifier; and what an encoder has before it. A vision transformer's embeddings are
    those of patches, of its first token and of all positions."""
    hidden = shape.hidden_size
    classes = config.get("architectures")
    chooses = isinstance(classes, list) and any("Classification" in str(one) for one in classes)
    labels = config.get("id2label")
    count = len(labels) if isinstance(labels, dict) else size(config, "num_labels") or 2
    if chooses or family.sees_images:
        biased = family.is_encoder
        shape = replace(shape, head_params=count * hidden + (count if biased else 0))
    if family.sees_images:
        image = size(config, "image_size") or 224
        patch = size(config, "patch_size") or 16
        channels = size(config, "num_channels") or 3
        embedding = channels * patch**2 * hidden + hidden + hidden
        embedding += ((image // patch) ** 2 + 1) * hidden
        return replace(shape, embedding_params=embedding)
    if not family.is_encoder:
        return shape
    dense = hidden * hidden + hidden  # a pooler, or the transform before the tokens' scores
    norm = 0 if chooses else 2 * hidden
    return replace(shape, other_params=shape.other_params + dense + norm)


def _assemble(
    family: Family,
    *,
    num_layers: int,
    hidden: int,
    vocab: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    inner: int,
    biases: tuple[bool, bool, bool],
    norms: int,
    tied: bool,
) -> Shape:
    query, kv = heads * head_dim, kv_heads * head_dim
    qkv_bias, out_bias, mlp_bias = biases
    *projections, out = family.attention
    widths = (query, kv, kv) if len(projections) == 3 else (query + 2 * kv,)
    *ups, down = family.mlp
    up_width = inner * 2 if family.gated and len(ups) == 1 else inner
    linears = (
        *(
            Linear(name=n, inputs=hidden, outputs=w, bias=qkv_bias, reads="attention_input")
            for n, w in zip(projections, widths, strict=True)
        ),
        Linear(name=out, inputs=query, outputs=hidden, bias=out_bias, reads="attention_output"),
        *(
            Linear(name=n, inputs=hidden, outputs=up_width, bias=mlp_bias, reads="mlp_input")
            for n in ups
        ),
        Linear(name=down, inputs=inner, outputs=hidden, bias=mlp_bias, reads="mlp_inner"),
    )
    norm = hidden * family.norm_sizes
    # An encoder's scores have a bias of their own beside that of the untied matrix.
    head_biases = family.head_bias + (family.head_bias and family.is_encoder and not tied)
    of_qk = query + kv if family.wide_qk_norm else 2 * head_dim
    return Shape(
        num_layers=num_layers,
        hidden_size=hidden,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate_size=inner,
        active_intermediate_size=inner,
        vocab_size=vocab,
        gated=family.gated,
        linears=linears,
        norms_per_layer=norms,
        rms_norm=not family.layer_norm,
        qk_norm=family.qk_norm,
        norm_params_per_layer=norms * norm + (of_qk if family.qk_norm else 0),
        embedding_params=vocab * hidden,
        head_params=(0 if tied else vocab * hidden) + head_biases * vocab,
        other_params=norm * (family.final_norm + family.embedding_norm),
        exact=False,
    )


def _inferred(model: ModelFacts) -> Shape | None:
    """A Llama of the given size: what is missing follows from 12 h² parameters a layer and the
    usual hidden/layers ratio of 128; the feed-forward width makes the total come out."""
    total = _total(model)
    hidden = _believable(model.hidden_size)
    layers = _believable(model.num_layers)
    vocab = _believable(model.vocab_size) or 32_000
    if hidden is None and total is None:
        return None
    if hidden is None:
        per_layer_ratio = (total or 1) * 128 / 12 if layers is None else (total or 1) / 12 / layers
        power = 1 / 3 if layers is None else 1 / 2
        hidden = max(64, round(per_layer_ratio**power / 64) * 64)
    if layers is None:
        body = (total or 12 * hidden**2 * hidden // 128) - 2 * vocab * hidden
        layers = max(1, round(body / (12 * hidden**2)))
    heads = max(1, hidden // 128)
    head_dim = max(1, hidden // heads)
    body = total - 2 * vocab * hidden if total is not None else 12 * hidden**2 * layers
    inner = (body // layers - 4 * hidden**2) // (3 * hidden)
    shape = _assemble(
        LLAMA,
        num_layers=layers,
        hidden=hidden,
        vocab=vocab,
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        inner=min(max(inner, hidden), 8 * hidden),
        biases=(False, False, False),
        norms=2,
        tied=False,
    )
    return replace(shape, counted_params=total) if total is not None else shape


def _believable(value: int | None) -> int | None:
    return value if value is not None and 0 < value <= LARGEST else None


def _total(model: ModelFacts) -> int | None:
    if model.params is not None and 0 < model.params < _LARGEST_MODEL and not model.quantized:
        return model.params
    label = model.params_b
    if label is None or not math.isfinite(label) or not 0 < label < _LARGEST_MODEL / 1e9:
        return None
    return max(1, round(label * 1e9))
