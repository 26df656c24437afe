"""How the architectures of Transformers differ from each other: one row each, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

Switch = bool | tuple[str, bool]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A switch is fixed, or a config key with its default.

    ``norms`` stand in each layer; ``norm_sizes`` is how many numbers of the hidden size one has
    (weight and bias: 2). ``wide_qk_norm`` normalizes all heads together. ``positions`` is the
    offset of learned position embeddings, None for rotary ones. ``inner_share`` is what part of
    the config's feed-forward width each matrix has. ``expert_width`` names the config's key for
    the width of one of several experts, ``shared_width`` that of the one which every token sees.
    ``is_encoder`` sees both ways and ends in a pooler or a transform. ``drops_out`` is what a
    silent config means.
    """

    attention: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    mlp: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    gated: bool = True
    layer_norm: bool = False
    norms: int = 2
    norm_sizes: int = 1
    final_norm: bool = True
    embedding_norm: bool = False
    qk_norm: bool = False
    wide_qk_norm: bool = False
    qkv_bias: Switch = False
    out_bias: Switch = False
    mlp_bias: Switch = False
    head_bias: bool = False
    tied: bool = False
    positions: int | None = None
    token_types: bool = False
    multi_query: bool = False
    inner_share: float = 1.0
    expert_width: str | None = None
    shared_width: str | None = None
    is_encoder: bool = False
    sees_images: bool = False
    drops_out: bool = False


_NEOX = Family(
    attention=("query_key_value", "dense"),
    mlp=("dense_h_to_4h", "dense_4h_to_h"),
    gated=False,
    layer_norm=True,
    norm_sizes=2,
    qkv_bias=("attention_bias", True),
    out_bias=("attention_bias", True),
    mlp_bias=True,
)
_GPT = Family(
    attention=("c_attn", "c_proj"),
    mlp=("c_fc", "c_proj"),
    gated=False,
    layer_norm=True,
    norm_sizes=2,
    qkv_bias=True,
    out_bias=True,
    mlp_bias=True,
    tied=True,
    positions=0,
    drops_out=True,
)
_GEMMA = Family(tied=True, qkv_bias=("attention_bias", False), out_bias=("attention_bias", False))
_LLAMA = Family(
    qkv_bias=("attention_bias", False),
    out_bias=("attention_bias", False),
    mlp_bias=("mlp_bias", False),
)
_QWEN3 = Family(
    qk_norm=True, qkv_bias=("attention_bias", False), out_bias=("attention_bias", False)
)
_BERT = Family(
    attention=("query", "key", "value", "dense"),
    mlp=("dense", "dense"),
    gated=False,
    layer_norm=True,
    norm_sizes=2,
    final_norm=False,
    embedding_norm=True,
    qkv_bias=True,
    out_bias=True,
    mlp_bias=True,
    head_bias=True,
    tied=True,
    positions=0,
    token_types=True,
    is_encoder=True,
    drops_out=True,
)

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "granite": _LLAMA,
    "smollm3": replace(_LLAMA, tied=True),
    "mistral": Family(),
    "mixtral": Family(expert_width="intermediate_size"),
    "granitemoe": replace(_LLAMA, expert_width="intermediate_size"),
    "olmoe": replace(_LLAMA, expert_width="intermediate_size", qk_norm=True, wide_qk_norm=True),
    "qwen": Family(  # the first Qwen: its config counts both halves of the gate
        attention=("c_attn", "c_proj"),
        mlp=("w1", "w2", "c_proj"),
        qkv_bias=True,
        inner_share=0.5,
    ),
    "qwen2": Family(qkv_bias=True),
    "qwen2_moe": Family(
        qkv_bias=("qkv_bias", True),
        expert_width="moe_intermediate_size",
        shared_width="shared_expert_intermediate_size",
    ),
    "qwen3": _QWEN3,
    "qwen3_moe": replace(_QWEN3, expert_width="moe_intermediate_size"),
    "gemma": _GEMMA,
    "gemma2": replace(_GEMMA, norms=4),
    "gemma3_text": replace(_GEMMA, norms=4, qk_norm=True),
    "phi": Family(
        attention=("q_proj", "k_proj", "v_proj", "dense"),
        mlp=("fc1", "fc2"),
        gated=False,
        layer_norm=True,
        norms=1,
        norm_sizes=2,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        head_bias=True,
    ),
    "phi3": Family(attention=("qkv_proj", "o_proj"), mlp=("gate_up_proj", "down_proj")),
    "starcoder2": Family(
        mlp=("c_fc", "c_proj"),
        gated=False,
        layer_norm=True,
        norm_sizes=2,
        qkv_bias=("use_bias", True),
        out_bias=("use_bias", True),
        mlp_bias=("use_bias", True),
        tied=True,
    ),
    "stablelm": Family(layer_norm=True, norm_sizes=2, qkv_bias=("use_qkv_bias", False)),
    "cohere": replace(_GEMMA, layer_norm=True, norms=1),
    "olmo": replace(_GEMMA, layer_norm=True, norm_sizes=0, tied=False),
    "olmo2": replace(_GEMMA, tied=False, qk_norm=True, wide_qk_norm=True),
    "gpt_neox": _NEOX,
    "bloom": replace(_NEOX, qkv_bias=True, out_bias=True, tied=True, embedding_norm=True),
    "falcon": replace(
        _NEOX,
        qkv_bias=("bias", False),
        out_bias=("bias", False),
        mlp_bias=("bias", False),
        tied=True,
        multi_query=True,
    ),
    "mpt": Family(
        attention=("Wqkv", "out_proj"),
        mlp=("up_proj", "down_proj"),
        gated=False,
        layer_norm=True,
        tied=True,
    ),
    "gptj": Family(
        attention=("q_proj", "k_proj", "v_proj", "out_proj"),
        mlp=("fc_in", "fc_out"),
        gated=False,
        layer_norm=True,
        norms=1,
        norm_sizes=2,
        mlp_bias=True,
        head_bias=True,
    ),
    "opt": Family(
        attention=("q_proj", "k_proj", "v_proj", "out_proj"),
        mlp=("fc1", "fc2"),
        gated=False,
        layer_norm=True,
        norm_sizes=2,
        qkv_bias=("enable_bias", True),
        out_bias=("enable_bias", True),
        mlp_bias=("enable_bias", True),
        tied=True,
        positions=2,
    ),
    "gpt2": _GPT,
    "gpt_bigcode": replace(_GPT, multi_query=True),
    "bert": _BERT,
    "roberta": _BERT,
    "vit": replace(
        _BERT,
        qkv_bias=("qkv_bias", True),
        final_norm=True,
        embedding_norm=False,
        head_bias=False,
        tied=False,
        positions=None,
        token_types=False,
        sees_images=True,
        drops_out=False,
    ),
}

LLAMA = _LLAMA  # what an unknown architecture is read as
