"""A worker writes down what it has, and keeps saying that it lives."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import make_job
from training import workers
from training.cards import Card
from training.models import Device, Status, Worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
CARDS = [Card(0, "NVIDIA A100-SXM4-80GB", 81_920), Card(1, "NVIDIA Unheard Of 9", 4096)]


def devices(worker: Worker) -> list[tuple[str, int, str]]:
    return list(worker.devices.values_list("kind", "index", "gpu_type"))


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[Card]:
    found = list(CARDS)
    monkeypatch.setattr(workers, "cards", lambda: found)
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
