"""``python -m tests.training.trainer.tight RUN_DIR MEGABYTES``: a trainer with so much memory left.

The limit is set before the first step, to what the process holds then and so much more. It stays in
force when the run begins anew: that process holds the same when it comes to its first step.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path
from typing import Any

from training.trainer import __main__ as trainer


def main(run_dir: Path, megabytes: int) -> int:
    from training.trainer import loop

    fit = loop.fit

    def fit_tightly(*args: Any, **settings: Any) -> None:
        held = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert held is not None
        limit = int(held[1]) * 1024 + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        fit(*args, **settings)

    loop.fit = fit_tightly
    return trainer.main(run_dir)


if __name__ == "__main__":
    trainer.leave(main(Path(sys.argv[1]), int(sys.argv[2])))
