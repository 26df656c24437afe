"""The demo's progress line, in a terminal and elsewhere."""

from __future__ import annotations

import io
from typing import Any

import pytest

from trainyard.demo import progress


def job(status: str = "RUNNING", step: int = 0, **facts: Any) -> dict[str, Any]:
    shown = {
        "status": status,
        "progress": {"step": step, "max_steps": 300, "percent": step / 3, "eta_s": 11.4},
        "last_metrics": {"loss": 0.41234, "tokens_per_s": 5432.1} if step else None,
        "waiting_reason": "",
    }
    return shown | facts


def test_a_running_job_shows_bar_step_loss_speed_and_time_left():
    text = progress.line(job(step=150))
    assert text == (
        "[##############..............]  50 %  step 150/300  loss 0.412  5,432 tokens/s  11 s left"
    )


@pytest.mark.parametrize(("percent", "full"), [(-3, 0), (0, 0), (99.9, 27), (100, 28), (250, 28)])
def test_the_bar_never_leaves_its_cells(percent, full):
    text = progress.bar(percent)
    assert text.count("#") == full
    assert len(text) == progress.BAR_CELLS + 2


def test_a_step_without_numbers_is_still_shown():
    progressed = {"step": 3, "max_steps": 300, "percent": 1.0, "eta_s": None}
    text = progress.line(job(step=3, last_metrics={"loss": None}, progress=progressed))
    assert text.endswith("step 3/300")


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (job("QUEUED", waiting_reason="Both cards are busy."), "waiting: Both cards are busy."),
        (job("PENDING"), "waiting: a worker is about to take it"),
        (job("PENDING", progress=None), "waiting: a worker is about to take it"),
        (job("RUNNING", 0), "loading the model and asking it before it learns"),
        (job("RUNNING", 300), "all steps done: asking it again, and writing the model"),
        (job("COMPLETED", 300), "completed"),
    ],
)
def test_before_and_after_the_steps_words_say_what_happens(shown, words):
    assert progress.line(shown) == words


def test_without_a_terminal_a_line_comes_at_each_new_phase_and_not_at_every_step():
    out = io.StringIO()
    display = progress.Display(out)
    for shown in (job("QUEUED"), job("QUEUED"), job(step=1), job(step=2), job("COMPLETED", 300)):
        display.show(shown)
    display.close()
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert "step 1/300" in lines[1]


def test_in_a_terminal_one_line_is_redrawn():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    display = progress.Display(out)
    display.show(job(step=1))
    display.show(job("COMPLETED", 300))
    display.close()
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().count("\r") == 2
