"""What a process that answers prompts (`training.trainer.generate`) is told, and what it says.

Its folder has ``serving.json``, the model; ``orders.jsonl``, to which whoever started it appends
one prompt after the other, or that one of them is no longer wanted; and ``events.jsonl``, to which
it appends what it has to say. Standard library only.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.trainer import events
from training.trainer.settings import BadSpec

FILE_NAME = "serving.json"
ORDERS = "orders.jsonl"

# Whose answer it is: that of the base model, or of what was made of it.
BASE = "base"
TUNED = "tuned"
SIDES = (TUNED, BASE)

# What it says. Each line names the ``id`` of the order.
LOADING = "loading"  # side; it may take minutes
BEGUN = "begun"  # side prompt_tokens
TEXT = "text"  # side text (what is new) tokens (of all that was written so far)
DONE = "done"  # side finish_reason tokens seconds
ANSWERED = "answered"  # every side is done
FAILED = "failed"  # kind message advice

# Why an answer ends: the model said so, or somebody else did.
FINISH_REASONS = ("stop", "length", "time", "cancelled")


@dataclass(frozen=True, kw_only=True)
class ServingSpec:
    """Folders of a ``base`` model, an ``adapter`` for it, or ``tuned`` weights of their own; ""
    where there is none. ``code`` of their own may run as BaseModelSpec has it."""

    base: str = ""
    adapter: str = ""
    tuned: str = ""
    base_code: dict[str, str] = field(default_factory=dict)
    tuned_code: dict[str, str] = field(default_factory=dict)
    four_bit: bool = False  # the base model was held in four bits while its adapter was trained
    gpus: int = 0
    num_threads: int = 1

    @classmethod
    def read(cls, folder: Path) -> ServingSpec:
        """Raises BadSpec."""
        try:
            return cls(**json.loads((folder / FILE_NAME).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise BadSpec(f"cannot read {folder / FILE_NAME}: {error}") from error

    def write(self, folder: Path) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=2)
        (folder / FILE_NAME).write_text(text, encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Names and meanings of Transformers' GenerationConfig; a ``temperature`` of 0 always takes the
    likeliest token. The same ``seed`` gives the same answer."""

    max_new_tokens: int = 256
    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 50
    repetition_penalty: float = 1.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Order:
    """A prompt as plain text or, where there are ``messages``, as a conversation. ``seconds`` is
    what each answer may take, without the loading."""

    id: str
    sides: tuple[str, ...]
    prompt: str = ""
    messages: tuple[dict[str, str], ...] = ()
    sampling: Sampling = Sampling()
    seconds: float = 120.0

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Order:
        lists = {name: tuple(raw[name]) for name in ("sides", "messages")}
        return cls(**{**raw, **lists, "sampling": Sampling(**raw["sampling"])})


def give(folder: Path, order: Order) -> None:
    _append(folder / ORDERS, {"order": dataclasses.asdict(order)})


def take_back(folder: Path, order_id: str) -> None:
    """It is no longer wanted, whether it is answered just now or waits."""
    _append(folder / ORDERS, {"take_back": order_id})


class Orders:
    """The orders of a folder as the process finds them. `look` is cheap enough for every token."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ORDERS
        self._offset = 0
        self.waiting: list[Order] = []
        self.taken_back: set[str] = set()

    def look(self) -> None:
        lines, self._offset = events.follow(self._path, self._offset)
        for line in lines:
            if "order" in line:
                self.waiting.append(Order.from_dict(line["order"]))
            else:
                self.taken_back.add(line["take_back"])


class Says:
    """The process's side of events.jsonl."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / events.FILE_NAME

    def __call__(self, event: str, **facts: Any) -> None:
        _append(self._path, {"event": event, "time": round(time.time(), 3), **facts})


def _append(path: Path, line: dict[str, Any]) -> None:
    """By one write, so that a reader never finds two lines mixed."""
    with open(path, "ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")
