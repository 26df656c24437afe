"""A probe takes a few real steps, the longest rows first, and leaves nothing but its numbers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.trainer import runs
from training.trainer import events, loop
from training.trainer.result import COMPLETED, Result
from training.trainer.spec import RunSpec
from training.trainer.stopping import Stop

# A row that is far longer than all others, and one step that would never meet it by chance.
LONG_ROW = {"prompt": "1 plus 1 is", "completion": " and so on" * 10}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, sums: tuple[Path, Path]) -> Path:
    path = tmp_path_factory.mktemp("rows") / "train.jsonl"
    lines = sums[0].read_text(encoding="utf-8").splitlines() * 20
    path.write_text("\n".join([*lines, json.dumps(LONG_ROW), ""]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def probed(make_run: Callable[..., Path], rows: Path) -> Path:
    run_dir = make_run(
        "probed",
        method="lora",
        train={"max_steps": 1000, "global_batch_size": 4, "grad_accum": 2, "max_length": 128},
        dataset={"train": [str(rows)]},
        probe_steps=3,
    )
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    return run_dir


def measured(run_dir: Path) -> dict[str, Any]:
    (line,) = runs.said(run_dir, events.MEASURED)
    return line


def test_it_tells_what_the_run_would_take(probed: Path) -> None:
    told = measured(probed)
    assert told["steps"] == 5
    assert told["peak_memory_mb"] > 100  # the whole process on the CPU
    assert told["step_seconds"] > 0
    assert told["longest_step_seconds"] > 0
    assert told["samples_per_s"] == pytest.approx(4 / told["step_seconds"], rel=0.01)
    assert told["tokens_per_s"] > told["samples_per_s"]


def test_the_longest_row_was_among_its_steps(probed: Path) -> None:
    assert measured(probed)["longest_tokens"] > 100


def test_it_knows_how_many_steps_the_run_would_have(probed: Path) -> None:
    assert runs.said(probed, events.PLAN)[0]["max_steps"] == 1000


def test_it_ends_well_and_leaves_nothing(probed: Path) -> None:
    ending = Result.read(probed)
    assert ending is not None
    assert (ending.outcome, ending.exports, ending.failure) == (COMPLETED, {}, None)
    assert not (probed / "exports").exists()
    assert not list((probed / "checkpoints").glob("*"))
    assert not runs.said(probed, events.STEP)


def test_preferences_can_be_probed(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Their reference is worked out for the rows of the probe alone."""
    pairs = [
        {"prompt": f"{a} plus {b} is", "chosen": f" {a + b}", "rejected": f" {a - b}"}
        for a in range(6)
        for b in range(6)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    run_dir = make_run(
        "probed-pairs",
        method="dpo",
        train={"max_steps": 1000, "global_batch_size": 4},
        dataset={"train": [str(path)], "validation": []},
        probe_steps=2,
    )
    with contextlib.closing(events.EventLog(run_dir)) as log:
        assert loop.train(RunSpec.read(run_dir), run_dir, log, Stop()).outcome == COMPLETED
    assert measured(run_dir)["steps"] == 4
