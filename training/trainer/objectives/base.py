"""The side of a run that knows what is learned: its rows, its batches and its loss.

The loop around it knows steps, checkpoints and speed, and nothing of text or images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import nn

from training.trainer.data.examples import Example, Examples
from training.trainer.data.files import RowFiles
from training.trainer.distributed import Ranks
from training.trainer.spec import RunSpec

E = TypeVar("E", bound=Example)
B = TypeVar("B")


class Judged(NamedTuple):
    """``loss`` is the sum over a batch, a scalar with a gradient. ``numbers`` are sums over it too,
    by name, and only worked out while the head is in evaluation mode; `Objective.summary` makes of
    them what is told."""

    loss: torch.Tensor
    numbers: dict[str, torch.Tensor]


class Objective(ABC, Generic[E, B]):
    """``processor`` is the tokenizer or image processor that is saved beside the weights."""

    auto_class = "AutoModelForCausalLM"  # of Transformers
    task_type: str | None = "CAUSAL_LM"  # of PEFT
    pipeline_tag = "text-generation"  # of model hubs
    makes_head = False  # the last layer may be new, and is always trained

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.processor = self.load_processor()

    @abstractmethod
    def load_processor(self) -> Any:
        """Raises BadModel."""

    @abstractmethod
    def load(self, files: RowFiles) -> Examples[E]:
        """The rows of the files, ready for `collate`. Raises BadData."""

    @abstractmethod
    def collate(self, examples: Sequence[E], device: torch.device) -> B:
        """A batch on the device, without waiting for it."""

    @abstractmethod
    def head(self, model: nn.Module) -> nn.Module:
        """The model with its loss: a module that makes of a batch a `Judged`."""

    def model_settings(self) -> dict[str, Any]:
        """Further arguments of from_pretrained."""
        return {}

    def check_fit(self, model: nn.Module, examples: Sequence[E]) -> None:
        """Raises BadModel or BadSpec where these examples cannot be put to this model."""

    @abstractmethod
    def probe(self, example: E) -> dict[str, torch.Tensor]:
        """What the model reads of one example, as its arguments, in host memory: enough to compare
        two forms of the model."""

    def in_words(self, choices: Sequence[int]) -> str:
        """Tokens, or the number of a label, as people read them."""
        return str(self.processor.decode(list(choices), skip_special_tokens=True))

    def before_training(
        self, head: nn.Module, examples: Sequence[E], keep_in: Path, ranks: Ranks, *, resumed: bool
    ) -> None:
        """Work out what only the untouched base model knows of the ``examples`` that the run will
        look at, and keep it in the folder ``keep_in`` for a process that goes on later."""

    def summary(self, sums: dict[str, torch.Tensor], weight: int) -> dict[str, float]:
        """What is told of an evaluation: of each number the mean over everything that counts."""
        return {name: float(total) / weight for name, total in sums.items()}
