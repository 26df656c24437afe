"""The playground on a real platform: a real model answers, and what is killed leaves no ghost."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

import psutil
import pytest

from tests.survival.conftest import FINAL, Yard
from tests.trainyard.running.instances import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def ask(yard: Yard, **body: Any) -> str:
    body = {"base_model_id": yard.model_id, "prompt": "2 plus 2 is", "gpus": 0, **body}
    return str(yard.post("/api/generations", body, expect=202)["id"])


def wait(yard: Yard, generation_id: str, *wanted: str) -> Any:
    found: dict[str, Any] = {}

    def holds() -> bool:
        found.update(yard.get(f"/api/generations/{generation_id}"))
        return found["status"] in (wanted or FINAL)

    wait_for(f"prompt {generation_id}", holds, 120, every_s=0.1)
    return found


def answerers(yard: Yard) -> list[psutil.Process]:
    """The processes that answer prompts."""
    found = []
    for process in yard.instance.processes():
        try:
            if "serving-" in process.cwd():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def test_prompts_are_answered_and_a_job_gets_the_device(yard: Yard) -> None:
    greedy = {"sampling": {"temperature": 0, "max_new_tokens": 8}}
    first = wait(yard, ask(yard, **greedy))
    assert (first["status"], first["failure"]) == ("COMPLETED", None)
    assert first["answers"]["base"]["tokens"] <= 8
    messages = [{"role": "user", "content": "2 plus 2 is"}]
    chat = wait(yard, ask(yard, prompt="", messages=messages, **greedy))
    assert chat["status"] == "COMPLETED"
    [kept] = answerers(yard)  # the model stays loaded
    job = yard.submit("right after prompts", train={"max_steps": 2})
    assert yard.wait_for_end(job)["status"] == "COMPLETED"
    assert not kept.is_running() or kept.status() == psutil.STATUS_ZOMBIE


def killed(yard: Yard, victim: str) -> Any:
    """A prompt whose process, or the worker's process above it, is killed in the middle."""
    asked = ask(yard, sampling={"max_new_tokens": 120, "temperature": 1})
    wait_for("the process", lambda: answerers(yard), 60)
    [process] = answerers(yard)
    os.kill(process.pid, signal.SIGSTOP)  # long enough to be caught in the middle
    wait(yard, asked, "RUNNING", "COMPLETED")
    os.kill(process.pid if victim == "process" else process.ppid(), signal.SIGKILL)
    ended = wait(yard, asked)
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)  # now it hears that its parent is gone
    wait_for("the process to go", lambda: not answerers(yard), 30)
    return ended


@pytest.mark.parametrize(
    ("victim", "kind"), [("process", "bug"), ("worker's child", "lost_worker")]
)
def test_what_is_killed_is_a_failure_and_the_next_one_is_answered(
    yard: Yard, victim: str, kind: str
) -> None:
    for idle in answerers(yard):  # of other tests; one that is about to leave would not answer
        idle.kill()
    wait_for("nobody to be there", lambda: not answerers(yard), 30)
    for _ in range(5):  # it may have answered before it was stopped
        ended = killed(yard, victim)
        if ended["status"] != "COMPLETED":
            break
    assert ended["status"] == "FAILED", ended
    assert ended["failure"]["kind"] == kind
    assert wait(yard, ask(yard))["status"] == "COMPLETED"
