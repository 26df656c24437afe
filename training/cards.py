"""The NVIDIA cards of this machine, as the driver describes them."""

from __future__ import annotations

from dataclasses import dataclass

import pynvml


@dataclass(frozen=True)
class Card:
    """A device as the driver describes it."""

    index: int
    name: str
    memory_mb: int


def cards() -> list[Card]:
    """The NVIDIA cards of this machine, through NVML; none where there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory_mb = pynvml.nvmlDeviceGetMemoryInfo(handle).total // 2**20
            found.append(Card(index, str(pynvml.nvmlDeviceGetName(handle)), memory_mb))
        return found
    finally:
        pynvml.nvmlShutdown()
