"""A preflight and the scheduler agree on which cards of a partition a job can get."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.factories import make_worker
from training import checking, scheduler
from training.models import Device, Partition, Worker
from training.preflight.facts import Resources
from training.preflight.hardware import card_for

pytestmark = pytest.mark.django_db


def with_cards(name: str, *sizes: int, gpu_type: str = "l4") -> Worker:
    worker = make_worker(name, partition="night", gpus=len(sizes))
    cards = worker.devices.filter(kind=Device.Kind.CUDA).order_by("index")
    for card, size in zip(cards, sizes, strict=True):
        card.gpu_type, card.memory_mb = gpu_type, size
        card.save()
    return worker


def resources(gpus: int, **others: Any) -> Resources:
    night, _ = Partition.objects.get_or_create(name="night")
    return checking.resources_of({"gpus": gpus, "partition_id": str(night.pk), **others})


def test_a_partition_without_a_running_worker_is_named() -> None:
    assert resources(0).idle_partition == "night"
    worker = with_cards("first", 23_000)
    assert resources(1).idle_partition == ""
    Worker.objects.filter(pk=worker.pk).update(seen_at=timezone.now() - timedelta(days=1))
    assert resources(1).idle_partition == "night"
    assert [card.is_running for card in resources(1).cards if card.gpu_type == "l4"] == [False]


def test_a_job_that_names_no_card_is_judged_by_the_smallest_that_it_can_get() -> None:
    with_cards("large", 81_000, 81_000, gpu_type="a100-80gb")
    assert card_for(resources(1)).slug == "a100-80gb"
    with_cards("small", 23_000)
    assert card_for(resources(1)).slug == "l4"
    assert card_for(resources(2)).slug == "a100-80gb"  # there is but one of the others


def test_slices_are_no_cards_for_two() -> None:
    worker = with_cards("sliced", 10_000, 10_000)
    worker.devices.filter(kind=Device.Kind.CUDA).update(card_index=0)
    with_cards("large", 81_000, 81_000, gpu_type="a100-80gb")
    assert card_for(resources(1)).slug == "l4"
    assert card_for(resources(2)).slug == "a100-80gb"


def test_a_card_that_no_catalogue_has_goes_by_any_spelling() -> None:
    worker = with_cards("new", 60_000, gpu_type="rtx-9090")
    for spelling in ("rtx-9090", "RTX 9090", "NVIDIA RTX9090"):
        assert len(scheduler.matching(worker, {"gpus": 1, "gpu_type": spelling})) == 1
    assert scheduler.matching(worker, {"gpus": 1, "gpu_type": "rtx-9080"}) == []


def test_libraries_that_a_setting_needs_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"use_liger_kernel": True, "attn_implementation": "flash_attention_2"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert checking.missing_kernels(both) == ("liger-kernel", "flash-attn")
    assert checking.missing_kernels({"attn_implementation": "sdpa"}) == ()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert checking.missing_kernels(both) == ()
