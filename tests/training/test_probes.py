"""A probe: asked for over the API, run through the real scheduler and runner, and gone without a
trace but for its answer. The trainer is a fake one: a script of a few lines in its place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Project, User
from activity.models import Activity
from tests.contract.rows import STATISTICS
from tests.factories import make_dataset, make_model, make_worker
from training import probes, progress, quotas, reconciler, run_plan, runner, scheduler, tasks
from training.models import (
    Experiment,
    Job,
    Lease,
    Measurement,
    Partition,
    Probe,
    Recipe,
    Worker,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent", "home")]
URL = "/api/experiments/probe"

# Says what a probe of the real trainer says at its end, and how it ended.
MEASURES = """
import json, time
from pathlib import Path
def say(seq, event, **facts):
    line = {"seq": seq, "event": event, "time": time.time(), **facts}
    with open("events.jsonl", "a") as log:
        print(json.dumps(line), file=log, flush=True)
def end(outcome, failure=None):
    ending = {"outcome": outcome, "step": 0, "exports": {}, "evaluation": {}, "failure": failure}
    Path("result.json").write_text(json.dumps(ending))
assert json.loads(Path("run.json").read_text())["probe_steps"] > 0
"""
TELLS = """
say(1, "plan", max_steps=50)
say(2, "measured", steps=7, peak_memory_mb=1500.0, step_seconds=0.25, longest_step_seconds=0.4,
    longest_tokens=128, samples_per_s=32.0, tokens_per_s=900.0)
end("completed")
"""
RUNS_OUT = """
end("failed", {"kind": "out_of_memory", "message": "The GPU ran out.", "advice": "Less."})
"""


@pytest.fixture
def here() -> Worker:
    return make_worker(settings.TRAINYARD_WORKER)


@pytest.fixture
def plan(home: Path, here: Worker, project: Project) -> dict[str, Any]:
    folder = home / "models" / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    rows = home / "datasets" / "dates"
    rows.mkdir()
    (rows / "train.jsonl").write_text('{"prompt": "a", "completion": "b"}\n', encoding="utf-8")
    model = make_model(storage_path=str(folder), hidden_size=64, num_layers=2, vocab_size=400)
    return {
        "base_model_id": str(model.pk),
        "dataset_id": str(make_dataset(storage_path=str(rows), statistics=STATISTICS).pk),
        "recipe_id": str(Recipe.objects.get(name="lora", project=None).pk),
        "train": {"max_steps": 50, "global_batch_size": 8, "packing": True},
        "resources": {"gpus": 0},
    }


@pytest.fixture
def asked(api: APIClient, plan: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request for a probe."""
    answer = api.post(URL, plan, format="json")
    assert answer.status_code == 202, answer.json()
    assert answer["Location"] == f"{URL}/{answer.json()['id']}"
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Job]:
    """Give the waiting job its device and run it, with this script for its trainer."""

    def go(script: str) -> Job:
        path = tmp_path_factory.mktemp("fake") / "fake.py"
        path.write_text(MEASURES + script, encoding="utf-8")
        monkeypatch.setattr(runner, "COMMAND", [sys.executable, str(path)])
        assert scheduler.dispatch() == 1
        job = Job.objects.get()
        tasks.run_job(str(job.pk), job.attempt)
        return job

    return go


def show(api: APIClient, probe: dict[str, Any]) -> dict[str, Any]:
    answer = api.get(f"{URL}/{probe['id']}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_probe_waits_is_run_and_answers_with_what_it_measured(
    api: APIClient, asked: dict[str, Any], run: Callable[[str], Job]
) -> None:
    assert (asked["status"], asked["result"], asked["failure"]) == ("QUEUED", None, None)
    run(TELLS)
    told = show(api, asked)
    assert (told["status"], told["failure"]) == ("COMPLETED", None)
    result = told["result"]
    assert result["out_of_memory"] is False
    assert (result["peak_memory_mb"], result["step_time_ms"]) == (1500.0, 250.0)
    assert (result["steps"], result["longest_tokens"]) == (7, 128)


def test_the_totals_are_corrected_by_what_was_measured(
    api: APIClient, asked: dict[str, Any], run: Callable[[str], Job]
) -> None:
    run(TELLS)
    report = show(api, asked)["result"]["report"]
    parts = report["vram_breakdown"]
    peak_gb = parts["peak_allocated_gb"] + parts["cuda_context_gb"]
    assert peak_gb * 1024 == pytest.approx(1500, rel=0.01)
    assert report["time_per_step_ms"] == pytest.approx(250, rel=0.01)
    assert report["total_time_s"] > 50 * 0.25
    assert asked["preflight"]["time_per_step_ms"] != pytest.approx(250, rel=0.01)


