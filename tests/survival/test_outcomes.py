"""What comes out of a job on a real platform: results that load anywhere, or a clear failure."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.survival.conftest import Yard
from tests.training.trainer import tiny

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
SHORT = {"max_steps": 30, "checkpoint_interval": 30}

GENERATE = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, base = sys.argv[1], sys.argv[2]
tokenizer = AutoTokenizer.from_pretrained(folder)
if base:
    from peft import PeftModel
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
else:
    model = AutoModelForCausalLM.from_pretrained(folder)
ids = tokenizer("1 plus 1 is", return_tensors="pt")
out = model.generate(**ids, max_new_tokens=5, min_new_tokens=5, do_sample=False)
assert out.shape[1] == ids["input_ids"].shape[1] + 5
"""


def generates(folder: Path, base: Path | str = "") -> None:
    """In a Python process that knows nothing of us."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GENERATE, str(folder), str(base)],
        cwd=folder,
        env={**environment, "HF_HUB_OFFLINE": "1"},
        check=True,
        timeout=120,
    )


def export_of(yard: Yard, job_id: str) -> Path:
    return yard.instance.home / "exports" / job_id / "safetensors"


def test_a_job_is_taken_by_a_trainer_that_stood_by(yard: Yard) -> None:
    waiting = yard.wait_for_standbys()
    job_id = yard.submit("warm", train=SHORT)
    job = yard.wait_for_end(job_id)
    assert job["status"] == "COMPLETED", job["failure"]
    taken = [process for process in waiting if not process.is_running()]
    assert len(taken) == 1, "it was not used, or more than one was"
    yard.wait_for_standbys()  # there is another one in its place


def test_a_full_fine_tune_becomes_a_base_model_that_loads_anywhere(yard: Yard) -> None:
    job_id = yard.submit("whole", train=SHORT, eval={"suites": ["exact_match"]})
    job = yard.wait_for_end(job_id)
    assert job["status"] == "COMPLETED", job["failure"]
    assert job["evaluation"]["after"]["eval_loss"] < job["evaluation"]["before"]["eval_loss"]
    assert 0 <= job["evaluation"]["after"]["exact_match"] <= 1
    [model] = yard.get("/api/base-models?q=whole")["models"]
    assert model["metadata"]["job_id"] == job_id
    assert model["metadata"]["base_model_id"] == yard.model_id
    dataset = yard.get(f"/api/datasets/{yard.dataset_id}")
    assert model["metadata"]["dataset_checksum"] == dataset["checksum"]
    assert model["trainable"] is True
    assert "Lineage" in model["model_card"]
    generates(export_of(yard, job_id))
    again = yard.submit("whole again", train=SHORT, base_model_id=model["id"])
    assert yard.wait_for_end(again)["status"] == "COMPLETED"


def test_a_lora_run_becomes_an_adapter_that_peft_loads(yard: Yard) -> None:
    job_id = yard.submit("small addition", method="lora", train=SHORT, lora={"r": 4})
    job = yard.wait_for_end(job_id)
    assert job["status"] == "COMPLETED", job["failure"]
    [adapter] = yard.get("/api/adapters?q=small")["adapters"]
    assert (adapter["base_model_id"], adapter["method"], adapter["r"]) == (yard.model_id, "lora", 4)
    assert adapter["metadata"]["job_id"] == job_id
    generates(export_of(yard, job_id), yard.instance.home / "models" / "tiny")


def test_pythons_own_docstrings_are_learned_to_a_falling_loss(yard: Yard) -> None:
    folder = yard.instance.home / "datasets" / "docstrings"
    folder.mkdir()
    code = "import sys; from pathlib import Path; from trainyard.demo import docstrings as d; "
    subprocess.run(
        [sys.executable, "-c", code + "d.write(Path(sys.argv[1]))", str(folder)],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    dataset = yard.post("/api/datasets", {"name": "docstrings", "storage_path": "docstrings"})
    assert dataset["integrity_passed"], dataset["integrity_report"]
    assert dataset["num_samples"] > 2000
    job_id = yard.submit(
        "docstrings",
        dataset_id=dataset["id"],
        train={"max_steps": 60, "max_length": 128, "checkpoint_interval": 60},
        eval={"interval": 30},
    )
    job = yard.wait_for_end(job_id)
    assert job["status"] == "COMPLETED", job["failure"]
    told = yard.get(f"/api/jobs/{job_id}/events")["events"]
    losses = [row["facts"]["eval_loss"] for row in told if row["event"] == "evaluation"]
    assert len(losses) == 3
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]


# --- What goes wrong -----------------------------------------------------------------------------


def failure_of(yard: Yard, job_id: str) -> Any:
    """The failure, which the page shows too; and nothing was registered under the job's name."""
    job = yard.wait_for_end(job_id)
    assert job["status"] == "FAILED"
    page = yard.request("GET", f"/jobs/{job_id}").text
    for words in (job["failure"]["kind"], job["failure"]["advice"].split("'")[0]):
        assert words in page.replace("&#x27;", "'")
    assert not yard.get(f"/api/base-models?q={job['name']}")["models"]
    assert not yard.get(f"/api/jobs/{job_id}/artifacts")["artifacts"]
    assert not export_of(yard, job_id).exists()
    feed = yard.get("/api/activity?event_type=job_failed")["activities"]
    assert job_id in {row["entity_id"] for row in feed}
    return job["failure"]


