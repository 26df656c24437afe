"""``python -m tests.training.trainer.tight RUN_DIR MEGABYTES``: a trainer with so much memory left.

The limit is set before the first step, to what the process holds then and so much more. Of one
process it stays in force when the run begins anew: that process holds the same when it comes to its
first step. Several ranks have it until they begin anew.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from training.trainer import __main__ as trainer
from training.trainer import launcher


def main(run_dir: Path, megabytes: int) -> int:
    from training.trainer import loop

    fit = loop.fit

    def fit_tightly(*args: Any, **settings: Any) -> None:
        held = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert held is not None
        limit = int(held[1]) * 1024 + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        fit(*args, **settings)

    def start_tightly(
        run_dir: Path, rank: int, world_size: int, rendezvous: Path, lock: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.training.trainer.tight", str(run_dir), str(megabytes)],
            pass_fds=[lock.fileno()],
            env=launcher.environment_of(rank, world_size, rendezvous),
        )

    loop.fit = fit_tightly
    launcher._start = start_tightly
    return trainer.main(run_dir)


if __name__ == "__main__":
    trainer.leave(main(Path(sys.argv[1]), int(sys.argv[2])))
