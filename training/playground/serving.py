"""Starts the process that answers prompts, hands it one after the other, and writes down what it
says.

`serve` works inside a Celery task for as long as the model stays loaded. It may be killed at any
moment: the process dies with it (parent-death signal), and `placing` gives the device back and
fails the prompt that was being answered.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from api.plain import plain_text
from registry import code_reviews
from training.models import Device, Generation, Serving, Status
from training.playground import generations, placing, targets
from training.standby import keeper, trainer_environment
from training.trainer import events, orders

log = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "training.trainer.generate"]
POLL_SECONDS = 0.1
HEARTBEAT_SECONDS = 1.0
# The process keeps to the time limit itself. One that does not gets so much longer, and no more.
GRACE_SECONDS = 15.0
PREFIX = "serving-"


class Fenced(Exception):
    """The serving was given up by somebody else, or its prompt is not its own any more."""


@dataclass
class Answerer:
    """The process, the prompt that it is at, and what it has said to it."""

    serving: Serving
    folder: Path
    process: subprocess.Popen[bytes]
    offset: int = 0
    current: Generation | None = None
    answers: dict[str, Any] = field(default_factory=dict)
    seconds_left: float = 0.0
    loading_since: float | None = None
    counted_at: float = field(default_factory=time.monotonic)
    idle_since: float = field(default_factory=time.monotonic)
    jobs_seen_at: float = -math.inf
    is_told_to_stop: bool = False
    is_spoilt: bool = False  # something has failed in it: the next prompt gets a new one
    has_answered: bool = False

    def take_up(self, generation: Generation) -> None:
        if not generations.take_up(self.serving, generation):
            return
        generation.refresh_from_db()
        self.current, self.answers, self.is_told_to_stop = generation, {}, False
        self.seconds_left = generation.time_limit_s * len(generation.sides) + GRACE_SECONDS
        self.counted_at = self.loading_since = time.monotonic()  # until it says that it begins
        order = orders.Order(
            id=str(generation.pk),
            sides=generation.sides,
            prompt=generation.prompt,
            messages=tuple(generation.messages),
            sampling=orders.Sampling(**generation.sampling),
            seconds=generation.time_limit_s,
        )
        orders.give(self.folder, order)

    def hear(self) -> None:
        """Take over what it has said. Raises Fenced."""
        lines, self.offset = events.follow(self.folder / events.FILE_NAME, self.offset)
        current = self.current
        if current is None:
            return
        ending: dict[str, Any] | None = None
        ours = [line for line in lines if line["id"] == str(current.pk)]
        for line in ours:
            if line["event"] in (orders.ANSWERED, orders.FAILED):
                ending = line
            else:
                self._note(line)
        if ending is None:
            if ours and not generations.write(self.serving, current, self.answers):
                raise Fenced
        elif ending["event"] == orders.ANSWERED:
            self._end()
        else:
            generations.write(self.serving, current, self.answers)
            self.fail(ending["kind"], ending["message"], ending["advice"])

    def _note(self, line: dict[str, Any]) -> None:
        """One line into what is shown."""
        answer = self.answers.setdefault(line["side"], {"text": "", "tokens": 0})
        event = line["event"]
        if event == orders.LOADING:
            answer["state"] = "loading"
            self.loading_since = time.monotonic()
        elif event == orders.BEGUN:
            answer |= {"state": "writing", "prompt_tokens": line["prompt_tokens"]}
            self.loading_since, self.counted_at = None, time.monotonic()
        elif event == orders.TEXT:
            answer["text"] += plain_text(line["text"])  # a model may write anything
            answer["tokens"] = line["tokens"]
        elif event == orders.DONE:
            facts = {name: line[name] for name in ("finish_reason", "tokens", "seconds")}
            answer |= {"state": "done", **facts}

    def see_to_limits(self) -> None:
        """Pass on that it is no longer wanted, and end what does not end by itself."""
        assert self.current is not None
        now = time.monotonic()
        if self.loading_since is None:
            self.seconds_left -= now - self.counted_at
        elif now - self.loading_since > settings.TRAINYARD_STALL_SECONDS:
            self.seconds_left = 0
        self.counted_at = now
        if not self.is_told_to_stop and self._is_cancelled():
            self.is_told_to_stop = True
            orders.take_back(self.folder, str(self.current.pk))
            self.seconds_left = min(self.seconds_left, GRACE_SECONDS)
            if self.loading_since is not None:
                self.seconds_left = 0  # nothing is lost by ending it
        if self.seconds_left > 0:
            return
        self.kill()
        self.is_spoilt = True
        if self.is_told_to_stop:
            self._end()
        else:
            self.fail(
                "stalled",
                f"No answer within {self.current.time_limit_s} s, and no end of it either.",
                "Ask again; a shorter answer takes less time.",
            )

    def _end(self) -> None:
        """Raises Fenced."""
        assert self.current is not None
        reasons = [self.answers.get(side, {}).get("finish_reason") for side in self.current.sides]
        whole = all(reason not in (None, "cancelled") for reason in reasons)
        status = Status.COMPLETED if whole else Status.CANCELLED
        for answer in self.answers.values():
            answer["state"] = "done"
        if not generations.end(self.serving, self.current, self.answers, status):
            raise Fenced
        self._rest()

    def _is_cancelled(self) -> bool:
        assert self.current is not None
        asked = Generation.objects.filter(pk=self.current.pk).exclude(cancel_requested_at=None)
        return bool(asked.exists())

    def fail(self, kind: str, message: str, advice: str) -> None:
        assert self.current is not None
        mine = Generation.objects.filter(pk=self.current.pk, serving=self.serving)
        generations.fail(mine, kind=kind, message=message, advice=advice)
        self._rest()
        self.is_spoilt = True

    def _rest(self) -> None:
        self.current, self.idle_since, self.loading_since = None, time.monotonic(), None
        self.has_answered = True

    def died_idle(self) -> bool:
        """It has answered others, and not a word was heard about this prompt."""
        return self.has_answered and not self.answers

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def serve(serving: Serving, going_down: Callable[[], bool]) -> None:
    """Answer prompts until nobody asks, somebody else needs the device, or the worker goes down."""
    now = timezone.now()
    begun = Serving.objects.filter(pk=serving.pk, started_at=None, ended_at=None).update(
        started_at=now, heartbeat_at=now, runner_pid=os.getpid()
    )
    if not begun:
        log.info("a second message for serving %s", serving.pk)
        return
    folder = Path(settings.TRAINYARD_RUNS) / f"{PREFIX}{serving.pk}"
    answerer: Answerer | None = None
    try:
        first = placing.next_of(serving)
        if first is None:
            return
        answerer = Answerer(serving, folder, _start(serving, folder))
        answerer.take_up(first)
        _attend(answerer, going_down)
    except placing.GiveWay:
        log.info("serving %s gives way", serving.pk)
    except Fenced:
        log.warning("serving %s is not ours any more", serving.pk)
    finally:
        if answerer is not None:
            answerer.kill()
            answerer.process.wait()
        placing.lose(serving, "The platform failed around the model; its worker's log has more.")
        shutil.rmtree(folder, ignore_errors=True)


def _attend(answerer: Answerer, going_down: Callable[[], bool]) -> None:
    """Raises Fenced, and GiveWay."""
    serving, beat_at = answerer.serving, time.monotonic()
    while True:
        has_ended = answerer.process.poll() is not None
        if time.monotonic() - beat_at > HEARTBEAT_SECONDS:
            beat_at = time.monotonic()
            alive = Serving.objects.filter(pk=serving.pk, ended_at=None)
            if not alive.update(heartbeat_at=timezone.now()):
                raise Fenced
        answerer.hear()
        if going_down():
            if answerer.current is not None:
                generations.put_back(serving, answerer.current)
            return
        if has_ended:
            if answerer.current is not None and answerer.died_idle():
                generations.put_back(serving, answerer.current)  # its bad luck was not the prompt's
            elif answerer.current is not None:
                answerer.fail(*_crash(answerer))
            return
        if answerer.current is not None:
            answerer.see_to_limits()
        elif answerer.is_spoilt:
            return
        elif generation := _next(answerer):
            answerer.take_up(generation)
        elif _is_idle(answerer):
            return
        time.sleep(POLL_SECONDS)


def _next(answerer: Answerer) -> Generation | None:
    """Prompts are looked for all the time. Of jobs thousands may wait, and whether one of them is
    to have the device is seen soon enough."""
    seen_to = time.monotonic() - answerer.jobs_seen_at < HEARTBEAT_SECONDS
    if seen_to and not placing.somebody_asks():
        return None
    answerer.jobs_seen_at = time.monotonic()
    return placing.next_of(answerer.serving)


def _is_idle(answerer: Answerer) -> bool:
    return time.monotonic() - answerer.idle_since > settings.TRAINYARD_PLAYGROUND_IDLE_SECONDS


def _start(serving: Serving, folder: Path) -> subprocess.Popen[bytes]:
    _sweep(folder.parent)
    folder.mkdir(parents=True, exist_ok=True)
    spec_of(serving).write(folder)
    cards = Device.objects.filter(lease__serving=serving, kind=Device.Kind.CUDA)
    visible = ",".join(card.visible_as for card in cards)
    environment = {**trainer_environment(), "CUDA_VISIBLE_DEVICES": visible}
    with open(folder / "log.txt", "ab") as log_file:
        return keeper.take(folder, environment) or subprocess.Popen(
            [*COMMAND, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            env=environment,
        )


def _sweep(runs: Path) -> None:
    """Remove what others have left, whose process was killed."""
    ended = Serving.objects.exclude(ended_at=None)
    left = {path.name.removeprefix(PREFIX): path for path in runs.glob(f"{PREFIX}*")}
    for pk in ended.filter(pk__in=list(left)).values_list("pk", flat=True):
        shutil.rmtree(left[str(pk)], ignore_errors=True)


def spec_of(serving: Serving) -> orders.ServingSpec:
    base, tuned, adapter = serving.base_model, serving.tuned_model, serving.adapter
    return orders.ServingSpec(
        base=base.storage_path if base else "",
        tuned=tuned.storage_path if tuned else "",
        adapter=adapter.storage_path if adapter else "",
        base_code=(code_reviews.code_of(base) or {}) if base else {},
        tuned_code=(code_reviews.code_of(tuned) or {}) if tuned else {},
        four_bit=adapter is not None and targets.four_bit(adapter),
        gpus=serving.gpus,
        num_threads=serving.worker.cpu_threads if serving.worker else 1,
    )


def _crash(answerer: Answerer) -> tuple[str, str, str]:
    code = answerer.process.returncode
    how = f"signal {-code}" if code < 0 else f"exit status {code}"
    words = (answerer.folder / "log.txt").read_text("utf-8", "replace").strip().splitlines()
    last = words[-1][:300] if words else "none"
    return (
        "bug",
        f"The process that answers ended in the middle of it ({how}). Its last words: {last}",
        "Ask again. If it happens again, the model may be too large for the machine.",
    )
