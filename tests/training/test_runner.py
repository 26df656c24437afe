"""How a trainer ends, told by a fake one: a script of a few lines in its place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.utils import timezone

from tests.factories import make_job
from tests.trainyard.running.instances import wait_for
from training import runner
from training.models import Job, Metric, Status

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sent", "home", "run_json"),
]

STEPS = """
import json, os, signal, sys, time
log = open("events.jsonl", "a")
def say(seq, event, **facts):
    line = {"seq": seq, "event": event, "time": time.time(), **facts}
    print(json.dumps(line), file=log, flush=True)
for step in (1, 2, 3):
    say(step, "step", step=step, loss=1 / step)
"""
Fake = Callable[[str], Job]


@pytest.fixture
def run_json(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """The fakes do not read their plan."""

    def write(job: Job) -> Path:
        folder = home / "runs" / str(job.pk)
        folder.mkdir(exist_ok=True)
        return folder

    monkeypatch.setattr("training.run_plan.write", write)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Job]:
    """Run a job with this script for its trainer."""

    def go(script: str, going_down: Callable[[], bool] = lambda: False, **fields: Any) -> Job:
        path = tmp_path / "fake.py"
        path.write_text(STEPS + script, encoding="utf-8")
        monkeypatch.setattr(runner, "COMMAND", [sys.executable, str(path)])
        job = make_job(status=Status.RUNNING, **fields)
        runner.run(job, 1, going_down)
        job.refresh_from_db()
        return job

    return go


def test_all_it_said_is_taken_over_even_what_came_last(run: Fake) -> None:
    job = run("say(4, 'step', step=4, loss=0.1)\nos.kill(os.getpid(), signal.SIGKILL)")
    assert list(Metric.objects.values_list("step", flat=True)) == [1, 2, 3, 4]
    assert job.step == 4


def test_one_that_was_killed_is_queued_again(run: Fake) -> None:
    job = run("os.kill(os.getpid(), signal.SIGKILL)")
    assert (job.status, job.attempt) == (Status.QUEUED, 2)


def test_one_that_the_kernel_killed_for_memory_fails_as_that(
    run: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The kernel counts them: of the machine, and of the container."""
    machine, container = tmp_path / "vmstat", tmp_path / "memory.events"
    machine.write_text("nr_free_pages 7\noom_kill 3\n")
    container.write_text("oom 0\noom_kill 0\noom_group_kill 0\n")
    counters = (str(machine), str(container), str(tmp_path / "not there"))
    monkeypatch.setattr(runner, "KERNEL_COUNTERS", counters)
    assert runner._out_of_memory_kills() == 3
    job = run(
        f"open({str(container)!r}, 'w').write('oom 1\\noom_kill 1\\n')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert job.failure is not None
    assert job.failure["kind"] == "host_memory"


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
        ("sys.exit('the disk spoke in tongues')", "exit status 1"),
    ],
)
def test_one_that_crashed_fails_with_its_last_words(run: Fake, script: str, how: str) -> None:
    job = run(script)
    assert job.status == Status.FAILED
    assert job.failure is not None
    assert job.failure["kind"] == "bug"
    assert how in job.failure["message"]
    if "tongues" in script:
        assert "the disk spoke in tongues" in job.failure["message"]


def test_its_own_failure_is_passed_on(run: Fake) -> None:
    failure = {"kind": "diverged", "message": "NaN at step 3.", "advice": "Lower the rate."}
    ending = {
        "outcome": "failed", "step": 3, "exports": {}, "evaluation": {}, "failure": failure,
    }  # fmt: skip
    job = run(f"json.dump({ending!r}, open('result.json', 'w')); sys.exit(1)")
    assert (job.status, job.failure) == (Status.FAILED, failure)


def test_one_that_does_not_stop_when_asked_is_killed(
    run: Callable[..., Job], settings: Any
) -> None:
    settings.TRAINYARD_STOP_SECONDS = 1
    job = run(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsay(4, 'step', step=4, loss=1.0)\n"
        "time.sleep(600)",
        cancel_requested_at=timezone.now(),
    )
    assert job.status == Status.CANCELLED


