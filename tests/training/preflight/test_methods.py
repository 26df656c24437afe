"""What each method needs: memory and time beside those of the next token, and its architectures."""

from __future__ import annotations

import math
from typing import Any

import pytest
from transformers.models.auto import modeling_auto

from tests.training.preflight.experiments import FULL, LLAMA_2_7B, make_experiment
from training.preflight import Experiment, check
from training.preflight.estimate import Estimate, estimate
from training.preflight.facts import image_tokens
from training.preflight.methods import CLASSES

VIT: dict[str, Any] = {
    "model_type": "vit",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 16,
}
ALL_LOGITS = {"loss": "transformers"}
KINDS = {
    "dpo": "preference",
    "orpo": "preference",
    "kto": "unpaired_preference",
    "text_classification": "labelled",
    "pretrain": "text",
}


def learning(method: str, **train: Any) -> Experiment:
    return make_experiment(
        recipe={"name": method, "method": method},
        dataset={"row_format": KINDS[method]},
        train={"gradient_checkpointing": True, **train},
    )


def needs(experiment: Experiment) -> Estimate:
    found = estimate(experiment)
    assert found is not None
    return found


LORA = needs(make_experiment(train={"gradient_checkpointing": True}))


@pytest.mark.parametrize("method", KINDS)
def test_a_sound_experiment_of_every_method_passes(method: str) -> None:
    report = check(learning(method, use_peft=True))
    assert report.ok, report.errors
    assert report.warnings == ()


def test_an_image_experiment_passes_and_counts_patches() -> None:
    experiment = make_experiment(
        model={
            "config": VIT,
            "params": 86_000_000,
            "modality": "image",
            "architecture": "ViTForImageClassification",
            "has_tokenizer": False,
            "context_length": None,
        },
        dataset={
            "modality": "image",
            "row_format": "labelled_image",
            "mean_tokens": None,
            "max_tokens": None,
        },
        recipe={
            "name": "Image Classification",
            "method": "image_classification",
            "modality": "image",
            "supports_quantized": False,
        },
    )
    report = check(experiment)
    assert report.ok, report.errors
    assert report.warnings == ()
    assert experiment.longest_row_tokens == 14 * 14 + 1
    assert 0.3 < report.estimated_vram_mb / 1024 < 4


def test_an_image_of_unknown_size_is_an_ordinary_one() -> None:
    assert image_tokens({}) == image_tokens({"image_size": [1, 2], "patch_size": 0}) == 197


def test_pairs_take_the_memory_and_the_time_of_twice_the_rows() -> None:
    pairs = needs(learning("dpo", use_peft=True))
    settings = {"gradient_checkpointing": True, "global_batch_size": 16}
    twice = needs(make_experiment(train=settings, stack=ALL_LOGITS))
    assert pairs.memory.activations_bytes == twice.memory.activations_bytes
    ratio = pairs.speed.time_per_step_ms / LORA.speed.time_per_step_ms
    assert 1.7 < ratio < 2.1


def test_answers_to_other_prompts_take_time_but_no_memory() -> None:
    judged = needs(learning("kto", use_peft=True))
    once = needs(make_experiment(train={"gradient_checkpointing": True}, stack=ALL_LOGITS))
    in_a_step = {one.name: one.bytes for one in judged.memory.moments}
    del in_a_step["reference"]  # before the first
    assert in_a_step == {one.name: one.bytes for one in once.memory.moments}
    assert 1.1 < judged.speed.time_per_step_ms / LORA.speed.time_per_step_ms < 1.4


def test_an_adapter_needs_the_same_by_whatever_name() -> None:
    assert needs(learning("dpo", use_peft=True)).memory.weights_bytes == LORA.memory.weights_bytes
    assert needs(learning("dpo", use_peft=True, load_in_4bit=True)).memory.weights_bytes < (
        0.4 * LORA.memory.weights_bytes
    )
    whole = needs(make_experiment(recipe=FULL, train={"gradient_checkpointing": True}))
    assert needs(learning("dpo")).memory.gradients_bytes == whole.memory.gradients_bytes


def test_a_classifier_has_no_scores_of_all_tokens() -> None:
    def activations(method: str, vocab_size: int) -> int:
        experiment = make_experiment(
            model={"config": LLAMA_2_7B | {"vocab_size": vocab_size}},
            recipe={"method": method},
            train={"gradient_checkpointing": True, "use_peft": method != "lora"},
        )
        return needs(experiment).memory.activations_bytes

    few, many = (activations("text_classification", size) for size in (32_000, 5_000_000))
    assert few == many
    few, many = (activations("lora", size) for size in (32_000, 5_000_000))
    assert few < many


def test_documents_are_counted_in_blocks() -> None:
    by_epochs = make_experiment(
        recipe={"name": "pretrain", "method": "pretrain"},
        dataset={"row_format": "text", "num_samples": 1000, "mean_tokens": 200.0},
        train={"max_steps": None, "num_train_epochs": 1.0},
    )
    # 200,000 tokens are 391 blocks of 512
    assert by_epochs.steps == 49


def test_what_does_not_fit_is_helped_by_an_adapter_of_the_same_method() -> None:
    report = check(learning("dpo", dtype="float32"))
    patches = [fix.patch for fix in report.fixes]
    assert any(patch.get("train", {}).get("use_peft") for patch in patches)
    assert not any("recipe" in patch for patch in patches)


def test_dora_adds_a_magnitude_for_every_output() -> None:
    dora = needs(make_experiment(lora={"use_dora": True}))
    plain = needs(make_experiment())
    added = dora.memory.trainable_params - plain.memory.trainable_params
    assert added == 32 * (4096 + 4096)  # layers × outputs of q_proj and v_proj


@pytest.mark.parametrize(
    ("method", "mapping"),
    [
        ("text_classification", modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES),
        ("image_classification", modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES),
    ],
)
def test_the_architectures_are_those_of_the_pinned_transformers(
    method: str, mapping: dict[str, str]
) -> None:
    assert set(CLASSES[method]) == set(mapping)


def test_packs_are_what_steps_count() -> None:
    rows = {"num_samples": 1000, "mean_tokens": 128.0, "max_tokens": 400}
    train = {"max_steps": None, "num_train_epochs": 2.0, "global_batch_size": 8, "max_length": 1024}
    packed = make_experiment(dataset=rows, train=train | {"packing": True})
    assert packed.longest_row_tokens == 1024
    assert packed.steps == math.ceil(125 * 2 / 8)  # eight rows fill a pack
    assert make_experiment(dataset=rows, train=train).steps == 250
