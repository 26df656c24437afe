"""Every sentence a person can be told, to the letter: about models, data and methods."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.preflight.experiments import FULL, LLAMA_2_7B, SOUND, make_experiment
from tests.training.preflight.sentences import DPO, GPTQ, stands_in_the_way
from tests.training.preflight.test_shape import GEMMA_3_4B
from training.preflight import Lengths, check


def test_a_sound_experiment_is_told_nothing() -> None:
    report = check(SOUND)
    assert report.ok
    assert report.errors == report.warnings == ()


ERRORS: list[tuple[str, dict[str, Any]]] = [
    (
        "Recipe 'Full Fine-Tune' does not support quantized models. "
        "Model 'Llama-2-7B-GPTQ' is int4.",
        {"model": GPTQ, "recipe": FULL},
    ),
    (
        "Recipe 'Full Fine-Tune' does not support quantized models. "
        "Model 'Llama-2-7B-GPTQ' is gptq.",
        {"model": GPTQ | {"dtype": "fp16"}, "recipe": FULL},
    ),
    (
        "Dataset failed integrity check. Please review and fix dataset issues before training.",
        {"dataset": {"integrity_passed": False}},
    ),
    (
        "Model 'Llama-2-7B' is archived. Choose a model that is in use.",
        {"model": {"stage": "archived"}},
    ),
    (
        "Model 'Llama-2-7B' is archived. Choose a model that is in use.",
        {"model": {"status": "archived"}},
    ),
    (
        "Model 'Llama-2-7B' is marked as not trainable. Choose another, or mark it as trainable in "
        "the registry.",
        {"model": {"trainable": False}},
    ),
    (
        "Model 'Llama-2-7B' cannot be used as it is. Its files are gone. Put the files back and "
        "check the model again.",
        {
            "model": {
                "problems": ("Its files are gone. Put the files back and check the model again.",)
            }
        },
    ),
    (
        "Model 'Llama-2-7B' is a GGUF file, which can be served but not trained. "
        "Choose its safetensors original.",
        {"model": {"is_gguf": True}},
    ),
    (
        "Model 'Llama-2-7B' has no weights on disk. Download it (about 12.6 GB) or correct its "
        "path.",
        {"model": {"has_files": False, "has_tokenizer": False}},
    ),
    (
        "Model 'Llama-2-7B' has no tokenizer. Add its tokenizer files.",
        {"model": {"has_tokenizer": False}},
    ),
    (
        "Dataset 'alpaca' holds conversations, but the tokenizer of model 'Llama-2-7B' has no chat "
        "template. Choose an instruction-tuned model, or rows with prompt and completion.",
        {"dataset": {"row_format": "messages"}},
    ),
    (
        "Dataset 'alpaca' holds conversations, but the chat template of model 'Llama-2-7B' cannot "
        "be used. Its page says why.",
        {
            "dataset": {"row_format": "messages"},
            "model": {"has_chat_template": True, "template_renders": False},
        },
    ),
    (
        "Recipe 'LoRA' trains by the method ppo, which is not available. Available: full, lora, "
        "qlora, pretrain, dpo, orpo, kto, text_classification, image_classification.",
        {"recipe": {"method": "ppo"}},
    ),
    (
        "beta: the method lora has no such setting; it is one of dpo, orpo, kto.",
        {"train": {"beta": 0.3}},
    ),
    (
        "load_in_4bit: weights in four bits are not trained themselves; set use_peft too.",
        {**DPO, "train": {"load_in_4bit": True}},
    ),
    (
        "Recipe 'DPO' (dpo) learns from chosen and rejected answers. The rows of dataset 'alpaca' "
        "are prompt and completion. Choose a recipe that learns from such rows, or other data.",
        {**DPO, "dataset": {}},
    ),
    (
        "Recipe 'KTO' (kto) learns from answers judged true or false or chosen and rejected "
        "answers. The rows of dataset 'alpaca' are plain text. Choose a recipe that learns from "
        "such rows, or other data.",
        {"recipe": {"name": "KTO", "method": "kto"}, "dataset": {"row_format": "text"}},
    ),
    (
        "kto compares the rows of a micro batch with each other, and global_batch_size 8 / "
        "(grad_accum 8 × gpus) leaves 1. Raise global_batch_size or lower grad_accum.",
        {
            "recipe": {"name": "KTO", "method": "kto"},
            "dataset": {"row_format": "preference"},
            "train": {"grad_accum": 8},
        },
    ),
    (
        "Transformers has no class for text classification with models of the family mamba, as "
        "'Llama-2-7B' is. Choose another model.",
        {
            "recipe": {"name": "Text", "method": "text_classification"},
            "dataset": {"row_format": "labelled"},
            "model": {"config": {"model_type": "mamba"}},
        },
    ),
    (
        "Model 'Llama-2-7B' is a classifier (LlamaForSequenceClassification) without the layer "
        "that predicts tokens, which lora trains. Choose its original.",
        {"model": {"architecture": "LlamaForSequenceClassification"}},
    ),
    (
        "The weights of model 'Llama-2-7B-GPTQ' are quantized and are not trained themselves. "
        "Train an adapter: use_peft, or the method lora.",
        {**DPO, "model": GPTQ},
    ),
    (
        "Model 'Llama-2-7B-GPTQ' is quantized already. Take lora instead of qlora, without "
        "load_in_4bit.",
        {**DPO, "model": GPTQ, "train": {"use_peft": True, "load_in_4bit": True}},
    ),
    (
        "Model 'Llama-2-7B-GPTQ' is quantized by gptq, which needs optimum, not installed here. "
        "Install it, or choose the model in bfloat16.",
        {"model": GPTQ, "resources": {"libraries": frozenset({"gptqmodel"})}},
    ),
    (
        "Model 'Llama-2-7B-GPTQ' is quantized by gptq, which needs gptqmodel and optimum, not "
        "installed here. Install it, or choose the model in bfloat16.",
        {"model": GPTQ, "resources": {"libraries": frozenset()}},
    ),
    (
        "DoRA does not work on model 'Llama-2-7B-GPTQ', which is quantized by gptq. Turn use_dora "
        "off, or choose the model in bfloat16.",
        {"model": GPTQ, "lora": {"use_dora": True}},
    ),
    (
        "Model 'Llama-2-7B-GPTQ' is quantized by hqq. Adapters are trained on models quantized by "
        "bitsandbytes, gptq, awq.",
        {"model": GPTQ | {"quantization": "hqq"}},
    ),
    (
        "Model 'Llama-2-7B' takes text, but dataset 'alpaca' is image. Choose a model that takes "
        "image, or a dataset of text.",
        {"dataset": {"modality": "image"}, "recipe": {"modality": "image"}},
    ),
    (
        "Recipe 'LoRA' trains on audio, but dataset 'alpaca' is text. Choose a recipe for text.",
        {"recipe": {"modality": "audio"}},
    ),
    (
        "Dataset 'alpaca' has no rows. Choose one that has some.",
        {"dataset": {"num_samples": 0}},
    ),
    (
        "columns: prompt is to be read from the column question, which dataset 'alpaca' has not. "
        "Its columns: instruction, output.",
        {"dataset": {"columns": ("instruction", "output")}, "columns": {"prompt": "question"}},
    ),
    (
        "Dataset 'alpaca' has no train split. Its splits: test, validation. Name the file "
        "or folder of the rows to learn from train, and check it again.",
        {"dataset": {"splits": ("test", "validation")}},
    ),
    (
        "Dataset 'alpaca' has no train split. Its splits: none. Name the file or folder of the "
        "rows to learn from train, and check it again.",
        {"dataset": {"splits": ()}},
    ),
    (
        "max_length 8192 is above the 4096 tokens that model 'Llama-2-7B' was made for. "
        "Set max_length to 4096 or less.",
        {"train": {"max_length": 8192}, "dataset": {"max_tokens": None}},
    ),
    (
        "lora target_modules c_attn are not in model 'Llama-2-7B'. It has q_proj, k_proj, v_proj, "
        "o_proj, gate_proj, up_proj, down_proj; all-linear means all of them.",
        {"lora": {"target_modules": ("c_attn",)}},
    ),
    (
        "lora target_modules foo.q_proj are not in model 'Llama-2-7B'. It has q_proj, k_proj, "
        "v_proj, o_proj, gate_proj, up_proj, down_proj; all-linear means all of them.",
        {"lora": {"target_modules": ("foo.q_proj",)}},
    ),
    (
        "lora target_modules fc1 reach only the part of model 'Llama-2-7B' that sees, which text "
        "does not train. It has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj; "
        "all-linear means all of them.",
        {"lora": {"target_modules": ("fc1",)}, "model": {"config": GEMMA_3_4B}},
    ),
    (
        "lora target_modules may be at most 1000 names; there are 1001.",
        {"lora": {"target_modules": ("q_proj",) * 1001}},
    ),
    ("lora r must be at most 100000; it is 100001.", {"lora": {"r": 100_001}}),
    (
        "The files of dataset 'alpaca' are not on this machine. Download them (about 2.0 GB) or "
        "correct its path.",
        {"dataset": {"has_files": False, "size_bytes": 2 * 2**30}},
    ),
    (
        "The files of dataset 'alpaca' are not on this machine. Download them or correct its path.",
        {"dataset": {"has_files": False}},
    ),
    (
        "Model 'Llama-2-7B' has no weights on disk. Download it (about 3.0 GB) or correct its "
        "path.",
        {"model": {"has_files": False, "size_bytes": 3 * 2**30}},
    ),
    (
        "Model 'Llama-2-7B' has no weights on disk. Download it or correct its path.",
        {"model": {"has_files": False, "config": None}},
    ),
    (
        "Model 'Llama-2-7B-GPTQ' is quantized by fp8. Adapters are trained on models quantized by "
        "bitsandbytes, gptq, awq.",
        {"model": GPTQ | {"quantization": "fp8"}},
    ),
    (
        "Nothing is left to learn: the prompt of every row fills max_length 512. The longest "
        "prompt has 600 tokens: raise max_length, or shorten prompts.",
        {"dataset": {"lengths": Lengths.of([(700, 4)], begins=[(512, 1), (600, 3)])}},
    ),
    (
        "attn_implementation sdpa is not made for models of the family gemma2, as 'Llama-2-7B' "
        "is. Use eager.",
        {"model": {"config": LLAMA_2_7B | {"model_type": "gemma2"}}},
    ),
    (
        "attn_implementation flash_attention_2 is not made for models of the family mpt, as "
        "'Llama-2-7B' is. Use eager.",
        {
            "model": {"config": LLAMA_2_7B | {"model_type": "mpt"}},
            "train": {"attn_implementation": "flash_attention_2"},
            "lora": {"target_modules": "all-linear"},
        },
    ),
]


@pytest.mark.parametrize(("sentence", "changes"), ERRORS, ids=[s for s, _ in ERRORS])
def test_what_stands_in_the_way_is_said(sentence: str, changes: dict[str, Any]) -> None:
    stands_in_the_way(sentence, **changes)


def test_two_things_wrong_are_both_said_as_in_the_contract() -> None:
    report = check(make_experiment(model=GPTQ, recipe=FULL, dataset={"integrity_passed": False}))
    assert report.errors == (
        "ERROR: Recipe 'Full Fine-Tune' does not support quantized models. "
        "Model 'Llama-2-7B-GPTQ' is int4.",
        "ERROR: Dataset failed integrity check. Please review and fix dataset issues before "
        "training.",
    )


def test_splits_are_not_missed_before_anybody_has_looked() -> None:
    unchecked = make_experiment(
        dataset={"splits": (), "integrity_checked": False, "integrity_passed": False}
    )
    assert check(unchecked).ok


def test_a_recipe_that_takes_quantized_models_takes_them() -> None:
    assert check(make_experiment(model=GPTQ)).ok
