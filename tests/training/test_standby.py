"""A worker's process uses the trainer that it keeps ready, or starts one as if there were none."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainyard.running.instances import wait_for
from training import standby
from training.standby import Keeper
from training.trainer import orders, spec

# In the place of a real one: says that it is ready, and writes down what it is told.
FAKE = """
import json, pathlib, sys
{before}
print("ready", flush=True)
order = json.loads(sys.stdin.readline())
pathlib.Path(order["run_dir"], "told.json").write_text(json.dumps(order["environment"]))
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return run_folder(tmp_path / "run", gpus=0)


def run_folder(folder: Path, *, gpus: int) -> Path:
    folder.mkdir()
    plan = {
        "run_id": "1",
        "name": "run",
        "method": "full",
        "base_model": {"path": "model"},
        "dataset": {"train": ["rows.jsonl"]},
        "export_dir": "exports",
        "device": {"gpus": gpus},
    }
    (folder / "run.json").write_text(json.dumps(plan), encoding="utf-8")
    return folder


@pytest.fixture
def keep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path, settings: Any
) -> Iterator[Callable[..., Keeper]]:
    """A keeper whose standby runs the fake, with these lines before it is ready."""
    settings.TRAINYARD_STANDBY = True
    keeper = Keeper()

    def begin(before: str = "") -> Keeper:
        script = tmp_path / "fake.py"
        script.write_text(FAKE.format(before=before), encoding="utf-8")
        monkeypatch.setattr(standby, "COMMAND", [sys.executable, str(script)])
        keeper.begin()
        return keeper

    yield begin
    keeper.end()


def is_ready(keeper: Keeper) -> bool:
    assert keeper.standby is not None
    return not keeper.standby.defect()


def test_the_run_is_handed_over_with_its_environment(
    keep: Callable[..., Keeper], run_dir: Path
) -> None:
    keeper = keep()
    wait_for("the standby", lambda: is_ready(keeper), 10)
    kept = keeper.standby
    assert kept is not None
    process = keeper.take(run_dir, {"CUDA_VISIBLE_DEVICES": "1"})
    assert process is kept.process
    assert process.wait(10) == 0
    assert json.loads((run_dir / "told.json").read_text()) == {"CUDA_VISIBLE_DEVICES": "1"}


def test_each_serves_one_run_and_is_then_replaced(
    keep: Callable[..., Keeper], run_dir: Path
) -> None:
    keeper = keep()
    wait_for("the standby", lambda: is_ready(keeper), 10)
    first = keeper.take(run_dir, {})
    assert keeper.take(run_dir, {}) is None
    keeper.replace()
    assert keeper.standby is not None
    assert keeper.standby.process is not first
    second = keeper.standby
    keeper.replace()
    assert keeper.standby is second
    assert first is not None
    first.wait(10)


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("import time; time.sleep(600)", "it has not loaded everything yet"),
        ("sys.exit(1)", "it has died"),
    ],
)
def test_one_that_is_of_no_use_is_ended_and_the_run_starts_by_itself(
    keep: Callable[..., Keeper], run_dir: Path, before: str, why: str
) -> None:
    keeper = keep(before)
    kept = keeper.standby
    assert kept is not None
    wait_for("what is wrong with it", lambda: kept.defect() == why, 10)
    assert keeper.take(run_dir, {}) is None
    assert kept.process.returncode is not None
    assert keeper.standby is None


def test_one_that_loaded_code_which_has_changed_is_not_used(
    keep: Callable[..., Keeper], run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = keep()
    wait_for("the standby", lambda: is_ready(keeper), 10)
    monkeypatch.setattr(standby, "state_of_the_code", lambda: (("loop.py", 1),))
    assert keeper.standby is not None
    assert keeper.standby.defect() == "the code has changed since it was loaded"
    assert keeper.take(run_dir, {}) is None


def test_the_state_of_the_code_tells_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spec.py").touch()
    monkeypatch.setattr(spec, "__file__", str(tmp_path / "spec.py"))
    before = standby.state_of_the_code()
    assert standby.state_of_the_code() == before
    os.utime(tmp_path / "spec.py", (1, 1))
    assert standby.state_of_the_code() != before
    (tmp_path / "loop.py").touch()
    assert len(standby.state_of_the_code()) == len(before) + 1


def test_a_run_of_several_processes_leaves_it_to_the_next(
    keep: Callable[..., Keeper], tmp_path: Path, run_dir: Path
) -> None:
    keeper = keep()
    wait_for("the standby", lambda: is_ready(keeper), 10)
    assert keeper.take(run_folder(tmp_path / "two", gpus=2), {}) is None
    process = keeper.take(run_dir, {})
    assert process is not None
    process.wait(10)


def test_a_run_that_cannot_be_starts_by_itself_and_says_so_itself(
    keep: Callable[..., Keeper], run_dir: Path
) -> None:
    keeper = keep()
    kept = keeper.standby
    (run_dir / "run.json").write_text('{"an older setting": 1}', encoding="utf-8")
    assert keeper.take(run_dir, {}) is None
    assert keeper.standby is kept


def test_none_is_kept_where_the_setting_says_so(keep: Callable[..., Keeper], settings: Any) -> None:
    settings.TRAINYARD_STANDBY = False
    assert keep().standby is None


def test_it_answers_prompts_just_as_well(keep: Callable[..., Keeper], tmp_path: Path) -> None:
    folder = tmp_path / "serving"
    folder.mkdir()
    orders.ServingSpec(base="model").write(folder)
    keeper = keep()
    wait_for("the standby", lambda: is_ready(keeper), 10)
    process = keeper.take(folder, {})
    assert process is not None
    assert process.wait(10) == 0
