"""What this machine has for us: a container is often given less of it than there is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil
from django.conf import settings

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Host:
    memory_mb: int
    memory_free_mb: int
    cpu_threads: int


def read(cgroup: Path = CGROUP) -> Host:
    """The machine's own numbers, or the limits of the control group (version 2) around us."""
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    if limit := _number(cgroup / "memory.max"):
        total = min(total, limit)
        free = min(free, max(limit - (_number(cgroup / "memory.current") or 0), 0))
    return Host(
        memory_mb=total // 2**20, memory_free_mb=free // 2**20, cpu_threads=usable_threads(cgroup)
    )


def usable_threads(cgroup: Path = CGROUP) -> int:
    """What a run may use of the machine's cores."""
    usable = _usable_cores(cgroup)
    return min(usable, settings.TRAINYARD_CPU_THREADS or usable)


def _usable_cores(cgroup: Path) -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def _number(path: Path) -> int | None:
    """None where there is no limit."""
    try:
        word = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    return int(word) if word.isdigit() else None
