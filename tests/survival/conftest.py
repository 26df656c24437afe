"""A whole platform of real processes, and a small model and dataset registered in it."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from kombu import Connection
from kombu.exceptions import OperationalError

from tests import postgresql
from tests.training.trainer import tiny
from tests.trainyard.running.instances import Instance, wait_for

FINAL = ("COMPLETED", "FAILED", "CANCELLED")
# Long enough to be caught in the middle, short enough to wait for.
TRAIN = {
    "max_steps": 160,
    "global_batch_size": 16,
    "grad_accum": 2,
    "learning_rate": 3e-3,
    "warmup_steps": 10,
    "checkpoint_interval": 40,
    "max_length": 64,
}


@dataclass
class Yard:
    """The platform as a client sees it, and its processes as an operator does."""

    instance: Instance
    model_id: str = ""
    dataset_id: str = ""
    # One for all: to make one reads every certificate authority of the machine.
    client: httpx.Client = field(default_factory=partial(httpx.Client, timeout=30))

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        url = f"http://127.0.0.1:{self.instance.port}{path}"
        return self.client.request(method, url, **options)

    def get(self, path: str) -> Any:
        """The answer; a web server that is just coming back is waited for."""
        deadline = time.monotonic() + 20
        while True:
            try:
                answer = self.request("GET", path)
                if answer.status_code == 200:
                    return answer.json()
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, f"no answer from {path}"
            time.sleep(0.1)

    def post(self, path: str, body: Any = None, *, expect: int = 201) -> Any:
        answer = self.request("POST", path, json=body)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def recipe(self, method: str) -> str:
        recipes = self.get(f"/api/recipes?method={method}")["recipes"]
        return str(recipes[0]["id"])

    def submit(self, name: str, *, method: str = "full", **changes: Any) -> str:
        """A new job's id."""
        body = {
            "name": name,
            "base_model_id": self.model_id,
            "dataset_id": self.dataset_id,
            "recipe_id": self.recipe(method),
            "train": {**TRAIN, **changes.pop("train", {})},
            "resources": {"gpus": 0},
            **changes,
        }
        return str(self.post("/api/jobs", body)["id"])

    def job(self, job_id: str) -> Any:
        return self.get(f"/api/jobs/{job_id}")

    def wait(self, job_id: str, condition: Callable[[Any], bool], seconds: float = 180) -> Any:
        """The job, once the condition holds of it."""
        found: dict[str, Any] = {}

        def holds() -> bool:
            found.update(self.job(job_id))
            ended_early = found["status"] in FINAL and not condition(found)
            assert not ended_early, f"ended as {found['status']}: {found['failure']}"
            return condition(found)

        wait_for(f"job {job_id}", holds, seconds, every_s=0.1)
        return found

    def wait_for_step(self, job_id: str, step: int) -> Any:
        return self.wait(job_id, lambda job: job["progress"]["step"] >= step)

    def wait_for_end(self, job_id: str, seconds: float = 180) -> Any:
        return self.wait(job_id, lambda job: job["status"] in FINAL, seconds)

    def losses(self, job_id: str) -> list[tuple[int, float]]:
        rows = self.get(f"/api/jobs/{job_id}/metrics")["metrics"]
        return [(row["step"], row["loss"]) for row in rows]

    def events(self, job_id: str) -> list[dict[str, Any]]:
        return list(self.get(f"/api/jobs/{job_id}/events")["events"])

    def weights(self, job_id: str) -> str:
        """The SHA-256 of the exported weights."""
        files = self.get(f"/api/jobs/{job_id}/artifacts")["artifacts"]
        [weights] = [file for file in files if file["path"].endswith("model.safetensors")]
        return str(weights["sha256"])

    def run_dir(self, job_id: str) -> Path:
        return self.instance.home / "runs" / job_id

    def wait_for_standbys(self) -> list[psutil.Process]:
        """The trainers that wait for a run, once each of the worker's processes has one that has
        loaded everything: it takes no time any more."""
        worker = psutil.Process(self.instance.pid_of("worker"))
        command = worker.cmdline()
        wanted = int(command[command.index("--concurrency") + 1])
        found: list[psutil.Process] = []

        def idle() -> bool:
            found[:] = [
                process
                for process in worker.children(recursive=True)
                if "training.trainer.standby" in process.cmdline()
                and process.cwd() == str(self.instance.home / "runs")
            ]
            before = [process.cpu_times().user for process in found]
            time.sleep(0.5)
            after = [process.cpu_times().user for process in found]
            return len(found) == wanted and before == after and min(after) > 1

        wait_for("the standbys", idle, 120)
        return found

    def trainers(self, job_id: str) -> list[psutil.Process]:
        """The processes at work on a job."""
        found = []
        for process in self.instance.processes():
            try:
                if process.cwd() == str(self.run_dir(job_id)):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def followers(self, job_id: str) -> list[psutil.Process]:
        """The worker's processes that follow a job. Never one of somebody else's: a trainer whose
        parent has just died is for a moment the child of whoever takes orphans."""
        ours = set(self.instance.processes())
        found = []
        for trainer in self.trainers(job_id):
            with suppress(psutil.NoSuchProcess):
                found.append(trainer.parent())
        return [parent for parent in found if parent in ours]


