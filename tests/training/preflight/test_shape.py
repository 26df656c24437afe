"""Parameters per component: exact for every family, sensible where little is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.preflight.experiments import (
    FULL,
    GPT_2,
    LLAMA_2_7B,
    LLAMA_3_8B,
    MISTRAL_7B,
    QWEN_25_05B,
    make_experiment,
)
from training.preflight import ModelFacts, configs
from training.preflight.estimate import estimate
from training.preflight.families import FAMILIES
from training.preflight.shape import Shape, shape_of


def shape(config: dict[str, Any] | None = None, **facts: Any) -> Shape:
    found = shape_of(ModelFacts(name="m", config=config, **facts))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("config", "params"),
    [
        (LLAMA_2_7B, 6_738_415_616),
        (LLAMA_3_8B, 8_030_261_248),
        (MISTRAL_7B, 7_241_732_096),
        (QWEN_25_05B, 494_032_768),
        (GPT_2, 124_439_808),
    ],
    ids=["llama-2-7b", "llama-3-8b", "mistral-7b", "qwen2.5-0.5b", "gpt2"],
)
def test_well_known_models_are_counted_to_the_parameter(
    config: dict[str, Any], params: int
) -> None:
    assert shape(config).total_params == params
    assert shape(config).exact


SMALL: dict[str, Any] = {
    "vocab_size": 1000,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {"num_key_value_heads": 2, "intermediate_size": 160}
MOE = GROUPED | {
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 96,
}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "llama": [GROUPED, GROUPED | {"attention_bias": True, "mlp_bias": True}],
    "qwen3": [GROUPED | {"head_dim": 24}, GROUPED | {"attention_bias": True}],
    "gemma": [GROUPED | {"head_dim": 32}],
    "gpt2": [{"n_positions": 77}, {"n_inner": 100}],
    "gpt_bigcode": [{"n_positions": 77}, {"multi_query": False}],
    "opt": [
        {"ffn_dim": 96, "max_position_embeddings": 55},
        {"ffn_dim": 96, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ],
    "gpt_neox": [{"intermediate_size": 160}, {"attention_bias": False}],
    "falcon": [
        {},
        {"new_decoder_architecture": True, "num_kv_heads": 2},
        {"multi_query": False, "parallel_attn": False, "bias": True},
    ],
    "starcoder2": [GROUPED, GROUPED | {"use_bias": False}],
    "stablelm": [GROUPED, GROUPED | {"use_qkv_bias": True, "use_parallel_residual": True}],
    "mixtral": [GROUPED, GROUPED | {"num_local_experts": 3, "num_experts_per_tok": 1}],
    "granitemoe": [GROUPED | {"num_local_experts": 5}],
    "olmoe": [GROUPED | {"num_experts": 5, "num_experts_per_tok": 2}],
    "qwen2_moe": [MOE, MOE | {"decoder_sparse_step": 2}, MOE | {"mlp_only_layers": [0, 2]}],
    "qwen3_moe": [MOE, MOE | {"decoder_sparse_step": 3, "mlp_only_layers": [2]}],
    "mpt": [{}],
    "bloom": [{}],
    "gptj": [{}, {"n_inner": 100}],
    "bert": [{"intermediate_size": 160}, {"type_vocab_size": 5, "max_position_embeddings": 99}],
}
# The first Qwen brings its own code and is not in Transformers; images are seen further below.
IN_TRANSFORMERS = [name for name in FAMILIES if name not in ("qwen", "vit")]


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("family", IN_TRANSFORMERS)
def test_every_family_agrees_with_the_modules_of_transformers(family: str, tied: bool) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    for variant in VARIANTS.get(family, [GROUPED]):
        config = AutoConfig.for_model(family, tie_word_embeddings=tied, **(SMALL | variant))
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        built = sum(p.numel() for p in model.parameters())
        assert shape(config.to_dict()).total_params == built, variant


@pytest.mark.parametrize(
    ("auto_class", "family", "architecture"),
    [
        ("AutoModelForSequenceClassification", "bert", "BertForSequenceClassification"),
        ("AutoModelForSequenceClassification", "roberta", "RobertaForSequenceClassification"),
        ("AutoModelForSequenceClassification", "llama", "LlamaForSequenceClassification"),
        ("AutoModelForImageClassification", "vit", "ViTForImageClassification"),
    ],
)
def test_a_classifier_has_labels_in_place_of_tokens(
    auto_class: str, family: str, architecture: str
) -> None:
    import torch
    import transformers

    settings = SMALL | {"intermediate_size": 160, "num_labels": 5}
    if family == "vit":
        settings |= {"image_size": 32, "patch_size": 8}
    config = transformers.AutoConfig.for_model(family, **settings)
    with torch.device("meta"):
        model = getattr(transformers, auto_class).from_config(config)
    built = sum(p.numel() for p in model.parameters())
    assert shape(config.to_dict() | {"architectures": [architecture]}).total_params == built


def test_a_token_passes_only_the_experts_chosen_for_it() -> None:
    experts = {"num_local_experts": 8, "num_experts_per_tok": 2}
    mixtral = shape(MISTRAL_7B | {"model_type": "mixtral"} | experts)
    assert mixtral.total_params == 46_702_792_704  # as published
    inactive = 32 * 6 * 3 * 4096 * 14336
    assert mixtral.linear_params - mixtral.active_linear_params == inactive
    assert {one.name for one in mixtral.targets("all-linear")} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    }


@pytest.mark.parametrize(
    ("experts", "layer"),
    [
        ({"num_local_experts": 4}, 4 * 3 * 64 * 160 + 4 * 64),
        ({"n_routed_experts": 4, "moe_intermediate_size": 48}, 4 * 3 * 64 * 48 + 4 * 64),
        (
            {"n_routed_experts": 4, "moe_intermediate_size": 48, "n_shared_experts": 2},
            4 * 3 * 64 * 48 + 5 * 64 + 3 * 64 * 96,
        ),
        ({"moe_num_experts": 4, "moe_k": 2}, 4 * 3 * 64 * 160 + 4 * 64),
    ],
)
def test_experts_of_a_family_that_is_not_listed_are_counted(
    experts: dict[str, Any], layer: int
) -> None:
    config = SMALL | GROUPED | {"model_type": "strange_moe"} | experts
    found = shape(config)
    assert not found.exact
    attention = 2 * 64 * 64 + 2 * 64 * 32
    assert found.layer_params == attention + 2 * 64 + layer
    first_is_dense = shape(config | {"first_k_dense_replace": 1})
    assert first_is_dense.total_params == found.total_params - layer + 3 * 64 * 160


def test_the_label_of_a_family_that_is_not_listed_wins_over_our_reading() -> None:
    config = LLAMA_2_7B | {"model_type": "strange"}
    assert shape(config, params_b=671.0).total_params == 671_000_000_000
    assert shape(LLAMA_2_7B, params_b=671.0).total_params == 6_738_415_616
    assert shape(config, params_b=671.0, params=5).total_params == 5


def test_lora_on_query_and_value_of_llama_2_7b() -> None:
    # 32 layers × 2 matrices × rank 8 × (4096 + 4096)
    assert shape(LLAMA_2_7B).lora_params(8, ("q_proj", "v_proj")) == 4_194_304


def test_lora_on_all_linear_layers_of_llama_2_7b() -> None:
    # 32 × 8 × (4 × 8192 attention + 3 × (4096 + 11008) feed-forward); the head stays out
    assert shape(LLAMA_2_7B).lora_params(8, "all-linear") == 19_988_480


def test_a_target_may_be_a_path_and_one_name_may_mean_two_matrices() -> None:
    assert [one.name for one in shape(LLAMA_2_7B).targets(("self_attn.q_proj",))] == ["q_proj"]
    assert [one.reads for one in shape(GPT_2).targets("c_proj")] == [
        "attention_output",
        "mlp_inner",
    ]


def test_what_was_counted_in_the_files_wins() -> None:
    assert shape(LLAMA_2_7B, params=6_800_000_000).total_params == 6_800_000_000
    # ... except of packed four-bit files, which hold eight weights in one number
    assert shape(LLAMA_2_7B, params=900_000_000, quantized=True).total_params == 6_738_415_616


def test_a_text_model_inside_a_larger_one_is_found_but_not_called_exact() -> None:
    inner = shape({"model_type": "gemma3", "text_config": LLAMA_2_7B | {"model_type": "llama"}})
    assert inner.num_layers == 32
    assert not inner.exact


# As published (google/gemma-3-4b-it, config.json): what is as Transformers has it is left out.
GEMMA_3_4B: dict[str, Any] = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "mm_tokens_per_image": 256,
    "model_type": "gemma3",
    "text_config": {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    },
    "vision_config": {
        "hidden_size": 1152,
        "image_size": 896,
        "intermediate_size": 4304,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "patch_size": 14,
        "vision_use_head": False,
    },
}


def test_what_a_published_gemma_3_leaves_out_is_known_and_its_tower_counted() -> None:
    import torch
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    config = Gemma3Config(
        text_config=GEMMA_3_4B["text_config"], vision_config=GEMMA_3_4B["vision_config"]
    )
    with torch.device("meta"):
        model = Gemma3ForConditionalGeneration(config)
    found = shape(GEMMA_3_4B)
    assert found.exact
    assert found.total_params == sum(p.numel() for p in model.parameters())
    language = sum(p.numel() for p in model.model.language_model.parameters())
    assert found.tower_params == found.total_params - language
    assert (found.num_heads, found.num_kv_heads, found.vocab_size) == (8, 4, 262_208)


def test_the_tower_of_gemma_3_is_held_and_adapted_but_not_trained() -> None:
    found = estimate(make_experiment(model={"config": GEMMA_3_4B}, recipe=FULL))
    assert found is not None
    assert found.memory.weights_bytes == 2 * found.shape.total_params
    assert found.memory.trainable_params == found.shape.total_params - found.shape.tower_params
    # all-linear: four matrices of attention and two of the feed-forward in each layer of the tower
    text = replace(found.shape, tower=None).lora_params(8, "all-linear")
    tower = 27 * 8 * (4 * (1152 + 1152) + 2 * (1152 + 4304))
    assert found.shape.lora_params(8, "all-linear") == text + tower


def test_what_configs_leave_out_is_what_transformers_has() -> None:
    import dataclasses

    from transformers import CONFIG_MAPPING

    known = json.loads(Path(configs.__file__).with_name("defaults.json").read_text("utf-8"))
    assert {*known, "qwen"} - {"siglip_vision_model"} == set(FAMILIES)
    for family, sizes in known.items():
        theirs = {one.name: one.default for one in dataclasses.fields(CONFIG_MAPPING[family])}
        assert {name: theirs[name] for name in sizes} == sizes, family


def test_the_first_qwen_is_counted_to_the_parameter() -> None:
    """Qwen/Qwen-1_8B, of which Transformers has no class: its config counts both halves of the
    gate, and its own code says 1,836,828,672."""
    found = shape(
        {
            "model_type": "qwen",
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "vocab_size": 151_936,
            "kv_channels": 128,
            "no_bias": True,
            "tie_word_embeddings": False,
        }
    )
    assert found.total_params == 1_836_828_672
    assert found.exact


def test_an_unknown_family_is_read_as_a_llama_but_not_called_exact() -> None:
    found = shape(LLAMA_2_7B | {"model_type": "lama2"})
    assert found.total_params == 6_738_415_616
    assert not found.exact


def test_the_label_alone_gives_a_believable_shape() -> None:
    found = shape(params_b=7.0)
    assert found.total_params == 7_000_000_000
    assert 3000 < found.hidden_size < 5500
    assert 24 <= found.num_layers <= 48
    assert not found.exact


def test_what_is_known_is_kept_when_the_rest_is_inferred() -> None:
    found = shape(params_b=6.74, hidden_size=4096, num_layers=32, vocab_size=32000)
    assert (found.hidden_size, found.num_layers, found.vocab_size) == (4096, 32, 32000)
    assert found.intermediate_size == pytest.approx(11008, rel=0.01)


def test_of_nothing_no_shape_is_made_up() -> None:
    assert shape_of(ModelFacts(name="mystery")) is None
    assert shape_of(ModelFacts(name="mystery", num_layers=12, config={"hidden_size": -1})) is None
