"""A run that cannot go on says why, by a kind for programs and in a sentence for people."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from tests.training.trainer import runs, tiny
from training.trainer import __main__ as main
from training.trainer import events, prepare
from training.trainer.failures import BadData, explain
from training.trainer.meter import LossWatch
from training.trainer.result import FAILED, FAILURE_KINDS, Failure, Result
from training.trainer.spec import BadSpec
from training.trainer.stopping import Stop


@pytest.fixture
def failure_in_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Failure]:
    """Run here instead of in a process of its own: spares seconds where the run fails early."""
    monkeypatch.setattr(prepare, "make_repeatable", lambda _spec: None)  # it is for all the process

    def fail(run_dir: Path) -> Failure:
        main.run(run_dir, Stop()).write(run_dir)
        return recorded_failure(run_dir)

    return fail


def failure_of(run_dir: Path) -> Failure:
    assert runs.finish(run_dir) == 1, (run_dir / "log.txt").read_text()
    return recorded_failure(run_dir)


def recorded_failure(run_dir: Path) -> Failure:
    result = Result.read(run_dir)
    assert result is not None
    assert result.outcome == FAILED
    assert result.exports == {}
    assert result.failure is not None
    assert result.failure.kind in FAILURE_KINDS
    assert result.failure.advice.endswith(".")
    return result.failure


def test_a_row_that_is_not_json_is_named(make_run: Callable[..., Path], tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"text": "fine"}\n{"text": \n')
    run_dir = make_run("bad-row", dataset={"train": [str(file)]})
    failure = failure_of(run_dir)
    assert failure.kind == "bad_data"
    assert failure.message.startswith("bad.jsonl, line 2: not JSON (")
    assert not (run_dir / "exports").exists()
    assert not (run_dir / "checkpoints").exists()
    assert failure.message in (run_dir / "log.txt").read_text()


def test_data_without_a_usable_row_is_refused(
    make_run: Callable[..., Path],
    tmp_path: Path,
    failure_in_process: Callable[[Path], Failure],
) -> None:
    file = tiny.write_rows(tmp_path / "long.jsonl", [{"prompt": "x" * 50, "completion": "y"}])
    failure = failure_in_process(
        make_run("no-row", dataset={"train": [str(file)]}, train={"max_length": 20})
    )
    assert failure.kind == "bad_data"
    assert "No row of long.jsonl can be used" in failure.message


def test_a_model_folder_without_config_is_refused(
    make_run: Callable[..., Path],
    base_model: Path,
    tmp_path: Path,
    failure_in_process: Callable[[Path], Failure],
) -> None:
    broken = shutil.copytree(base_model, tmp_path / "broken")
    (broken / "config.json").unlink()
    failure = failure_in_process(make_run("no-config", base_model={"path": str(broken)}))
    assert failure.kind == "bad_model"
    assert failure.message == f"The base model has no config.json: {broken}"


def test_a_model_file_cut_short_is_refused(
    make_run: Callable[..., Path],
    base_model: Path,
    tmp_path: Path,
    failure_in_process: Callable[[Path], Failure],
) -> None:
    broken = shutil.copytree(base_model, tmp_path / "broken")
    os.truncate(broken / "model.safetensors", 1000)
    failure = failure_in_process(make_run("short", base_model={"path": str(broken)}))
    assert failure.kind == "bad_model"
    assert "cannot be loaded" in failure.message


def test_a_loss_that_is_no_number_ends_the_run_without_a_checkpoint(
    make_run: Callable[..., Path],
) -> None:
    train = {"optim": "sgd", "learning_rate": 1e30, "max_grad_norm": 0, "max_steps": 20}
    run_dir = make_run("diverged", train=train | {"checkpoint_interval": 1})
    failure = failure_of(run_dir)
    assert failure.kind == "diverged"
    step = runs.last_step(run_dir) + 1
    assert f"not a number any more at step {step}, with a learning rate of" in failure.message
    assert "Lower learning_rate (it is 1e+30)" in failure.advice
    saved = [line["step"] for line in runs.said(run_dir, events.CHECKPOINT)]
    assert saved == list(range(1, step))
    assert all(loss is not None for loss in runs.losses(run_dir).values())


def test_a_loss_that_explodes_ends_the_run_and_names_the_checkpoint_before(
    make_run: Callable[..., Path],
) -> None:
    train = {"learning_rate": 2.0, "warmup_steps": 250, "max_steps": 250}
    saving = {"checkpoint_interval": 10, "save_total_limit": 25}
    run_dir = make_run("exploded", train=train | saving)
    failure = failure_of(run_dir)
    assert failure.kind == "diverged"
    losses = list(runs.losses(run_dir).values())
    medians = [median(losses[end - 20 : end]) for end in range(20, len(losses) + 1)]
    best = min(medians)
    good = 20 + medians.index(best)
    assert [value > 2 * best + 2 for value in medians[good - 20 :]].index(True) == (
        len(losses) - good
    )
    assert failure.message.startswith(
        f"The loss has exploded: it is about {medians[-1]:.3g} at step {len(losses)}, and was "
        f"{best:.3g} at step {good}, with a learning rate of"
    )
    assert f"The last good checkpoint is that of step {good // 10 * 10}." in failure.message


@pytest.mark.parametrize(
    ("losses", "explodes"),
    [
        ([2.0] * 60 + [9.0] * 20, True),
        ([10.4] * 20 + [2.5] * 100 + [7.6] * 20, True),  # back to what one knows without training
        ([2.0] * 60 + [30.0] * 3 + [2.0] * 60, False),  # a few bad rows
        ([0.05] * 100 + [1.5] * 60, False),  # knew its rows by heart, then came others
        ([1.5, 4.0] * 100, False),  # noise
        ([2.0] * 10 + [50.0] * 9, False),  # too soon to tell
        ([11.0] * 200, False),
    ],
)
def test_an_explosion_is_told_from_noise(losses: list[float], explodes: bool) -> None:
    watch = LossWatch([])
    found = False
    for step, loss in enumerate(losses, start=1):
        watch.add(step, loss)
        found |= watch.has_exploded
    assert found is explodes


def test_an_explosion_is_seen_over_a_restart_too() -> None:
    watch = LossWatch((step, 2.0) for step in range(1, 51))
    for step in range(51, 71):
        watch.add(step, 9.0)
    assert watch.has_exploded
    assert watch.best_step == 20


def test_a_setting_that_cannot_be_is_named(make_run: Callable[..., Path]) -> None:
    failure = failure_of(make_run("odd", train={"global_batch_size": 5, "grad_accum": 2}))
    assert failure.kind == "bad_settings"
    assert "global_batch_size 5 does not divide by grad_accum 2" in failure.message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadData("x", advice="y."), "bad_data"),
        (BadSpec("x"), "bad_settings"),
        (MemoryError(), "host_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "host_memory"),
        (RuntimeError("std::bad_alloc"), "host_memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."), "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (ZeroDivisionError("oops"), "bug"),
    ],
)
def test_every_exception_finds_its_kind(error: Exception, kind: str) -> None:
    failure = explain(error)
    assert failure.kind == kind
    assert failure.kind in FAILURE_KINDS
    assert failure.message
    assert failure.advice.endswith(".")


def test_the_cause_of_an_error_counts_too() -> None:
    error = RuntimeError("unexpected pos 64 vs 0")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert explain(error).kind == "disk_full"


# --- really small disks ------------------------------------------------------------------------

FILL = """
import sys, torch
from pathlib import Path
from safetensors.torch import save_file
from training.trainer.durable import whole_folder
from training.trainer.failures import DiskFull
disk = Path(sys.argv[1])
big = torch.zeros(1_000_000)
writers = {
    "bytes": lambda path: path.write_bytes(big.numpy().tobytes()),
    "torch": lambda path: torch.save(big, path),
    "torch to a file": lambda path: torch.save(big, open(path, "wb")),
    "safetensors": lambda path: save_file({"big": big}, path),
}
for name, write in writers.items():
    try:
        with whole_folder(disk / "step-000001", what="it", needs_bytes=0) as folder:
            write(folder / "file")
    except DiskFull as error:
        left = list(disk.iterdir())
        print(name, "|", error, "|", left)
