"""kill -9 of anything in the middle of a running job: the job ends as if nothing had happened."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psutil
import pytest

from tests.survival.conftest import TRAIN, Yard
from tests.trainyard.running.instances import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.fixture(scope="session")
def undisturbed(yard: Yard) -> str:
    job_id = yard.submit("undisturbed")
    assert yard.wait_for_end(job_id)["status"] == "COMPLETED"
    return job_id


def kill_trainer(yard: Yard, job_id: str) -> None:
    for process in yard.trainers(job_id):
        process.kill()


def kill_worker(yard: Yard, job_id: str) -> None:
    pid = yard.instance.pid_of("worker")
    assert pid is not None
    worker = psutil.Process(pid)
    for process in [worker, *worker.children(recursive=True)]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def kill_worker_child(yard: Yard, job_id: str) -> None:
    """Only the process that follows the trainer."""
    [follower] = yard.followers(job_id)
    follower.kill()


def kill_program(name: str) -> Any:
    def kill(yard: Yard, job_id: str) -> None:
        pid = yard.instance.pid_of(name)
        assert pid is not None
        psutil.Process(pid).kill()

    return kill


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param([kill_trainer, kill_worker_child], id="trainer, then worker-child"),
        pytest.param([kill_worker, kill_program("worker")], id="worker, then worker-main"),
        pytest.param([kill_program("web"), kill_program("valkey")], id="web, then valkey"),
    ],
)
def test_the_job_ends_as_if_nothing_had_happened(yard: Yard, undisturbed: str, kills: Any) -> None:
    job_id = yard.submit("disturbed")
    for kill, step in zip(kills, (50, 100), strict=True):  # behind a checkpoint, before the next
        yard.wait_for_step(job_id, step)
        kill(yard, job_id)
    job = yard.wait_for_end(job_id)
    assert job["status"] == "COMPLETED", job["failure"]
    assert job["progress"]["step"] == TRAIN["max_steps"]
    assert yard.losses(job_id) == yard.losses(undisturbed)  # to the last bit
    assert yard.weights(job_id) == yard.weights(undisturbed)
    assert_no_event_is_missing_or_doubled(yard.events(job_id), yard.events(undisturbed))
    assert_told_once(yard, job_id)
    assert not yard.get("/api/jobs?status=RUNNING")["jobs"]
    assert not yard.trainers(job_id)


def test_on_postgresql_redis_and_rabbitmq_a_job_survives_its_worker_as_well(
    server_yard: Yard, yard: Yard, undisturbed: str
) -> None:
    job_id = server_yard.submit("disturbed")
    server_yard.wait_for_step(job_id, 50)
    kill_worker(server_yard, job_id)
    assert server_yard.wait_for_end(job_id)["status"] == "COMPLETED"
    assert server_yard.weights(job_id) == yard.weights(undisturbed)
    assert_no_event_is_missing_or_doubled(server_yard.events(job_id), yard.events(undisturbed))
    assert_told_once(server_yard, job_id)


def assert_no_event_is_missing_or_doubled(
    events: list[dict[str, Any]], undisturbed: list[dict[str, Any]]
) -> None:
    def told(events: list[dict[str, Any]]) -> list[tuple[str, int | None]]:
        moves = ("queued", "running", "requeued")
        return [(row["event"], row["step"]) for row in events if row["event"] not in moves]

    assert told(events) == told(undisturbed)


def assert_told_once(yard: Yard, job_id: str) -> None:
    metrics = yard.get(f"/api/jobs/{job_id}/metrics")["metrics"]
    cursors = sorted(row["cursor"] for row in [*yard.events(job_id), *metrics])
    assert cursors == list(range(1, len(cursors) + 1))
    feed = yard.get("/api/activity?entity_type=job&limit=1000")["activities"]
    mine = Counter(row["event_type"] for row in feed if row["entity_id"] == job_id)
    assert mine == {"job_created": 1, "job_started": 1, "job_completed": 1}


def test_cancel_stops_the_trainer_within_three_seconds_and_leaves_a_checkpoint(
    yard: Yard,
) -> None:
    from safetensors import safe_open

    job_id = yard.submit("to be cancelled", train={"max_steps": 100_000})
    yard.wait_for_step(job_id, 10)
    yard.post(f"/api/jobs/{job_id}/cancel", expect=200)
    seconds = wait_for("the stop", lambda: not yard.trainers(job_id), 10)
    assert seconds < 3
    job = yard.wait_for_end(job_id, 10)
    assert job["status"] == "CANCELLED"
    [checkpoint] = yard.get(f"/api/jobs/{job_id}/checkpoints")["checkpoints"][-1:]
    assert checkpoint["step"] == job["progress"]["step"]
    with safe_open(f"{checkpoint['path']}/model.safetensors", framework="np") as weights:
        assert weights.keys()


def test_a_paused_job_frees_its_slot_and_goes_on_exactly(yard: Yard, undisturbed: str) -> None:
    job_id = yard.submit("paused")
    yard.wait_for_step(job_id, 20)
    yard.post(f"/api/jobs/{job_id}/pause", expect=200)
    yard.wait(job_id, lambda job: job["status"] == "PAUSED", 20)
    assert not yard.trainers(job_id)
    [worker] = yard.get("/api/partitions")["partitions"][0]["workers"]
    assert not any(device["busy"] for device in worker["devices"])
    yard.post(f"/api/jobs/{job_id}/resume", expect=200)
    assert yard.wait_for_end(job_id)["status"] == "COMPLETED"
    assert yard.losses(job_id) == yard.losses(undisturbed)
    assert yard.weights(job_id) == yard.weights(undisturbed)


def test_jobs_queue_run_one_after_another_and_survive_a_restart_of_everything(
    yard: Yard, undisturbed: str
) -> None:
    first, second = yard.submit("first"), yard.submit("second")
    yard.wait_for_step(first, 20)
    waiting = yard.wait(second, lambda job: bool(job["waiting_reason"]), 20)
    assert waiting["status"] == "QUEUED"
    assert waiting["waiting_reason"] == "Waits for the CPU: 'first' runs there now."
    assert yard.instance.process is not None
    yard.instance.process.terminate()
    yard.instance.process.wait(180)  # a run may take TRAINYARD_STOP_SECONDS for its checkpoint
    assert not yard.instance.processes()
    yard.instance.start()
    for job_id in (first, second):
        assert yard.wait_for_end(job_id)["status"] == "COMPLETED"
        assert yard.weights(job_id) == yard.weights(undisturbed)
    jobs = [yard.job(job_id) for job_id in (first, second)]
    assert jobs[0]["finished_at"] <= jobs[1]["finished_at"]
