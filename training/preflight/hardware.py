"""The cards people train on, as data with sources (cards.json), and the CPU beside them."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from training.preflight.facts import CardFacts, Resources

GIB = 1024**3
MIB = 1024**2

# A core at 3 GHz peaks at 96 GFLOP/s in float32 with 256-bit vectors and twice that with 512. Steps
# of small Llamas ran at 50 to 80 in all on one thread of a server. Cores differ threefold, so this
# stands in until a worker has measured its own (`trainer/cpu_rate.py`).
CPU_GFLOPS_PER_THREAD = 80.0
# Two channels of DDR4-3200 carry 51 GB/s; one thread alone seldom gets more than a third.
CPU_BANDWIDTH_GB_S = 15.0
# Without AMX or AVX512-BF16 a CPU emulates the 16-bit types and is no faster for them.
CPU_16BIT_SPEEDUP = 0.5
# What a Python process holds once torch and transformers are imported (measured: 0.5 to 0.7 GiB).
CPU_PROCESS_BYTES = int(0.6 * GIB)
# The CUDA context: the smallest gap between nvidia-smi and torch's own peak over 244 published
# runs on A100 (foundation-model-stack/fms-acceleration, a100_80gb.csv).
CUDA_CONTEXT_BYTES = int(0.94 * GIB)
# Where nobody has measured: between the A100's 87 % and the MI300X's 51 % (ml-engineering).
USUALLY_ACHIEVED = 0.8
PCIE_GB_S = 31.0  # 16 lanes of PCIe 4


@dataclass(frozen=True, kw_only=True)
class Card:
    """A device to train on. Rates are dense; a rate of None means the card cannot do it.
    ``achieved_share`` of its rate is what the largest products reach; ``link_gb_s`` is one
    direction to its neighbours. ``is_guessed`` where nobody has measured or published its rate."""

    slug: str
    memory_bytes: int | None
    context_bytes: int
    bf16_tflops: float | None
    fp16_tflops: float | None
    fp32_tflops: float
    bandwidth_gb_s: float
    compute_capability: float | None = None
    achieved_share: float = USUALLY_ACHIEVED
    link_gb_s: float = PCIE_GB_S
    fp8_tflops: float | None = None
    is_guessed: bool = False

    @property
    def is_cpu(self) -> bool:
        return self.slug == "cpu"

    @property
    def has_bf16(self) -> bool:
        return self.bf16_tflops is not None

    def tflops(self, dtype: str, *, tf32: bool = False) -> float:
        """Peak TFLOP/s of matrix products in ``dtype``; a missing 16-bit type runs as float32. With
        ``tf32`` the tensor units of NVIDIA's Ampere and later multiply float32 at half the rate of
        bfloat16 (74.8 and 149.7 on the A40, NVIDIA's datasheet; 1130 and 2250 on the B200,
        hmc-tech.com)."""
        rates = {"bfloat16": self.bf16_tflops, "float16": self.fp16_tflops}
        if tf32 and dtype == "float32" and (self.compute_capability or 0) >= AMPERE:
            return max(self.fp32_tflops, (self.bf16_tflops or 0) / 2)
        return rates.get(dtype) or self.fp32_tflops


@functools.lru_cache(maxsize=1024)  # asked for each pair of cards of each estimate
def _spelling(name: str) -> str:
    """One spelling for ``A100-SXM4-80GB``, ``NVIDIA A100 SXM4 80GB`` and ``a100_sxm4_80gb``."""
    return re.sub(r"nvidia|geforce|tesla|amd|[^a-z0-9]", "", name.lower())


def _load() -> tuple[dict[str, Card], dict[str, str]]:
    catalogue = json.loads(Path(__file__).with_name("cards.json").read_text(encoding="utf-8"))
    cards, spellings = {}, {}
    for row in catalogue["cards"]:
        version = row["compute_capability"]
        card = Card(
            slug=row["slug"],
            memory_bytes=int(row["usable_gib"] * GIB),
            context_bytes=CUDA_CONTEXT_BYTES,
            bf16_tflops=row["bf16_tflops"],
            fp16_tflops=row["fp16_tflops"],
            fp32_tflops=row["fp32_tflops"],
            bandwidth_gb_s=row["bandwidth_gb_s"],
            compute_capability=float(version) if version[0].isdigit() else None,
            achieved_share=(
                row["achieved_tflops"] / row["bf16_tflops"]
                if row["achieved_tflops"]
                else USUALLY_ACHIEVED
            ),
            link_gb_s=row["link_gb_s"] or PCIE_GB_S,
            fp8_tflops=row["fp8_tflops"],
        )
        cards[card.slug] = card
        for name in (row["slug"], row["name"], *row["also_called"]):
            spellings[_spelling(name)] = card.slug
    return cards, spellings


_CARDS, _SPELLINGS = _load()
# Times on a card nobody named are those of this one; a warning says so.
REFERENCE_CARD = "a100-80gb"
AMPERE = 8.0  # compute capability


def known_cards() -> tuple[str, ...]:
    """The GPU types of the catalogue, smallest name first."""
    return tuple(sorted(_CARDS))


def find_card(gpu_type: str) -> Card | None:
    """The card of that name, in any usual spelling; None where the catalogue has none."""
    slug = _SPELLINGS.get(_spelling(gpu_type))
    return _CARDS[slug] if slug else None


def same_card(one: str, other: str) -> bool:
    """Whether two spellings mean the same card."""
    first, second = _spelling(one), _spelling(other)
    return _SPELLINGS.get(first, first) == _SPELLINGS.get(second, second)


def gpus_of(resources: Resources) -> tuple[CardFacts, ...]:
    """The partition's cards without its CPU entries."""
    return tuple(card for card in resources.cards if card.gpu_type.lower() != "cpu")


