"""A job's progress for people: one line of text from the JSON of ``GET /api/jobs/:id``."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any, TextIO

BAR_CELLS = 28
SECONDS_BETWEEN_LINES = 5.0


def bar(percent: float) -> str:
    full = int(max(0.0, min(percent, 100.0)) / 100 * BAR_CELLS)
    return "[" + "#" * full + "." * (BAR_CELLS - full) + "]"


def phase(job: dict[str, Any]) -> str:
    """What the job is doing, in words; empty while it takes steps, which the bar shows."""
    progress = job.get("progress") or {}
    step, max_steps = progress.get("step") or 0, progress.get("max_steps") or 0
    if job["status"] in ("PENDING", "QUEUED"):
        return "waiting: " + (job.get("waiting_reason") or "a worker is about to take it")
    if job["status"] != "RUNNING":
        return str(job["status"]).lower()
    if step == 0:
        return "loading the model and asking it before it learns"
    if step >= max_steps:
        return "all steps done: asking it again, and writing the model"
    return ""


def line(job: dict[str, Any]) -> str:
    """The bar with step, loss, speed and time left, or the phase before and after the steps."""
    if words := phase(job):
        return words
    progress, metrics = job["progress"], job.get("last_metrics") or {}
    percent = 100 * progress["step"] / progress["max_steps"]
    parts = [
        f"{bar(percent)} {percent:3.0f} %",
        f"step {progress['step']}/{progress['max_steps']}",
    ]
    if metrics.get("loss") is not None:
        parts.append(f"loss {metrics['loss']:.3f}")
    if metrics.get("tokens_per_s"):
        parts.append(f"{metrics['tokens_per_s']:,.0f} tokens/s")
    if progress.get("eta_s") is not None:
        parts.append(f"{progress['eta_s']:.0f} s left")
    return "  ".join(parts)


class Display:
    """Redraws one line in a terminal; elsewhere writes a line every few seconds and at each new
    phase."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self.out = out
        self.redraws = out.isatty()
        self.said = ""
        self.last_phase: str | None = None
        self.next_line_at = 0.0

    def show(self, job: dict[str, Any]) -> None:
        text = line(job)
        if self.redraws:
            columns = shutil.get_terminal_size().columns - 1
            self.out.write("\r" + f"  {text}"[:columns].ljust(columns))
        elif phase(job) != self.last_phase or time.monotonic() >= self.next_line_at:
            if text != self.said:
                self.out.write(f"  {text}\n")
            self.next_line_at = time.monotonic() + SECONDS_BETWEEN_LINES
        self.said, self.last_phase = text, phase(job)
        self.out.flush()

    def close(self) -> None:
        """Leave the redrawn line behind."""
        if self.redraws and self.said:
            self.out.write("\n")
            self.out.flush()