def test_a_half_written_line_waits_for_its_other_half(run: Fake) -> None:
    job = run(
        'log.write(\'{"seq": 4, "event": "st\'); log.flush(); time.sleep(0.7)\n'
        'log.write(\'ep", "time": 1.0, "step": 4}\\n\'); log.flush()\n'
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert job.step == 4


def test_a_job_that_was_given_to_another_attempt_is_let_go(
    run: Callable[..., Job],
) -> None:
    def given_away() -> bool:
        Job.objects.update(attempt=2)
        return False

    job = run("time.sleep(600)", given_away)
    assert (job.status, job.attempt) == (Status.RUNNING, 2)  # the other's matter


def test_a_worker_that_goes_down_gives_its_job_back(run: Callable[..., Job]) -> None:
    ending = '{"outcome": "stopped", "step": 3, "exports": {}, "evaluation": {}, "failure": null}'
    job = run(
        "def stop(*_):\n"
        f"    open('result.json', 'w').write('{ending}')\n"
        "    sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, stop)\nsay(4, 'step', step=4, loss=1.0)\ntime.sleep(600)",
        lambda: Metric.objects.filter(step=4).exists(),
    )
    assert (job.status, job.attempt, job.losses) == (Status.QUEUED, 2, 0)


def test_no_child_of_the_trainer_is_left_behind(run: Fake, home: Path) -> None:
    job = run(
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('child', 'w').write(str(child.pid))\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    pid = int((home / "runs" / str(job.pk) / "child").read_text())
    wait_for("the end of the child", lambda: not is_alive(pid), 5)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_dataset_whose_folder_has_gone_fails_the_job_clearly(
    monkeypatch: pytest.MonkeyPatch, run: Fake
) -> None:
    from registry.files import BadPath

    def gone(job: Job) -> Path:
        raise BadPath("'/datasets/sums' does not exist.")

    monkeypatch.setattr("training.run_plan.write", gone)
    job = run("")
    assert job.failure is not None
    assert job.failure["kind"] == "bad_data"
    assert "does not exist" in job.failure["message"]


def test_one_that_shows_no_sign_of_life_is_ended_and_queued_again(
    run: Callable[..., Job], settings: Any, home: Path
) -> None:
    settings.TRAINYARD_STALL_SECONDS = 1
    job = run(
        "import faulthandler\nfaulthandler.register(signal.SIGUSR1, all_threads=True)\n"
        "def stuck_here(): time.sleep(600)\nstuck_here()"
    )
    assert (job.status, job.attempt, job.step) == (Status.QUEUED, 2, 3)
    told = job.events.get(event="stalled")
    assert told.message.startswith("The training stood still: no sign of life for 1 s.")
    assert "stuck_here" in (home / "runs" / str(job.pk) / "log.txt").read_text()


def test_one_that_stands_still_again_and_again_fails(
    run: Callable[..., Job], settings: Any
) -> None:
    settings.TRAINYARD_STALL_SECONDS = 1
    job = run("time.sleep(600)", losses=3, lost_at_step=3)
    assert job.failure is not None
    assert job.failure["kind"] == "stalled"


def test_one_that_says_it_will_be_quiet_is_waited_for(
    run: Callable[..., Job], settings: Any
) -> None:
    settings.TRAINYARD_STALL_SECONDS = 1
    job = run(
        "open('alive', 'w').close(); os.utime('alive', (time.time() + 60,) * 2)\n"
        "time.sleep(2)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    assert "ended by signal 9" in job.events.get(event="requeued").message


def test_after_a_pause_the_time_still_to_come_is_that_of_the_steps_alone(tmp_path: Path) -> None:
    """The steps of the attempt before are told again, and between them and now lies a night."""
    trainer = runner.Trainer(Any, tmp_path, began=100_000.0)  # type: ignore[arg-type]
    night = [{"event": "step", "step": step, "time": float(step)} for step in range(1, 20)]
    assert trainer.step_seconds(night) is None
    first = {"event": "step", "step": 20, "time": 100_001.0}
    assert trainer.step_seconds([first]) is None
    second = {"event": "step", "step": 22, "time": 100_002.0}
    assert trainer.step_seconds([second]) == 0.5
