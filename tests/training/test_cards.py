"""What NVML tells of the cards, told by a fake one at the edge; and what a container leaves us."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from training import cards, host
from training.cards import Card, Cards

GIB = 2**30


class NVMLError(Exception):
    pass


@dataclass
class Fake:
    """As much of pynvml as is asked. A card is a dictionary; one with ``slices`` is cut up."""

    found: list[dict[str, Any]]
    driver: bool = True
    open: int = 0
    NVMLError: type[Exception] = field(default=NVMLError)
    NVML_DEVICE_MIG_ENABLE: int = 1

    def nvmlInit(self) -> None:
        if not self.driver:
            raise NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.86.15"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.found)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        if self.found[index].get("lost"):
            raise NVMLError("GPU is lost")
        return self.found[index]

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> str:
        return str(handle["name"])

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> str:
        return str(handle["uuid"])

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any]) -> Any:
        return SimpleNamespace(total=handle["total"] * GIB, free=handle["free"] * GIB)

    def nvmlDeviceGetCudaComputeCapability(self, handle: dict[str, Any]) -> tuple[int, int]:
        major, minor = handle["capability"]
        return major, minor

    def nvmlDeviceGetMigMode(self, handle: dict[str, Any]) -> list[int]:
        if "slices" not in handle:
            raise NVMLError("Not Supported")
        return [int(handle["slices"] is not None), 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], number: int) -> Any:
        if number not in handle["slices"]:
            raise NVMLError("Not Found")
        return handle["slices"][number]


T4 = {"name": "Tesla T4", "uuid": "GPU-1", "total": 15, "free": 9, "capability": (7, 5)}
WHOLE = {
    "name": "NVIDIA A100-SXM4-80GB", "uuid": "GPU-2", "total": 80, "free": 79,
    "capability": (8, 0), "slices": None,
}  # fmt: skip
PIECE = {"name": "NVIDIA A100-SXM4-80GB MIG 1g.10gb", "uuid": "MIG-1", "total": 10, "free": 10}
CUT_UP = {**WHOLE, "slices": {0: PIECE, 3: {**PIECE, "uuid": "MIG-2"}}}


def test_cards_are_told_with_what_is_free_of_them() -> None:
    nvml = Fake([T4, WHOLE])
    assert cards.read(nvml) == Cards(
        "570.86.15",
        (
            Card(0, "Tesla T4", 15 * 1024, 9 * 1024, "7.5", "GPU-1"),
            Card(1, "NVIDIA A100-SXM4-80GB", 80 * 1024, 79 * 1024, "8.0", "GPU-2"),
        ),
    )
    assert nvml.open == 0


def test_without_a_driver_there_are_none_and_no_error() -> None:
    assert cards.read(Fake([], driver=False)) == Cards()


def test_of_a_card_that_is_cut_up_there_are_the_slices() -> None:
    found = cards.read(Fake([T4, CUT_UP])).cards
    assert [(card.index, card.uuid, card.card_index) for card in found] == [
        (0, "GPU-1", None),
        (200, "MIG-1", 1),
        (203, "MIG-2", 1),
    ]
    assert (found[1].memory_mb, found[1].compute_capability) == (10 * 1024, "8.0")


def test_a_card_that_does_not_answer_does_not_hide_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nvml = Fake([{**T4, "lost": True}, WHOLE])
    assert [card.index for card in cards.read(nvml).cards] == [1]
    assert "card 0 does not answer: GPU is lost" in caplog.text
    assert nvml.open == 0


def test_the_machine_is_as_large_as_it_is(tmp_path: Path) -> None:
    found = host.read(tmp_path)
    assert found.memory_mb == psutil.virtual_memory().total // 2**20
    assert 0 < found.memory_free_mb <= found.memory_mb
    assert found.cpu_threads >= 1


def test_a_container_has_what_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB // 4}\n")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    found = host.read(tmp_path)
    assert (found.memory_mb, found.cpu_threads) == (1024, 1)
    assert found.memory_free_mb <= 768


def test_runs_use_as_many_threads_as_the_operator_says(tmp_path: Path, settings: Any) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    settings.TRAINYARD_CPU_THREADS = 0
    every = host.usable_threads(tmp_path)
    settings.TRAINYARD_CPU_THREADS = every + 1
    assert host.usable_threads(tmp_path) == every
    settings.TRAINYARD_CPU_THREADS = 1
    assert host.usable_threads(tmp_path) == 1


def test_a_container_without_limits_has_the_machine(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert host.read(tmp_path).memory_mb == psutil.virtual_memory().total // 2**20
    assert host.usable_threads(tmp_path) == host.usable_threads(tmp_path / "nowhere")