def test_a_model_folder_without_a_config_is_refused(yard: Yard) -> None:
    (yard.instance.home / "models" / "hollow").mkdir()
    body = {"name": "hollow", "storage_path": "hollow"}
    answer = yard.request("POST", "/api/base-models", json=body)
    assert answer.status_code == 400
    assert "config.json" in answer.json()["error"]
    assert not yard.get("/api/base-models?q=hollow")["models"]


def test_a_model_whose_config_has_gone_since_fails_clearly(yard: Yard) -> None:
    folder = yard.instance.home / "models" / "fading"
    shutil.copytree(yard.instance.home / "models" / "tiny", folder)
    model = yard.post("/api/base-models", {"name": "fading", "storage_path": "fading"})
    job_id = yard.submit("faded", base_model_id=model["id"], start=False)
    (folder / "config.json").unlink()
    yard.post(f"/api/jobs/{job_id}/start", expect=200)
    failure = failure_of(yard, job_id)
    assert failure["kind"] == "bad_model"
    assert "config" in failure["message"]


def rows_with(yard: Yard, name: str, *lines: str) -> Path:
    folder = yard.instance.home / "datasets" / name
    folder.mkdir()
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_row_that_is_not_json_is_named_and_the_dataset_cannot_be_used(yard: Yard) -> None:
    good = json.dumps(tiny.sums()[0])
    rows_with(yard, "torn", good, '{"prompt": "torn', good)
    dataset = yard.post("/api/datasets", {"name": "torn", "storage_path": "torn"})
    assert dataset["integrity_passed"] is False
    [finding] = [f for f in dataset["integrity_report"]["findings"] if f["code"] == "not_json"]
    assert (finding["file"], finding["line"]) == ("train.jsonl", 2)
    body = {
        "name": "torn",
        "base_model_id": yard.model_id,
        "dataset_id": dataset["id"],
        "recipe_id": yard.recipe("full"),
        "resources": {"gpus": 0},
    }
    answer = yard.request("POST", "/api/jobs", json=body)
    assert answer.status_code == 400
    assert "Dataset failed integrity check" in answer.json()["error"]


def test_a_row_that_breaks_after_the_check_fails_the_job_by_file_and_line(yard: Yard) -> None:
    good = [json.dumps(row) for row in tiny.sums()]
    folder = rows_with(yard, "brittle", *good)
    dataset = yard.post("/api/datasets", {"name": "brittle", "storage_path": "brittle"})
    job_id = yard.submit("brittle rows", dataset_id=dataset["id"], start=False)
    good[6] = "not a row"
    (folder / "train.jsonl").write_text("\n".join(good), encoding="utf-8")
    yard.post(f"/api/jobs/{job_id}/start", expect=200)
    failure = failure_of(yard, job_id)
    assert failure["kind"] == "bad_data"
    assert "train.jsonl" in failure["message"]


def test_rows_that_have_nothing_to_learn_from_are_refused(yard: Yard) -> None:
    rows_with(yard, "mute", json.dumps({"prompt": "say", "completion": ""}))
    dataset = yard.post("/api/datasets", {"name": "mute", "storage_path": "mute"})
    assert dataset["integrity_passed"] is False


@pytest.fixture
def small_disk(yard: Yard) -> Iterator[str]:
    """A job whose run folder is a file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    job_id = yard.submit("full disk", start=False)
    folder = yard.run_dir(job_id)
    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True, timeout=10
    )
    yield job_id
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def test_a_disk_that_fills_fails_the_job_and_says_so(yard: Yard, small_disk: str) -> None:
    yard.post(f"/api/jobs/{small_disk}/start", expect=200)
    assert failure_of(yard, small_disk)["kind"] == "disk_full"
