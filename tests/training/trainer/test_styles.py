"""Each way to train, in the real process: the loss falls, what is counted rises, the export loads,
and a run that was killed ends as one that was not."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.training.trainer import runs, styles, tiny
from training.trainer import events
from training.trainer.objectives import reference
from training.trainer.result import Result

PEFT = {"use_peft": True, "learning_rate": 1e-2}
MakeStyle = Callable[..., Path]

# What is trained, by which settings, and the number that shows it.
STYLES: dict[str, tuple[str, dict[str, Any], str]] = {
    "pretrain": ("pretrain", {"max_length": 48}, "token_accuracy"),
    "dpo": ("dpo", {"learning_rate": 1e-3}, "rewards_accuracy"),
    "dpo-lora": ("dpo", PEFT, "rewards_margin"),
    "orpo": ("orpo", {"beta": 0.5}, "rewards_margin"),
    "kto": ("kto", {"learning_rate": 1e-3, "beta": 0.5}, "rewards_margin"),
    "kto-4bit": ("kto", {**PEFT, "load_in_4bit": True, "beta": 0.5}, "rewards_margin"),
    "text": ("text_classification", {}, "macro_f1"),
    "text-lora": ("text_classification", PEFT, "accuracy"),
    "image": ("image_classification", {}, "macro_f1"),
    "image-lora": ("image_classification", PEFT, "accuracy"),
}


@pytest.fixture(scope="session")
def make_style(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> MakeStyle:
    """``make_style("dpo", "name", **train)``: a run directory for a method with data for it."""
    folder = tmp_path_factory.mktemp("styles")
    vision = styles.make_vision_model(folder / "vision")
    places: dict[str, tuple[Path, Path]] = {}
    for name, rows in {
        "pairs": styles.preferences(),
        "judged": styles.judged(),
        "labelled": styles.labelled(),
        "documents": styles.documents(),
    }.items():
        (folder / name).mkdir()
        places[name] = (
            tiny.write_rows(folder / name / "train.jsonl", rows[:80]),
            tiny.write_rows(folder / name / "validation.jsonl", rows[80:]),
        )
    places["images"] = (
        styles.make_images(folder / "images" / "train", 20),
        styles.make_images(folder / "images" / "validation", 6, seed=1),
    )
    data = {
        "pretrain": "documents",
        "dpo": "pairs",
        "orpo": "pairs",
        "kto": "judged",
        "text_classification": "labelled",
        "image_classification": "images",
    }

    def make(method: str, name: str, **train: Any) -> Path:
        rows, held_out = places[data[method]]
        settings = {"max_steps": 30, "learning_rate": 3e-3, "checkpoint_interval": 10, **train}
        return runs.write_run(
            tmp_path_factory.mktemp("runs") / name,
            vision if method == "image_classification" else base_model,
            rows,
            method=method,
            dataset={"validation": [str(held_out)]},
            train=settings,
            lora={"r": 8, "lora_alpha": 16},
        )

    return make


@pytest.fixture(scope="session")
def finished(make_style: MakeStyle) -> Callable[[str], Path]:
    """The run of each style, done once."""
    done: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in done:
            method, train, _ = STYLES[name]
            run_dir = make_style(method, name, **train)
            assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
            done[name] = run_dir
        return done[name]

    return run


@pytest.mark.parametrize("name", STYLES)
def test_the_loss_falls_and_what_is_counted_rises(
    name: str, finished: Callable[[str], Path]
) -> None:
    run_dir = finished(name)
    losses = list(runs.losses(run_dir).values())
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    result = Result.read(run_dir)
    assert result is not None
    before, after = result.evaluation["before"], result.evaluation["after"]
    assert after["eval_loss"] < before["eval_loss"]
    number = f"eval_{STYLES[name][2]}"
    assert after[number] > before[number]


@pytest.mark.parametrize("variant", ["use_rslora", "use_dora"])
def test_variants_of_lora_learn_and_come_back_with_their_export(
    variant: str, make_run: Callable[..., Path]
) -> None:
    run_dir = make_run(
        variant,
        method="lora",
        train={"max_steps": 30, "learning_rate": 1e-2},
        lora={"r": 8, "lora_alpha": 16, variant: True},
    )
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    losses = list(runs.losses(run_dir).values())
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    [export] = runs.said(run_dir, events.EXPORT)  # reloaded and compared
    assert export["max_logit_difference"] <= export["tolerance"]


@pytest.mark.parametrize("name", ["dpo", "dpo-lora", "kto"])
def test_before_the_first_step_model_and_reference_are_the_same(
    name: str, finished: Callable[[str], Path]
) -> None:
    first = runs.said(finished(name), events.EVALUATION)[0]
    assert first["eval_rewards_margin"] == pytest.approx(0, abs=1e-5)
    assert runs.losses(finished(name))[1] == pytest.approx(0.5 if name == "kto" else 0.6931, 1e-3)


def test_documents_fill_every_block(finished: Callable[[str], Path]) -> None:
    data = runs.said(finished("pretrain"), events.DATA)[0]
    assert data["train_rows"] == -(-data["train_tokens"] // 48)
    assert data["dropped_rows"] == data["truncated_rows"] == 0


LOAD = """
import json, sys
from pathlib import Path
from peft import PeftModel
from PIL import Image
from transformers import (AutoImageProcessor, AutoModelForImageClassification,
    AutoModelForSequenceClassification, AutoTokenizer)
