"""The NVIDIA cards of this machine, as the driver describes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pynvml

log = logging.getLogger(__name__)

# The slices of a card have no number among the cards; they get theirs from here on.
FIRST_SLICE = 100


@dataclass(frozen=True)
class Card:
    """A device as the driver describes it: a card, or a MIG slice of the card ``card_index``."""

    index: int
    name: str
    memory_mb: int
    memory_free_mb: int | None = None
    compute_capability: str = ""
    uuid: str = ""
    card_index: int | None = None


@dataclass(frozen=True)
class Cards:
    driver: str = ""
    cards: tuple[Card, ...] = ()


def cards() -> list[Card]:
    return list(read().cards)


def read(nvml: Any = pynvml) -> Cards:
    """What is there now, through NVML; nothing where there is no driver. A card that does not
    answer is left out."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return Cards()
    try:
        driver = str(nvml.nvmlSystemGetDriverVersion())
        found: list[Card] = []
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                found += _devices(nvml, index)
            except nvml.NVMLError as error:
                log.warning("card %d does not answer: %s", index, error)
        return Cards(driver, tuple(found))
    finally:
        nvml.nvmlShutdown()


def _devices(nvml: Any, index: int) -> list[Card]:
    """The card itself or, where it has been cut up, its slices: the whole is then out of reach."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    capability = "{}.{}".format(*nvml.nvmlDeviceGetCudaComputeCapability(handle))
    if not _is_cut_up(nvml, handle):
        return [_device(nvml, handle, index, capability, None)]
    return [
        _device(nvml, piece, FIRST_SLICE * (index + 1) + number, capability, index)
        for number, piece in _slices(nvml, handle)
    ]


def _device(nvml: Any, handle: Any, index: int, capability: str, card_index: int | None) -> Card:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Card(
        index=index,
        name=str(nvml.nvmlDeviceGetName(handle)),
        memory_mb=memory.total // 2**20,
        memory_free_mb=memory.free // 2**20,
        compute_capability=capability,
        uuid=str(nvml.nvmlDeviceGetUUID(handle)),
        card_index=card_index,
    )


def _is_cut_up(nvml: Any, handle: Any) -> bool:
    try:
        now, _later = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # cards before the A100 do not know the question
        return False
    return bool(now == nvml.NVML_DEVICE_MIG_ENABLE)


def _slices(nvml: Any, handle: Any) -> Iterator[tuple[int, Any]]:
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield number, nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except nvml.NVMLError:  # no slice in this place
            continue
