"""Cards by any of their names, with the memory they really have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.preflight import CardFacts, Resources, hardware
from training.preflight.hardware import GIB, MIB, card_for, find_card, known_cards


@pytest.mark.parametrize(
    ("spelling", "slug"),
    [
        ("a100", "a100-80gb"),
        ("A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("v100", "v100-16gb"),
        ("h100", "h100-sxm"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("Tesla T4", "t4"),
        ("RTX_A6000", "rtxa6000"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA A100-PCIE-40GB", "a100-pcie-40gb"),
        ("Tesla V100-PCIE-16GB", "v100-pcie-16gb"),
        ("Tesla P100-PCIE-16GB", "p100-16gb"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("NVIDIA GeForce RTX 2080 Ti", "rtx2080ti"),
    ],
)
def test_a_card_is_found_by_its_usual_names(spelling: str, slug: str) -> None:
    card = find_card(spelling)
    assert card is not None
    assert card.slug == slug


def test_every_slug_is_lower_case_and_finds_itself() -> None:
    for slug in known_cards():
        assert slug == slug.lower()
        assert getattr(find_card(slug), "slug", None) == slug


def test_float32_products_are_quicker_in_tf32_from_ampere_on() -> None:
    rates = {}
    for slug in ("a100-80gb", "v100-16gb", "t4"):
        card = find_card(slug)
        assert card is not None
        rates[slug] = (card.tflops("float32"), card.tflops("float32", tf32=True))
        assert card.tflops("bfloat16", tf32=True) == card.tflops("bfloat16")
    assert rates == {"a100-80gb": (19.5, 156), "v100-16gb": (15.7, 15.7), "t4": (8.1, 8.1)}


def test_every_card_says_where_its_numbers_are_from() -> None:
    catalogue = json.loads(Path(hardware.__file__).with_name("cards.json").read_text("utf-8"))
    for card in catalogue["cards"]:
        assert len(card["source"]) > 10, card["slug"]
        assert len(card["usable_source"]) > 10, card["slug"]
        assert card["usable_gib"] * 1024**3 < card["memory_gb"] * 1.08e9, card["slug"]


def test_what_is_no_card_is_not_found() -> None:
    assert find_card("a1000-99gb") is None
    assert find_card("") is None


def test_no_gpus_mean_the_cpu_and_the_memory_of_the_host() -> None:
    card = card_for(Resources(gpus=0, host_memory_gb=16, cpu_threads=2))
    assert card.is_cpu
    assert card.memory_bytes == 16 * GIB
    assert card.fp32_tflops == 2 * card_for(Resources(gpus=0)).fp32_tflops


def test_a_cpu_is_as_fast_as_its_worker_has_measured() -> None:
    told = card_for(Resources(gpus=0, cpu_threads=2, cpu_gflops=300.0))
    assert told.fp32_tflops * told.achieved_share == pytest.approx(0.3)
    nonsense = card_for(Resources(gpus=0, cpu_threads=2, cpu_gflops=0.0))
    assert nonsense == card_for(Resources(gpus=0, cpu_threads=2))


def test_reported_memory_wins_over_the_catalogue() -> None:
    cards = (CardFacts(gpu_type="t4", memory_mb=15_000), CardFacts(gpu_type="t4", memory_mb=14_500))
    assert card_for(Resources(gpu_type="t4", cards=cards)).memory_bytes == 14_500 * MIB


def test_without_a_wish_the_partitions_own_card_is_meant() -> None:
    cards = (CardFacts(gpu_type="cpu"), CardFacts(gpu_type="l4"))
    assert card_for(Resources(cards=cards)).slug == "l4"


def test_a_card_that_only_the_worker_knows_has_the_memory_it_reports() -> None:
    cards = (CardFacts(gpu_type="rtx9090", memory_mb=60_000),)
    card = card_for(Resources(gpu_type="RTX 9090", cards=cards))
    assert card.slug == "RTX 9090"
    assert card.memory_bytes == 60_000 * MIB


def test_a_card_nobody_named_has_no_known_memory() -> None:
    assert card_for(Resources()).memory_bytes is None


def test_old_cards_have_no_bfloat16() -> None:
    for slug in ("t4", "v100"):
        card = find_card(slug)
        assert card is not None
        assert not card.has_bf16
        assert card.tflops("float16") > card.tflops("bfloat16") == card.fp32_tflops
