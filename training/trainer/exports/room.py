"""Whether there is memory for one more copy of the model.

Loading more than there is would not raise an error: the kernel would end the process.
"""

from __future__ import annotations

from pathlib import Path

import psutil

from training.trainer.exports.failure import ExportFailed

SLACK_BYTES = 256 * 1024**2  # the libraries' own
_GROUP = Path("/sys/fs/cgroup")


def require(needs_bytes: int, what: str) -> None:
    """Raises ExportFailed where the host has not that much memory free."""
    free = free_host_bytes()
    if free < needs_bytes + SLACK_BYTES:
        raise ExportFailed(
            f"{what} needs {(needs_bytes + SLACK_BYTES) / 2**30:.1f} GB of host memory, and "
            f"{free / 2**30:.1f} GB are free"
        )


def free_host_bytes() -> int:
    """Of the machine, or of the container if that has less."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = (_GROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((_GROUP / "memory.current").read_text(encoding="ascii"))
        cached = _reclaimable((_GROUP / "memory.stat").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return free
    return free if limit == "max" else min(free, int(limit) - used + cached)


def _reclaimable(stat: str) -> int:
    """Files that the kernel only keeps at hand."""
    numbers = dict(line.split() for line in stat.splitlines())
    return int(numbers.get("inactive_file", 0))