@functools.lru_cache(maxsize=1024)  # asked for by each estimate of each fix
def card_for(resources: Resources) -> Card:
    """The device the job would run on: the CPU, the wanted card, else the partition's first.

    Memory that a worker has reported wins over the catalogue. A card that only a worker knows is
    as fast as the reference card and as large as reported; memory is None where nobody knows it.
    """
    if resources.gpus < 1:
        return _cpu(resources)
    reported = gpus_of(resources)
    name = resources.gpu_type or (reported[0].gpu_type if reported else REFERENCE_CARD)
    sizes = [card.memory_mb for card in reported if same_card(card.gpu_type, name)]
    known = [size for size in sizes if size is not None and size > 0]
    card = find_card(name)
    if card is None:
        card = replace(_CARDS[REFERENCE_CARD], slug=name, memory_bytes=None, is_guessed=True)
    elif not resources.gpu_type and not reported:
        card = replace(card, memory_bytes=None)
    return replace(card, memory_bytes=min(known) * MIB) if known else card


def _cpu(resources: Resources) -> Card:
    gflops = CPU_GFLOPS_PER_THREAD * min(max(resources.cpu_threads, 1), 4096)
    measured = resources.cpu_gflops or 0.0
    is_measured = 1 <= measured < 1e6
    if is_measured:
        gflops = measured
    memory = resources.host_memory_gb
    return Card(
        slug="cpu",
        memory_bytes=int(memory * GIB) if memory is not None and 0 < memory < 1e6 else None,
        context_bytes=CPU_PROCESS_BYTES,
        bf16_tflops=gflops * CPU_16BIT_SPEEDUP / 1000,
        fp16_tflops=gflops * CPU_16BIT_SPEEDUP / 1000,
        fp32_tflops=gflops / 1000,
        bandwidth_gb_s=CPU_BANDWIDTH_GB_S,
        achieved_share=1.0 if is_measured else USUALLY_ACHIEVED,  # what was reached, or could be
        is_guessed=not is_measured,
    )
