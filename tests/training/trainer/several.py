"""Train run directories one after the other in one process: `python -m ...several DIR [DIR ...]`.

For comparisons of many short runs. Started once for each rank, as the launcher would start it, but
the seconds that the imports take pass only once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from training.trainer import launcher, result
from training.trainer.__main__ import speak_plainly
from training.trainer.events import EventLog
from training.trainer.spec import RunSpec
from training.trainer.stopping import Stop, die_with_parent


def main(run_dirs: list[Path]) -> None:
    die_with_parent()
    speak_plainly()
    from training.trainer.loop import train

    for run_dir in run_dirs:
        rendezvous = run_dir / "rendezvous"
        os.environ[launcher.RENDEZVOUS_VARIABLE] = rendezvous.as_uri()
        with contextlib.closing(EventLog(run_dir, speaks=not launcher.own_rank())) as log:
            ended = train(RunSpec.read(run_dir), run_dir, log, Stop())
        assert ended.outcome == result.COMPLETED
        rendezvous.unlink(missing_ok=True)


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