@pytest.fixture(scope="session")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """On its embedded default."""
    extra = {"TRAINYARD_STANDBY": "1", "TRAINYARD_ALLOWED_NETWORKS": "127.0.0.1"}
    with running(Instance(tmp_path_factory.mktemp("yard"), extra=extra)) as yard:
        yield yard


@pytest.fixture(scope="session")
def server_yard(
    tmp_path_factory: pytest.TempPathFactory, broker_url: str, rabbitmq: str
) -> Iterator[Yard]:
    """On servers: PostgreSQL, a Redis for the channel layer, RabbitMQ for the messages."""
    with postgresql.own_database() as database:
        extra = {
            "DATABASE_URL": database,
            "REDIS_URL": broker_url,
            "CELERY_BROKER_URL": rabbitmq,
            "TRAINYARD_WORKER": WORKER,
        }
        with running(Instance(tmp_path_factory.mktemp("server"), extra=extra)) as yard:
            yield yard


WORKER = f"survival-{os.getpid()}"


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[str]:
    """A RabbitMQ that answers on this machine. Our queues are removed behind us."""
    url = os.environ.get("TRAINYARD_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//")
    with Connection(url, connect_timeout=3) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0)
        except (OperationalError, OSError) as error:
            pytest.skip(f"no RabbitMQ answers at {url}: {error}")
        yield url
        for queue in ("trainyard", f"worker.{WORKER}"):
            connection.default_channel.queue_delete(queue)


@contextmanager
def running(instance: Instance) -> Iterator[Yard]:
    furnish(instance.home)
    instance.start()
    yard = Yard(instance)
    try:
        yield register(yard)
    finally:
        yard.client.close()
        instance.kill_everything()


def furnish(home: Path) -> None:
    """A model and a dataset in their places."""
    (home / "models").mkdir()
    tiny.make_model(home / "models" / "tiny")
    folder = home / "datasets" / "sums"
    folder.mkdir(parents=True)
    rows = tiny.sums()
    random.Random(0).shuffle(rows)
    tiny.write_rows(folder / "train.jsonl", rows[:80])
    tiny.write_rows(folder / "validation.jsonl", rows[80:])


def register(yard: Yard) -> Yard:
    model = yard.post("/api/base-models", {"name": "tiny", "storage_path": "tiny"})
    dataset = yard.post("/api/datasets", {"name": "sums", "storage_path": "sums"})
    yard.model_id, yard.dataset_id = model["id"], dataset["id"]
    assert json.dumps(dataset["statistics"]["splits"]) == '["train", "validation"]'
    return yard
