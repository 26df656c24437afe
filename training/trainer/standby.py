"""``python -m training.trainer.standby``: a trainer that has loaded all it needs, and waits.

It says "ready", reads one line of JSON from its standard input (`wait_for_order`), and is from
then on what ``python -m training.trainer RUN_DIR`` would be, some seconds earlier, or
``python -m training.trainer.generate RUN_DIR`` where the folder asks for that. It serves one run,
and goes where its input ends.

A fresh interpreter, not a fork: torch has threads, which no fork takes along. CUDA stays untouched
until the run has said which GPUs are its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from training.trainer import __main__ as trainer
from training.trainer import cpu_rate, generate, orders
from training.trainer.stopping import die_with_parent

READY = b"ready\n"
# Whether there are cards is asked of NVML then, which leaves no trace. CUDA would begin its work on
# all of them.
ASK_NVML = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
LOWEST_PRIORITY = 19
OOM_SCORE = Path("/proc/self/oom_score_adj")


def main() -> int:
    die_with_parent()
    os.environ.update(ASK_NVML)
    trainer.speak_plainly()
    trainer.share_the_cores()
    with first_to_go():
        load_quietly()
        os.write(sys.stdout.fileno(), READY)
        run_dir = wait_for_order()
    if run_dir is None:
        return 0
    answers = (run_dir / orders.FILE_NAME).exists()
    return generate.main(run_dir) if answers else trainer.main(run_dir)


def load_quietly() -> None:
    """Load what every run needs, in nobody's way.

    In a thread of its own: on Linux each thread has its own priority, and one that was lowered is
    not raised again without privileges. The main thread, which will train, keeps its own.
    """
    loaded = threading.Event()

    def load() -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        preload()
        cpu_rate.note()
        loaded.set()

    loader = threading.Thread(target=load)
    loader.start()
    loader.join()
    if not loaded.is_set():  # its traceback is in the worker's log
        sys.exit("The standby trainer cannot be loaded; runs start without one.")


def preload() -> None:
    """Import what every run needs, and do once what the first model of a process waits for.

    PEFT imports bitsandbytes, which asks the cards as it is imported, so both wait for the run
    where there are cards; most of that time goes to torch's inductor.
    """
    import torch
    import torch._inductor.compile_fx
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.models.llama import modeling_llama  # noqa: F401 (brings what all share)

    get_checkpoint_conversion_mapping("llama")  # compiles a thousand patterns, once
    if not torch.cuda.is_available():
        from training.trainer import adapted, loop  # noqa: F401
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        sys.exit("Something has touched CUDA before the run came.")


@contextlib.contextmanager
def first_to_go() -> Iterator[None]:
    """While inside, the kernel ends this process before any other when memory runs out."""
    try:
        score = OOM_SCORE.read_text(encoding="ascii")
        OOM_SCORE.write_text("1000", encoding="ascii")
    except OSError:  # not on macOS, nor in every container
        yield
        return
    yield
    OOM_SCORE.write_text(score, encoding="ascii")


def wait_for_order() -> Path | None:
    """The run's folder, once it has been named; None where there will be no run.

    An order holds ``run_dir`` and the whole ``environment`` of the run. The output goes to the
    run's log from here on, as that of a trainer which was started for it.
    """
    line = sys.stdin.readline()
    if not line:
        return None
    order = json.loads(line)
    run_dir = Path(order["run_dir"])
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(run_dir)
    log = os.open(run_dir / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, targets in ((nothing, (0,)), (log, (1, 2))):
        for target in targets:
            os.dup2(source, target)
        os.close(source)
    return run_dir


if __name__ == "__main__":
    trainer.leave(main())
