"""A probe on a real platform: the real trainer measures, and to be killed does not lose it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.survival.conftest import FINAL, TRAIN, Yard
from tests.survival.test_kill import kill_trainer
from tests.trainyard.running.instances import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def ask(yard: Yard) -> str:
    body = {
        "base_model_id": yard.model_id,
        "dataset_id": yard.dataset_id,
        "recipe_id": yard.recipe("full"),
        "train": TRAIN,
        "resources": {"gpus": 0},
    }
    return str(yard.post("/api/experiments/probe", body, expect=202)["id"])


def show(yard: Yard, probe_id: str) -> Any:
    return yard.get(f"/api/experiments/probe/{probe_id}")


def wait_for_status(yard: Yard, probe_id: str, *wanted: str) -> Any:
    wait_for(
        f"probe {probe_id} to be {' or '.join(wanted)}",
        lambda: show(yard, probe_id)["status"] in wanted,
        120,
    )
    return show(yard, probe_id)


def runs(yard: Yard) -> set[Path]:
    return set((yard.instance.home / "runs").iterdir())


def test_it_measures_survives_a_kill_and_leaves_no_file(yard: Yard) -> None:
    before = runs(yard)
    probe_id = ask(yard)
    wait_for("its folder", lambda: runs(yard) - before, 60)
    [folder] = runs(yard) - before
    wait_for("its trainer", lambda: yard.trainers(folder.name), 60)
    kill_trainer(yard, folder.name)
    probe = wait_for_status(yard, probe_id, *FINAL)
    assert (probe["status"], probe["failure"]) == ("COMPLETED", None)
    result = probe["result"]
    assert result["out_of_memory"] is False
    assert result["peak_memory_mb"] > 100
    assert result["report"]["time_per_step_ms"] == pytest.approx(result["step_time_ms"], rel=0.2)
    wait_for("the folder to go", lambda: runs(yard) <= before, 60)
