"""Every sentence a person can be told, to the letter."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.preflight.experiments import FULL, GPT_2, SOUND, make_experiment
from training.preflight import CardFacts, SuiteFacts, check

MMLU = SuiteFacts(name="mmlu", lacks=("a", "b", "c", "d"), advice="Fetch it.")
T4 = CardFacts(gpu_type="t4", memory_mb=15_000)
L4 = CardFacts(gpu_type="l4", memory_mb=23_000)
GPTQ = {"name": "Llama-2-7B-GPTQ", "dtype": "int4", "quantized": True, "quantization": "gptq"}
DPO: dict[str, Any] = {
    "recipe": {"name": "DPO", "method": "dpo"},
    "dataset": {"row_format": "preference"},
}


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
    ("Model 'Llama-2-7B' is marked as not trainable.", {"model": {"trainable": False}}),
    (
        "Model 'Llama-2-7B' is a GGUF file, which can be served but not trained. "
        "Choose its safetensors original.",
        {"model": {"is_gguf": True}},
    ),
    (
        "Model 'Llama-2-7B' has no weights on disk. Download it or correct its path.",
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
        "are prompt and completion.",
        {**DPO, "dataset": {}},
    ),
    (
        "Recipe 'KTO' (kto) learns from answers judged true or false or chosen and rejected "
        "answers. The rows of dataset 'alpaca' are plain text.",
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
        "Model 'Llama-2-7B-GPTQ' is quantized by hqq. Adapters are trained on models quantized by "
        "bitsandbytes, gptq, awq.",
        {"model": GPTQ | {"quantization": "hqq"}},
    ),
    (
        "Model 'Llama-2-7B' takes text, but dataset 'alpaca' is image.",
        {"dataset": {"modality": "image"}, "recipe": {"modality": "image"}},
    ),
    (
        "Recipe 'LoRA' trains on audio, but dataset 'alpaca' is text.",
        {"recipe": {"modality": "audio"}},
    ),
    ("Dataset 'alpaca' has no rows.", {"dataset": {"num_samples": 0}}),
    (
        "columns: prompt is to be read from the column question, which dataset 'alpaca' has not. "
        "Its columns: instruction, output.",
        {"dataset": {"columns": ("instruction", "output")}, "columns": {"prompt": "question"}},
    ),
    (
        "Dataset 'alpaca' has no train split. Its splits: test, validation.",
        {"dataset": {"splits": ("test", "validation")}},
    ),
    (
        "Dataset 'alpaca' has no train split. Its splits: none.",
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
    ("lora r must be at most 100000; it is 100001.", {"lora": {"r": 100_001}}),
    (
        "Evaluation suite 'mmul': there is no such task.",
        {
            "eval_suites": ("mmul",),
            "suites": (SuiteFacts(name="mmul", problem="there is no such task."),),
        },
    ),
    (
        "Evaluation suite 'mmlu' needs data that is not on this machine: a, b, c and 1 more. "
        "Fetch it.",
        {"eval_suites": ("mmlu",), "suites": (MMLU,)},
    ),
    (
        "Evaluation suites (mmlu) ask a model that writes text; recipe 'Labels' trains one that "
        "chooses labels. Leave them out: accuracy is measured anyway.",
        {
            "eval_suites": ("mmlu",),
            "recipe": {"name": "Labels", "method": "text_classification"},
            "dataset": {"row_format": "labelled"},
        },
    ),
    (
        "report_to names mlflow, and its library is not installed here: pip install -r "
        "requirements-reporting.txt.",
        {"missing_trackers": ("mlflow",)},
    ),
    (
        "Evaluation suite 'exact_match' needs a validation split. "
        "The splits of dataset 'alpaca': train.",
        {"eval_suites": ("exact_match",), "dataset": {"splits": ("train",)}},
    ),
    (
        "Evaluation suite 'exact_match' needs rows with prompt and completion, or messages. "
        "The rows of dataset 'alpaca' are plain text.",
        {"eval_suites": ("exact_match",), "dataset": {"row_format": "text"}},
    ),
    (
        "Evaluation suite 'exact_match' needs rows with prompt and completion, or messages. "
        "The rows of dataset 'alpaca' are chosen and rejected answers.",
        {**DPO, "eval_suites": ("exact_match",)},
    ),
    (
        "load_best_model_at_end compares the evaluations of a run: set eval.interval to the steps "
        "between two of them.",
        {"train": {"load_best_model_at_end": True}},
    ),
    (
        "load_best_model_at_end needs a validation split to compare checkpoints by. "
        "The splits of dataset 'alpaca': train.",
        {
            "train": {"load_best_model_at_end": True},
            "eval_interval": 50,
            "dataset": {"splits": ("train",)},
        },
    ),
    (
        "Export 'tensorrt' is not available. Available: safetensors, merged, onnx, gguf.",
        {"export": ("safetensors", "tensorrt")},
    ),
    (
        "Export 'gguf' is written for llama, mistral, qwen2, qwen3; model 'Llama-2-7B' is gpt2. "
        "Leave gguf out.",
        {"export": ("gguf",), "model": {"config": GPT_2}, "lora": {"target_modules": "all-linear"}},
    ),
    (
        "Export 'gguf' is for models that write text; recipe 'Labels' trains one that chooses "
        "labels. Export onnx instead.",
        {
            "export": ("gguf",),
            "recipe": {"name": "Labels", "method": "text_classification"},
            "dataset": {"row_format": "labelled"},
        },
    ),
    (
        "Export 'merged', 'gguf' needs the weights of model 'Llama-2-7B-GPTQ' unquantized. Choose "
        "its original, or export safetensors alone.",
        {"export": ("gguf", "merged"), "model": GPTQ},
    ),
    (
        "Export 'onnx' needs 50.5 GB of host memory, the machines here have 40.0 GB. Leave it out, "
        "or make it elsewhere from safetensors.",
        {"export": ("onnx",), "resources": {"host_memory_gb": 40.0}},
    ),
    (
        "use_liger_kernel needs a GPU; the job runs on the CPU. Leave it out, or set gpus.",
        {"train": {"use_liger_kernel": True}, "resources": {"gpus": 0}},
    ),
    (
        "max_steps must be at most 1000000000; it is 1000000001.",
        {"train": {"max_steps": 1_000_000_001}},
    ),
    (
        "gpus must be between 0 and 100000; it is -1.",
        {"resources": {"gpus": -1}},
    ),
    (
        "mixed_precision 'fp8' is not known. Known: no, bf16, fp16.",
        {"resources": {"mixed_precision": "fp8"}},
    ),
    (
        "strategy 'pipeline' is not known. Known: ddp, fsdp, zero1, zero2, zero3.",
        {"resources": {"strategy": "pipeline"}},
    ),
    (
        "micro batch = global_batch_size / (grad_accum × gpus) must be a whole number: "
        "8 / (3 × 1) is not.",
        {"train": {"global_batch_size": 8, "grad_accum": 3}},
    ),
    (
        "Mixed precision fp16 does not go with strategy zero2. Use bf16, or ddp.",
        {
            "resources": {"gpus": 2, "strategy": "zero2", "mixed_precision": "fp16"},
            "train": {"dtype": "float32"},
        },
    ),
    (
        "Strategy fsdp cannot share out the weights of model 'Llama-2-7B-GPTQ', which are "
        "quantized already. Use ddp, or QLoRA on the model they were made from.",
        {
            "model": GPTQ,
            "recipe": {"supports_quantized": True},
            "resources": {"gpus": 2, "strategy": "fsdp"},
        },
    ),
    (
        "This job can never run here: it asks for 1 × a100-80gb, and there is 2 × t4, 1 × l4.",
        {"resources": {"cards": (T4, T4, L4)}},
    ),
    (
        "This job can never run here: it asks for 1 × a100-80gb, and there is no GPU.",
        {"resources": {"cards": (CardFacts(gpu_type="cpu"),)}},
    ),
    (
        "bfloat16 needs a card with bfloat16 units, which v100-16gb has not. "
        "Use float32 weights with mixed precision fp16.",
        {"resources": {"gpu_type": "v100"}},
    ),
    (
        "bf16 needs a card with bfloat16 units, which t4 has not. "
        "Use float32 weights with mixed precision fp16.",
        {"resources": {"gpu_type": "t4", "mixed_precision": "bf16"}, "train": {"dtype": "float32"}},
    ),
    (
        "Mixed precision fp16 needs trained weights in float32, not in float16. "
        "Set dtype to float32.",
        {
            "recipe": FULL,
            "train": {"dtype": "float16"},
            "resources": {"mixed_precision": "fp16"},
        },
    ),
    (
        "attn_implementation flash_attention_2 needs a GPU of the Ampere generation or newer; "
        "the job runs on the CPU. Use sdpa.",
        {"train": {"attn_implementation": "flash_attention_2"}, "resources": {"gpus": 0}},
    ),
    (
        "attn_implementation flash_attention_2 needs a GPU of the Ampere generation or newer; "
        "the job runs on t4, which is older. Use sdpa.",
        {
            "train": {"attn_implementation": "flash_attention_2", "dtype": "float16"},
            "resources": {"gpu_type": "t4"},
        },
    ),
    (
        "Not enough disk: checkpoints and exports need 0.2 GB, 0.1 GB are free. "
        "Lower save_total_limit or free space.",
        {"resources": {"disk_free_mb": 100}},
    ),
]

WARNINGS: list[tuple[str, dict[str, Any]]] = [
    (
        "Dataset is small (5000 samples). Consider using a larger dataset for better results.",
        {"dataset": {"num_samples": 5000}},
    ),
    (
        "Dataset 'alpaca' has not been checked yet.",
        {"dataset": {"integrity_checked": False, "integrity_passed": False}},
    ),
    (
        "The run sees each of the 100 rows 80 times and will learn them by heart. "
        "Up to 10 times is usual.",
        {"dataset": {"num_samples": 100}},
    ),
    (
        "The longest row has 900 tokens; rows are cut at max_length 512.",
        {"dataset": {"max_tokens": 900}},
    ),
    (
        "max_length 8192 is above the 4096 tokens that model 'Llama-2-7B' was made for. "
        "Set max_length to 4096 or less.",
        {"train": {"max_length": 8192}},
    ),
    (
        "learning_rate 0.5 is far from the usual for lora: 1e-05 to 0.005.",
        {"train": {"learning_rate": 0.5}},
    ),
    (
        "global_batch_size 8 is more than the dataset's 5 rows: every step sees some of them "
        "twice.",
        {"dataset": {"num_samples": 5}},
    ),
    (
        "warmup_steps 1000 is not less than the run's 1000 steps: the learning rate never reaches "
        "its value.",
        {"train": {"warmup_steps": 1000}},
    ),
    (
        "Strategy zero3 has nothing to shard on one GPU and is ignored.",
        {"resources": {"strategy": "zero3"}},
    ),
    (
        "Strategy fsdp has nothing to shard on the CPU and is ignored.",
        {"resources": {"strategy": "fsdp", "gpus": 0}},
    ),
    (
        "No gpu_type is given, so whether the job fits is not known; times are those of an "
        "a100-80gb.",
        {"resources": {"gpu_type": None}},
    ),
    (
        "Weights in float16 lose small updates and often diverge. bfloat16 is safer, float32 with "
        "mixed precision safest.",
        {"recipe": FULL, "train": {"dtype": "float16"}},
    ),
    (
        "The dataset's row lengths are not known: times assume rows half of max_length long, and "
        "their range is wide.",
        {"dataset": {"mean_tokens": None}},
    ),
    (
        "The size of model 'Llama-2-7B' is not known, so neither memory nor time can be estimated. "
        "Give its config.json or params_b.",
        {"model": {"config": None}},
    ),
]


@pytest.mark.parametrize(("sentence", "changes"), ERRORS, ids=[s for s, _ in ERRORS])
def test_what_stands_in_the_way_is_said(sentence: str, changes: dict[str, Any]) -> None:
    report = check(make_experiment(**changes))
    assert "ERROR: " + sentence in report.errors
    assert not report.ok
    assert len(report.errors) == len(set(report.errors))


@pytest.mark.parametrize(("sentence", "changes"), WARNINGS, ids=[s for s, _ in WARNINGS])
def test_what_is_worth_knowing_is_said(sentence: str, changes: dict[str, Any]) -> None:
    report = check(make_experiment(**changes))
    assert sentence in report.warnings
    assert report.ok, report.errors


def test_an_unknown_card_names_the_known_ones() -> None:
    (told,) = check(make_experiment(resources={"gpu_type": "a1000"})).errors
    assert told.startswith("ERROR: GPU type 'a1000' is not known. Known: a10, a100-40gb, ")
    assert "h200" in told


def test_what_does_not_fit_names_the_numbers_and_the_way_out() -> None:
    report = check(make_experiment(recipe=FULL, train={"dtype": "float32"}))
    (told,) = report.errors
    needs = report.estimated_vram_mb / 1024
    assert told.startswith(
        f"ERROR: Does not fit: needs {needs:.1f} GB of GPU memory, the a100-80gb has 79.1 GB. "
    )
    best = report.fixes[0]
    assert told.endswith(f"{best.title}: {best.estimated_vram_mb / 1024:.1f} GB.")


def test_on_the_cpu_the_memory_of_the_machine_counts() -> None:
    report = check(make_experiment(resources={"gpus": 0, "gpu_type": None, "host_memory_gb": 8.0}))
    needs = report.estimated_vram_mb / 1024
    assert report.errors[0].startswith(
        f"ERROR: Does not fit: needs {needs:.1f} GB of memory, this machine has 8.0 GB."
    )


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