def test_the_totals_are_of_the_run_that_was_asked_about(
    api: APIClient, plan: dict[str, Any], project: Project, run: Callable[[str], Job]
) -> None:
    """Its evaluations, its exports and its quota, though the probe itself has none of them."""
    asked = api.post(
        URL,
        {**plan, "eval": {"interval": 10}, "export": ["merged", "onnx"]},
        format="json",
    ).json()
    Project.objects.filter(pk=project.pk).update(max_storage_gb=0)
    run(TELLS)
    before, after = asked["preflight"], show(api, asked)["result"]["report"]
    assert after["disk_required_mb"] == before["disk_required_mb"]
    assert after["time_breakdown_s"]["evaluation"] > before["time_breakdown_s"]["evaluation"]
    assert after["time_breakdown_s"].keys() == before["time_breakdown_s"].keys()
    assert after["total_time_s"] > before["total_time_s"]
    assert after["ok"] is False
    assert after["errors"][-1].startswith("ERROR: The result needs room: ")


def test_it_leaves_no_file_no_job_and_no_device_taken(
    api: APIClient, home: Path, asked: dict[str, Any], run: Callable[[str], Job]
) -> None:
    before = files_below(home)
    job = run(TELLS)
    assert {path for path in files_below(home) if "sqlite" not in path.name} <= before
    assert not (home / "runs" / str(job.pk)).exists()
    assert not Job.objects.exists()
    assert not Experiment.objects.exists()
    assert not Lease.objects.exists()
    assert show(api, asked)["base_model_id"] == asked["base_model_id"]


def test_its_numbers_teach_the_next_preflight(
    asked: dict[str, Any], run: Callable[[str], Job]
) -> None:
    run(TELLS)
    row = Measurement.objects.get()
    assert (row.of_probe, row.job, row.card) == (True, None, "cpu")
    assert row.measured_step_ms == 250
    assert row.memory_ratio is not None


def test_to_run_out_of_memory_is_a_result(
    api: APIClient, home: Path, asked: dict[str, Any], run: Callable[[str], Job]
) -> None:
    job = run(RUNS_OUT)
    told = show(api, asked)
    assert (told["status"], told["failure"]) == ("COMPLETED", None)
    assert told["result"]["out_of_memory"] is True
    report = told["result"]["report"]
    assert (report["ok"], report["fits"]) == (False, False)
    assert report["errors"][-1] == (
        "ERROR: Does not fit: a probe of these settings ran out of memory. The GPU ran out. Less."
    )
    assert told["result"]["message"] == "The GPU ran out. Less."
    assert asked["preflight"]["headroom_mb"] > 0
    assert report["headroom_mb"] is None  # it did fit by the estimate, and so did it not
    titles = [fix["title"] for fix in report["fixes"]]
    assert titles
    assert not any("Turn off gradient checkpointing" in title for title in titles)
    assert all(
        fix["estimated_vram_mb"] < asked["preflight"]["estimated_vram_mb"]
        for fix in report["fixes"]
    )
    assert not (home / "runs" / str(job.pk)).exists()


def test_any_other_failure_is_one(
    api: APIClient, asked: dict[str, Any], run: Callable[[str], Job]
) -> None:
    failure = {"kind": "bad_data", "message": "No row can be used.", "advice": "Look at them."}
    run(f"end('failed', {failure!r})")
    told = show(api, asked)
    assert (told["status"], told["failure"], told["result"]) == ("FAILED", failure, None)


