"""What there is too little of: memory of the device and of its machine, and disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from training.preflight import exports, host
from training.preflight.estimate import Estimate
from training.preflight.facts import Experiment

DOES_NOT_FIT = "Does not fit: "


@dataclass(frozen=True)
class Lack:
    """``needed`` is how much of ``what``, to compare with another experiment's."""

    what: str
    needed: float
    sentence: str


def lacks(experiment: Experiment, needs: Estimate) -> Iterator[Lack]:
    if needs.fits is False:
        has = (needs.capacity_mb or 0) / 1024
        where = "this machine" if needs.card.is_cpu else f"the {needs.card.slug}"
        kind = "memory" if needs.card.is_cpu else "GPU memory"
        yield Lack(
            "memory",
            needs.memory.total_mb,
            f"{DOES_NOT_FIT}needs {needs.memory.total_mb / 1024:.1f} GB of {kind}, "
            f"{where} has {has:.1f} GB.",
        )
    free = experiment.resources.disk_free_mb
    if free is not None and needs.disk_required_mb > free:
        yield Lack(
            "disk",
            needs.disk_required_mb,
            "Not enough disk: checkpoints and exports need "
            f"{needs.disk_required_mb / 1024:.1f} GB, {max(free, 0) / 1024:.1f} GB are free. "
            "Lower save_total_limit or free space.",
        )
    for sentence in host.lacks_host_memory(experiment, needs.host):
        yield Lack("host memory", needs.host.without_exports, sentence)
    for kind, needs_gb in exports.exports_without_room(experiment, needs.shape, needs.memory):
        yield Lack(
            f"export {kind}",
            needs_gb,
            f"Export '{kind}' needs {needs_gb:.1f} GB of host memory, the machines here have "
            f"{experiment.resources.host_memory_gb:.1f} GB. Leave it out, or make it elsewhere "
            "from safetensors.",
        )