"""


def on_small_disk(size: str, mount_point: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run ``command`` where ``mount_point`` is a disk of that size, in a namespace of its own."""
    mount_point.mkdir(parents=True, exist_ok=True)
    probe = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(mount_point)],
        capture_output=True,
        check=False,
    )
    if probe.returncode:
        pytest.skip(f"cannot mount a small disk here: {probe.stderr.decode().strip()}")
    script = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@"'
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", size, str(mount_point), *command],
        capture_output=True,
        text=True,
        timeout=runs.PATIENCE_S,
        check=False,
    )


def test_a_disk_that_fills_while_writing_is_told_by_every_writer(tmp_path: Path) -> None:
    done = on_small_disk(
        "2m", tmp_path / "disk", sys.executable, "-c", FILL, str(tmp_path / "disk")
    )
    told = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [name for name, *_ in told] == ["bytes", "torch", "torch to a file", "safetensors"], (
        done.stderr
    )
    for _, message, left in told:
        assert message.startswith("The disk is full: it needs 0.0 MB")
        assert left == "[]"


def test_no_room_for_a_checkpoint_is_known_before_it_is_written(
    make_run: Callable[..., Path],
) -> None:
    run_dir = make_run("small", train={"max_steps": 10, "checkpoint_interval": 5})
    command = [sys.executable, "-m", "training.trainer", str(run_dir)]
    # One checkpoint takes 1.1 MB, and 8 MB must stay free beside it.
    done = on_small_disk("10m", run_dir / "checkpoints", *command)
    assert done.returncode == 1, done.stderr
    failure = recorded_failure(run_dir)
    assert failure.kind == "disk_full"
    assert "the checkpoint of step 10 needs 9" in failure.message
    assert [line["step"] for line in runs.said(run_dir, events.CHECKPOINT)] == [5]
    result = Result.read(run_dir)
    assert result is not None
    assert result.step == 5


def test_a_disk_too_full_for_events_is_told_in_the_result(make_run: Callable[..., Path]) -> None:
    run_dir = make_run("full-disk", train={"max_steps": 1000, "checkpoint_interval": 1000})
    spec = (run_dir / "run.json").read_text()
    script = 'echo "$1" > "$2/run.json"; "$3" -m training.trainer "$2"; cat "$2/result.json"'
    command = ["sh", "-c", script, "sh", spec, str(run_dir), sys.executable]
    done = on_small_disk("128k", run_dir, *command)
    result = json.loads(done.stdout)
    assert result["outcome"] == FAILED
    assert result["failure"]["kind"] == "disk_full", done.stderr