def test_one_that_waits_is_cancelled_at_once(api: APIClient, asked: dict[str, Any]) -> None:
    answer = api.post(f"{URL}/{asked['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
    again = api.post(f"{URL}/{asked['id']}/cancel")
    assert (again.status_code, again.json()) == (
        409, {"error": "The probe is CANCELLED and cannot become CANCELLED."},
    )  # fmt: skip


def test_one_that_measures_stops_when_it_is_asked_to(
    api: APIClient, home: Path, asked: dict[str, Any], run: Callable[[str], Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (end('stopped'), sys.exit(3)))\n"
        "say(1, 'plan', max_steps=50)\ntime.sleep(600)\n"
    )
    seen: list[int] = []

    def take_over(job: Job, *args: Any) -> None:
        progress.take_over(job, *args)
        if not seen:  # it has begun
            seen.append(api.post(f"{URL}/{asked['id']}/cancel").status_code)

    monkeypatch.setattr("training.runner.take_over", take_over)
    job = run(script)
    assert seen == [200]
    told = show(api, asked)
    assert (told["status"], told["result"]) == ("CANCELLED", None)
    assert not (home / "runs" / str(job.pk)).exists()


def test_a_killed_worker_does_not_lose_it(
    api: APIClient, asked: dict[str, Any], run: Callable[[str], Job]
) -> None:
    run("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert show(api, asked)["status"] == "QUEUED"
    assert Job.objects.get().attempt == 2
    run(TELLS)
    assert show(api, asked)["status"] == "COMPLETED"


def test_what_a_dead_worker_has_left_is_swept_up(
    api: APIClient, home: Path, asked: dict[str, Any], run: Callable[[str], Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with monkeypatch.context() as dying:
        dying.setattr(probes, "tidy", lambda job: None)
        job = run(TELLS)
    assert (home / "runs" / str(job.pk)).exists()
    reconciler.reconcile()
    assert Job.objects.exists()  # it may still be at it
    Probe.objects.update(finished_at=timezone.now() - timedelta(hours=1))
    reconciler.reconcile()
    assert not Job.objects.exists()
    assert not (home / "runs" / str(job.pk)).exists()
    assert show(api, asked)["status"] == "COMPLETED"


def test_it_runs_in_the_partition_that_was_asked_for(api: APIClient, plan: dict[str, Any]) -> None:
    """There and nowhere else, however idle the others are."""
    wanted = Partition.objects.create(name="wanted")
    plan["resources"] = {"gpus": 0, "partition_id": str(wanted.pk)}
    assert api.post(URL, plan, format="json").status_code == 202
    assert scheduler.dispatch() == 0
    there = make_worker(partition="wanted")
    assert scheduler.dispatch() == 1
    assert Job.objects.get().worker == there


def test_it_never_takes_a_device_that_a_job_holds(
    api: APIClient, plan: dict[str, Any], asked: dict[str, Any]
) -> None:
    assert scheduler.dispatch() == 1
    second = api.post(URL, plan, format="json").json()
    assert scheduler.dispatch() == 0
    assert show(api, second)["waiting_reason"].startswith("Waits for the CPU: 'Probe of")


def test_no_list_of_jobs_or_experiments_shows_it(
    api: APIClient, asked: dict[str, Any], run: Callable[[str], Job]
) -> None:
    for path, plural in (("/api/jobs", "jobs"), ("/api/experiments", "experiments")):
        assert api.get(path).json()[plural] == []
    assert api.get(f"/api/jobs/{Job.objects.get().pk}").status_code == 404
    run(TELLS)
    assert not Activity.objects.exists()
    assert [row["id"] for row in api.get(URL).json()["probes"]] == [asked["id"]]


def test_what_it_writes_stays_in_its_folder_and_nothing_helps_it_out(
    asked: dict[str, Any],
) -> None:
    job = Job.objects.get()
    spec = run_plan.plan_of(job)
    folder = str(run_plan.run_dir(job))
    assert spec.cache_dir.startswith(folder)
    assert spec.export_dir.startswith(folder)
    assert spec.probe_steps == probes.STEPS
    assert spec.train.auto_find_batch_size is False
    assert (spec.eval.suites, spec.train.report_to) == ((), ())


def test_the_time_it_held_cards_counts(
    project: Project, asked: dict[str, Any], run: Callable[[str], Job]
) -> None:
    Job.objects.update(gpu_seconds=7200)
    run(TELLS)
    assert quotas.use_of(project)["gpu_hours"] == 2.0


def test_what_cannot_be_is_refused_with_the_report(api: APIClient, plan: dict[str, Any]) -> None:
    bad = make_dataset(statistics=STATISTICS, integrity_passed=False)
    answer = api.post(URL, {**plan, "dataset_id": str(bad.pk)}, format="json")
    assert answer.status_code == 400
    assert "integrity check" in answer.json()["error"]
    assert answer.json()["details"]["preflight"]["ok"] is False
    assert not Probe.objects.exists()


def test_one_that_seems_too_large_is_tried_on_a_card_and_not_on_the_cpu(
    api: APIClient, plan: dict[str, Any]
) -> None:
    make_worker("with-a-card", gpus=1)
    large = {"global_batch_size": 1_000_000, "max_steps": 50}
    on_card = {**plan, "train": large, "resources": {"gpus": 1, "gpu_type": "a100-80gb"}}
    answer = api.post(URL, on_card, format="json")
    assert answer.status_code == 202, answer.json()
    assert answer.json()["preflight"]["fits"] is False
    refused = api.post(URL, {**plan, "train": large}, format="json")
    assert refused.status_code == 400
    assert (
        "A probe on the CPU would take the memory of the whole machine" in (refused.json()["error"])
    )


def test_a_viewer_of_the_project_asks_in_vain(
    viewer: User, token_of: Callable[..., APIClient], plan: dict[str, Any], server_mode: None
) -> None:
    assert token_of(viewer).post(URL, plan, format="json").status_code == 403


def test_a_job_can_be_deleted_from_under_a_late_message(
    asked: dict[str, Any], run: Callable[[str], Job]
) -> None:
    from celery.exceptions import Ignore

    job = run(TELLS)
    with pytest.raises(Ignore):
        tasks.run_job(str(job.pk), 1)
