"""Sentences that stand in nobody's way: it runs, but a person should know."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.preflight.experiments import FULL, LLAMA_2_7B, make_experiment
from tests.training.preflight.sentences import is_worth_knowing
from training.preflight import CardFacts, Lengths, SuiteFacts, check

PROMPTS = Lengths.of([(100, 3), (700, 1)], begins=[(50, 3), (600, 1)])
CUT = {"lengths": Lengths.of([(100, 800), (900, 100)]), "max_tokens": 900}


WARNINGS: list[tuple[str, dict[str, Any]]] = [
    (
        "Dataset is small (5000 samples). Consider using a larger dataset for better results.",
        {"dataset": {"num_samples": 5000}},
    ),
    (
        "Dataset 'alpaca' has not been checked yet. Check it on its page.",
        {"dataset": {"integrity_checked": False, "integrity_passed": False}},
    ),
    (
        "Nothing is known of the card warp-9 but its memory: times are those of an a100-80gb, and "
        "whether it has bfloat16 units is not known. A probe measures both.",
        {
            "resources": {
                "gpu_type": "warp-9",
                "cards": (CardFacts(gpu_type="warp-9", memory_mb=80_000),),
            }
        },
    ),
    (
        "The run sees each of the 100 rows 80 times and will learn them by heart. "
        "Up to 10 times is usual.",
        {"dataset": {"num_samples": 100}},
    ),
    (
        "The longest row has 900 tokens; rows are cut at max_length 512. To keep all of it, set "
        "max_length to 900.",
        {"dataset": {"max_tokens": 900}},
    ),
    (
        "The longest row has 5000 tokens; rows are cut at max_length 512. The model reads 4096 at "
        "most: split long rows.",
        {"dataset": {"max_tokens": 5000}},
    ),
    (
        "max_length 8192 is above the 4096 tokens that model 'Llama-2-7B' was made for. "
        "Set max_length to 4096 or less.",
        {"train": {"max_length": 8192}},
    ),
    (
        "Of lora target_modules v_porj, a.k_proj are not in model 'Llama-2-7B'. It has q_proj, "
        "k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj; all-linear means all of them.",
        {"lora": {"target_modules": ("q_proj", "v_porj", "a.k_proj")}},
    ),
    (
        "learning_rate 0.5 is far from the usual for lora: 1e-05 to 0.005.",
        {"train": {"learning_rate": 0.5}},
    ),
    (
        "global_batch_size 8 is more than the dataset's 5 rows: every step sees some of them "
        "twice. Set it to that or less.",
        {"dataset": {"num_samples": 5}},
    ),
    (
        "warmup_steps 1000 is not less than the run's 1000 steps: the learning rate never reaches "
        "its value. Set it below that; a tenth of them is usual.",
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
        "No worker of partition 'night' is running now: the job will wait until one comes.",
        {"resources": {"idle_partition": "night"}},
    ),
    (
        "No worker that is running now has 1 × a100-80gb: the job will wait until one comes.",
        {
            "resources": {
                "cards": (
                    CardFacts(gpu_type="a100-80gb", worker="a", is_running=False),
                    CardFacts(gpu_type="l4", worker="b"),
                )
            }
        },
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
    (
        "11 % of the rows are longer than max_length 512 and are cut, and 23 % of all tokens are "
        "lost. With max_length 900 it would be at most 1 %.",
        {"dataset": CUT},
    ),
    (
        "About 11 % of the rows are longer than max_length 512 and are cut, and 23 % of all tokens "
        "are lost. With max_length 900 it would be at most 1 %.",
        {"dataset": {"lengths": Lengths.of([(100, 800), (900, 100)], basis="guessed")}},
    ),
    (
        "11 % of the rows are longer than max_length 512 and are cut, and 23 % of all tokens are "
        "lost. The model reads 800 at most: split long rows.",
        {"dataset": CUT, "model": {"context_length": 800}},
    ),
    (
        "25 % of the rows are left out, as their prompts fill max_length 512 and nothing of the "
        "answer is left. The longest prompt has 600 tokens: raise max_length, or shorten prompts.",
        {"dataset": {"lengths": PROMPTS, "max_tokens": 700}},
    ),
    (
        "With attn_implementation eager the rows of a pack are padded to the longest of them, so "
        "packing saves nothing. Use sdpa, or leave packing out.",
        {"train": {"packing": True, "attn_implementation": "eager"}},
    ),
    (
        "In models of this family the rows of a pack are padded to the longest of them, so packing "
        "saves nothing. Leave packing out.",
        {
            "train": {"packing": True},
            "model": {"config": LLAMA_2_7B | {"model_type": "stablelm"}},
        },
    ),
    (
        "eval.interval 50 measures nothing without a validation split. The splits of dataset "
        "'alpaca': train. Hold some rows out as one on the dataset's page, or leave it out.",
        {"eval_interval": 50, "dataset": {"splits": ("train",)}},
    ),
    (
        "How long the evaluation suites (mmlu) take is not known, so the total time is without "
        "them.",
        {"eval_suites": ("mmlu",), "suites": (SuiteFacts(name="mmlu"),)},
    ),
    (
        "The run sees each of the 5200 rows 15 times and will learn them by heart. "
        "Up to 10 times is usual.",
        {"dataset": {"num_samples": 5200}, "train": {"max_steps": None, "num_train_epochs": 15.0}},
    ),
]


def test_the_doubt_about_a_card_that_nobody_knows_is_told() -> None:
    cards = (CardFacts(gpu_type="warp-9", memory_mb=80_000),)
    told = check(make_experiment(resources={"gpu_type": "warp-9", "cards": cards})).confidence
    known = check(make_experiment()).confidence
    assert told is not None
    assert known is not None
    assert told.time_percent > 10 * known.time_percent
    assert told.basis == "a card whose rate nobody has told"


@pytest.mark.parametrize(("sentence", "changes"), WARNINGS, ids=[s for s, _ in WARNINGS])
def test_what_is_worth_knowing_is_said(sentence: str, changes: dict[str, Any]) -> None:
    is_worth_knowing(sentence, **changes)


@pytest.mark.parametrize(
    "target", ["lm_head", "embed_tokens", "self_attn.q_proj", "model.layers.3.mlp.up_proj"]
)
def test_targets_that_peft_finds_get_no_word(target: str) -> None:
    report = check(make_experiment(lora={"target_modules": (target,)}))
    assert (report.errors, report.warnings) == ((), ())


def test_of_few_rows_that_are_cut_only_the_longest_is_told() -> None:
    lengths = Lengths.of([(100, 999), (900, 1)])
    warnings = check(make_experiment(dataset={"lengths": lengths, "max_tokens": 900})).warnings
    assert warnings == (
        "The longest row has 900 tokens; rows are cut at max_length 512. To keep all of it, set "
        "max_length to 900.",
    )
