"""Speed and health of the steps since the last report."""

from __future__ import annotations

import logging
import resource
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from training.trainer import events
from training.trainer.events import EventLog
from training.trainer.failures import Diverged
from training.trainer.spec import TrainSpec

logger = logging.getLogger(__name__)

NEWS_EVERY_S = 10.0  # how often the log says how far it is
CALM_LOSSES = 20  # logged losses that tell an explosion from noise


@dataclass(frozen=True)
class Taken:
    """One step: its loss (the mean over everything that carries loss) and gradient norm, still on
    the device; the rows and tokens that went in, padding not counted."""

    loss: torch.Tensor
    grad_norm: torch.Tensor
    rows: int
    tokens: int


class LossWatch:
    """Tells a loss that explodes from one that is noisy or has become harder.

    It has exploded when the median of the last 20 logged losses is more than twice the best such
    median so far, and 2 more on top. A language model that has lost what it knew is above 6 nats
    wherever it was before; a harder part of the data, or rows known by heart before, cost less.
    """

    def __init__(self, losses: Iterable[tuple[int, float]]) -> None:
        """``losses`` are those of the steps before a restart."""
        self.recent: deque[float] = deque(maxlen=CALM_LOSSES)
        self.best: float | None = None
        self.best_step = 0
        for step, loss in losses:
            self.add(step, loss)

    def add(self, step: int, loss: float) -> None:
        self.recent.append(loss)
        if len(self.recent) == CALM_LOSSES and (self.best is None or self.now < self.best):
            self.best, self.best_step = self.now, step

    @property
    def now(self) -> float:
        return statistics.median(self.recent)

    @property
    def has_exploded(self) -> bool:
        return self.best is not None and self.now > 2 * self.best + 2


class Meter:
    """Waits for the device only to report. ``scaled``: a gradient scaler skips steps with infinite
    gradients, so these are no sign of trouble. ``saved_steps`` names the steps of which there are
    checkpoints."""

    def __init__(
        self,
        log: EventLog,
        train: TrainSpec,
        *,
        rows: int,
        max_steps: int,
        device: torch.device,
        scaled: bool,
        first_step: int,
        saved_steps: Callable[[], list[int]],
    ) -> None:
        self.log = log
        self.train = train
        self.all_rows = rows
        self.max_steps = max_steps
        self.device = device
        self.scaled = scaled
        self.saved_steps = saved_steps
        before = log.curve(events.STEP, "loss")
        self.watch = LossWatch((step, loss) for step, loss in before if step <= first_step)
        self.healthy = torch.ones((), dtype=torch.bool, device=device)
        self.rate = 0.0
        self.last_news = time.monotonic()
        self._reset()

    def _reset(self) -> None:
        self.seconds = 0.0
        self.tokens = self.rows = 0

    def start_step(self, rate: float) -> None:
        self.rate = rate
        self.started = time.perf_counter()

    def end_step(self, step: int, taken: Taken) -> None:
        """``step`` steps are done now; says so where it is time to."""
        self.healthy &= taken.loss.isfinite()
        if not self.scaled:
            self.healthy &= taken.grad_norm.isfinite()
        self.seconds += time.perf_counter() - self.started
        self.tokens += taken.tokens
        self.rows += taken.rows
        if step % self.train.logging_steps == 0 or step in (1, self.max_steps):
            self._report(step, taken)

    def check_health(self, step: int) -> None:
        """Raises Diverged where a loss or gradient since the start was not a number."""
        if not self.healthy.item():
            raise self._diverged(f"The loss is not a number any more at step {step}", good=step)

    def _check_loss(self, step: int, loss: float) -> None:
        """Raises Diverged where it has exploded."""
        self.watch.add(step, loss)
        if self.watch.has_exploded:
            raise self._diverged(
                f"The loss has exploded: it is about {self.watch.now:.3g} at step {step}, and was "
                f"{self.watch.best:.3g} at step {self.watch.best_step}",
                good=self.watch.best_step,
            )

    def _diverged(self, what: str, *, good: int) -> Diverged:
        """``good``: up to there the weights are of use."""
        saved = max((step for step in self.saved_steps() if step <= good), default=None)
        kept = "No checkpoint is left from before"
        if saved is not None:
            kept = f"The last good checkpoint is that of step {saved}"
        return Diverged(
            f"{what}, with a learning rate of {self.rate:g}. {kept}.",
            advice=f"Lower learning_rate (it is {self.train.learning_rate:g}), for "
            "example to a tenth, or raise warmup_steps.",
        )

    def _report(self, step: int, taken: Taken) -> None:
        self.started = time.perf_counter()
        self.check_health(step)  # waits for the device
        loss = taken.loss.item()
        self.seconds += time.perf_counter() - self.started
        speed = self.tokens / self.seconds
        self.log.emit(
            events.STEP,
            step=step,
            epoch=round(step * self.train.global_batch_size / self.all_rows, 4),
            loss=loss,
            learning_rate=self.rate,
            grad_norm=taken.grad_norm.item(),
            tokens=taken.tokens,
            tokens_per_s=round(speed, 1),
            samples_per_s=round(self.rows / self.seconds, 4),
            memory_mb=round(peak_memory_bytes(self.device) / 2**20, 1),
        )
        self._check_loss(step, loss)
        if time.monotonic() - self.last_news > NEWS_EVERY_S or step in (1, self.max_steps):
            self.last_news = time.monotonic()
            of = f"Step {step} of {self.max_steps}"
            logger.info("%s: loss %.4f, %.0f tokens per second.", of, loss, speed)
        self._reset()


def peak_memory_bytes(device: torch.device) -> int:
    """On the GPU the most that torch had allocated, on the CPU the most the process occupied."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