for kind, base, folder in json.loads(sys.argv[1]):
    folder = Path(folder)
    auto = AutoModelForSequenceClassification if kind == "text" else AutoModelForImageClassification
    if (folder / "adapter_config.json").exists():
        labels = json.loads((folder / "id2label.json").read_text())
        settings = {"id2label": labels, "num_labels": len(labels)}
        whole = auto.from_pretrained(base, **settings, ignore_mismatched_sizes=True)
        model = PeftModel.from_pretrained(whole, folder).eval()
    else:
        model = auto.from_pretrained(folder)
        labels = {str(number): label for number, label in model.config.id2label.items()}
    if kind == "text":
        tokenizer = AutoTokenizer.from_pretrained(folder)
        inputs = [tokenizer(t, return_tensors="pt") for t in ("9 plus 9 is 18", "1 plus 0 is 1")]
    else:
        images = [Image.new("RGB", (24, 20), c) for c in ((60, 140, 60), (60, 60, 140))]
        process = AutoImageProcessor.from_pretrained(folder)
        inputs = [process(image, return_tensors="pt") for image in images]
    print(*(labels[str(model(**one).logits.argmax().item())] for one in inputs))
"""


def test_classifiers_load_in_a_plain_process_and_name_the_labels(
    finished: Callable[[str], Path],
) -> None:
    wanted = []
    for kind in ("text", "image"):
        full, lora = finished(kind), finished(f"{kind}-lora")
        base = json.loads((lora / "run.json").read_text())["base_model"]["path"]
        folders = [
            full / "exports" / "safetensors",
            lora / "exports" / "safetensors",
            lora / "checkpoints" / "step-000030",
        ]
        wanted += [(kind, base, str(folder)) for folder in folders]
    process = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(wanted)],
        capture_output=True,
        text=True,
        cwd=full,
        timeout=runs.PATIENCE_S,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines() == ["large small"] * 3 + ["green blue"] * 3


def has_reached(run_dir: Path, step: int) -> bool:
    return runs.last_step(run_dir) >= step


@pytest.mark.parametrize("name", ["dpo", "text-lora"])
def test_a_killed_run_ends_as_if_nothing_had_happened(
    name: str, finished: Callable[[str], Path], make_style: MakeStyle
) -> None:
    undisturbed = finished(name)
    method, train, _ = STYLES[name]
    run_dir = make_style(method, f"{name}-killed", **train)
    moments = random.randint(11, 19), random.randint(21, 29)
    for moment, how in zip(moments, (signal.SIGKILL, signal.SIGTERM), strict=True):
        with runs.trainer(run_dir) as process:
            runs.wait_until(partial(has_reached, run_dir, moment), process)
            process.send_signal(how)
            process.wait(runs.PATIENCE_S)
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    assert runs.losses(run_dir) == runs.losses(undisturbed), moments
    assert runs.weights_hash(run_dir) == runs.weights_hash(undisturbed), moments
    results = [Result.read(folder) for folder in (run_dir, undisturbed)]
    assert results[0] is not None
    assert results[1] is not None
    assert results[0].evaluation == results[1].evaluation


def test_a_full_run_does_not_go_on_without_its_reference(make_style: MakeStyle) -> None:
    run_dir = make_style("dpo", "forgetful", max_steps=10, checkpoint_interval=5)
    with runs.trainer(run_dir) as process:
        runs.wait_until(lambda: runs.last_step(run_dir) >= 6, process)
        process.kill()
    (run_dir / reference.FILE_NAME).unlink()
    assert runs.finish(run_dir) == 1
    result = Result.read(run_dir)
    assert result is not None
    assert result.failure is not None
    assert "reference.npy" in result.failure.message


def test_the_base_model_is_asked_only_about_rows_that_are_looked_at(make_style: MakeStyle) -> None:
    import numpy as np

    run_dir = make_style("dpo", "short", max_steps=2, global_batch_size=4)
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    assert np.load(run_dir / reference.FILE_NAME).shape == (2 * 4 + 20, 2)
