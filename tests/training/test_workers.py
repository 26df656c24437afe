"""A worker writes down what it has, and keeps saying that it lives."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from tests.factories import make_job, make_lease
from training import checking, runner, workers
from training.cards import Card, Cards
from training.models import Device, Status, Worker
from training.trainer import cpu_rate

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
CARDS = [
    Card(0, "NVIDIA A100-SXM4-80GB", 81_920, 80_000, "8.0", "GPU-1"),
    Card(1, "NVIDIA Unheard Of 9", 4096),
]
SLICE = Card(100, "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9856, 9800, "8.0", "MIG-7", card_index=0)


def devices(worker: Worker) -> list[tuple[str, int, str]]:
    return list(worker.devices.values_list("kind", "index", "gpu_type"))


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[Card]:
    found = list(CARDS)
    monkeypatch.setattr("training.cards.read", lambda: Cards("570.86.15", tuple(found)))
    return found


def test_it_has_its_cpu_and_its_cards(cards: list[Card]) -> None:
    worker = workers.register("here", uuid.uuid4())
    assert devices(worker) == [
        ("cpu", 0, ""),
        ("cuda", 0, "a100-80gb"),
        ("cuda", 1, "unheard-of-9"),
    ]
    assert worker.partition.name == "default"
    assert worker.cpu_threads > 0
    assert worker.host_memory_mb > 0


def test_a_card_that_is_gone_at_the_next_start_is_forgotten(cards: list[Card]) -> None:
    before = workers.register("here", uuid.uuid4())
    cpu = Device.objects.get(kind="cpu")
    cards.pop()
    after = workers.register("here", uuid.uuid4())
    assert after.pk == before.pk
    assert [index for kind, index, _ in devices(after) if kind == "cuda"] == [0]
    assert Device.objects.get(kind="cpu") == cpu


def test_a_beat_says_that_it_lives(cards: list[Card]) -> None:
    heart = workers.Heart("here")
    heart.beat()
    Worker.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    heart.beat()
    assert timezone.now() - Worker.objects.get().seen_at < timedelta(seconds=10)


def test_the_first_beat_gives_back_what_an_earlier_start_was_running(cards: list[Card]) -> None:
    worker = workers.register("here", uuid.uuid4())
    job = make_job(status=Status.RUNNING, worker=worker)
    workers.Heart("here").beat()
    job.refresh_from_db()
    assert (job.status, job.attempt) == (Status.QUEUED, 2)


def test_a_worker_whose_row_was_deleted_comes_back(cards: list[Card]) -> None:
    heart = workers.Heart("here")
    heart.beat()
    Worker.objects.all().delete()
    heart.beat()
    heart.beat()
    assert Worker.objects.get().name == "here"


def test_it_says_what_is_free_and_by_which_driver(cards: list[Card]) -> None:
    worker = workers.register("here", uuid.uuid4())
    assert worker.driver == "570.86.15"
    assert worker.host_memory_free_mb
    card = worker.devices.get(kind="cuda", index=0)
    assert (card.memory_free_mb, card.compute_capability, card.uuid) == (80_000, "8.0", "GPU-1")


def test_it_looks_again_from_time_to_time(cards: list[Card]) -> None:
    heart = workers.Heart("here")
    heart.beat()
    cards[0] = replace(cards[0], memory_free_mb=7)
    heart.beat()
    assert Device.objects.get(index=0, kind="cuda").memory_free_mb == 80_000
    heart.looked_at -= workers.LOOK_SECONDS
    heart.beat()
    assert Device.objects.get(index=0, kind="cuda").memory_free_mb == 7


def test_a_card_that_goes_while_a_job_has_it_is_forgotten_after_the_job(
    cards: list[Card],
) -> None:
    worker = workers.register("here", uuid.uuid4())
    job = make_job(status=Status.RUNNING, worker=worker)
    lease = make_lease(job, worker.devices.get(kind="cuda", index=1))
    cards.pop()
    workers.look_again(worker)
    assert worker.devices.filter(kind="cuda", index=1).exists()
    lease.delete()
    workers.look_again(worker)
    assert not worker.devices.filter(kind="cuda", index=1).exists()


def test_a_slice_is_a_device_that_is_called_by_its_own_name(cards: list[Card]) -> None:
    cards.append(SLICE)
    worker = workers.register("here", uuid.uuid4())
    slice_ = worker.devices.get(index=100)
    assert slice_.gpu_type == "a100-sxm4-80gb-mig-1g-10gb"
    job = make_job(status=Status.RUNNING, worker=worker)
    make_lease(job, slice_)
    make_lease(job, worker.devices.get(kind="cuda", index=0))
    assert runner._environment(job)["CUDA_VISIBLE_DEVICES"] == "0,MIG-7"


def test_it_says_how_fast_its_cpu_is_once_a_standby_has_noted_it(
    cards: list[Card], api: APIClient, settings: Any, tmp_path: Path
) -> None:
    settings.TRAINYARD_CPU_RATE = tmp_path / "cpu_rate.json"
    worker = workers.register("here", uuid.uuid4())
    assert worker.cpu_gflops is None
    noted = {"machine": cpu_rate.machine(), "threads": worker.cpu_threads, "gflops": 190.5}
    settings.TRAINYARD_CPU_RATE.write_text(json.dumps(noted))
    workers.look_again(worker)
    [partition] = api.get("/api/partitions").json()["partitions"]
    assert partition["workers"][0]["cpu_gflops"] == 190.5
    assert checking.resources_of({"gpus": 0}).cpu_gflops == 190.5


def test_partitions_show_what_there_is(cards: list[Card], api: APIClient) -> None:
    workers.register("here", uuid.uuid4())
    [partition] = api.get("/api/partitions").json()["partitions"]
    [worker] = partition["workers"]
    assert (worker["driver"], worker["cpu_threads"] > 0) == ("570.86.15", True)
    assert 0 < worker["host_memory_free_mb"] <= worker["host_memory_mb"]
    card = next(device for device in worker["devices"] if device["gpu_type"] == "a100-80gb")
    assert (card["memory_free_mb"], card["compute_capability"]) == (80_000, "8.0")
    assert (card["card_index"], card["busy"]) == (None, False)
