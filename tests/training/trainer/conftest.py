"""One small model, one small dataset, and a few finished runs that many tests look at."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.trainer import runs, tiny

# Long enough to be caught in the middle, short enough to wait for.
LONG = {
    "max_steps": 240,
    "global_batch_size": 8,
    "grad_accum": 2,
    "learning_rate": 3e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 10,
    "weight_decay": 0.01,
    "checkpoint_interval": 40,
}


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return tiny.make_tokenizer()


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of training rows and of held-out rows."""
    folder = tmp_path_factory.mktemp("sums")
    rows = tiny.sums()
    random.Random(0).shuffle(rows)
    return (
        tiny.write_rows(folder / "train.jsonl", rows[:80]),
        tiny.write_rows(folder / "validation.jsonl", rows[80:]),
    )


@pytest.fixture(scope="session")
def make_run(
    tmp_path_factory: pytest.TempPathFactory, base_model: Path, sums: tuple[Path, Path]
) -> Callable[..., Path]:
    """``make_run("name", method="lora", train={...})``: a run directory, nothing started yet."""
    train, validation = sums

    def make(name: str, **settings: Any) -> Path:
        dataset = {"validation": [str(validation)], **settings.pop("dataset", {})}
        run_dir = tmp_path_factory.mktemp("runs") / name
        return runs.write_run(run_dir, base_model, train, dataset=dataset, **settings)

    return make


@pytest.fixture(scope="session")
def long_full_run(make_run: Callable[..., Path]) -> Callable[[str], Path]:
    evaluation = {"interval": 60, "suites": ["exact_match"], "exact_match_rows": 10}
    return lambda name: make_run(name, train=LONG, eval=evaluation)


@pytest.fixture(scope="session")
def long_lora_run(make_run: Callable[..., Path]) -> Callable[[str], Path]:
    """With dropout, so that it repeats only if random states are restored."""
    return lambda name: make_run(
        name,
        method="lora",
        train=LONG | {"learning_rate": 2e-2, "max_steps": 120},
        lora={"r": 8, "lora_alpha": 16, "lora_dropout": 0.1},
    )


@pytest.fixture(scope="session")
def full_run(long_full_run: Callable[[str], Path]) -> Path:
    """A full fine-tune that nothing disturbed."""
    run_dir = long_full_run("full")
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    return run_dir


@pytest.fixture(scope="session")
def lora_run(long_lora_run: Callable[[str], Path]) -> Path:
    run_dir = long_lora_run("lora")
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    return run_dir


@pytest.fixture(scope="session")
def qlora_run(make_run: Callable[..., Path]) -> Path:
    run_dir = make_run(
        "qlora",
        method="qlora",
        train={"max_steps": 40, "learning_rate": 2e-2, "gradient_checkpointing": True},
        lora={"r": 8, "lora_alpha": 16},
    )
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    return run_dir
