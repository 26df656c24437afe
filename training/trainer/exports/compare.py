"""Whether what was exported is what was trained: the same input, the same answers.

Each export is loaded again from its files, by the runtime that it is made for, and asked what the
trained model was asked: the logits of one row, and the likeliest tokens that follow it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from training.trainer.objectives import Objective

SAMPLE_TOKENS = 16
# How far the largest logit may be off, as a share of the largest logit there is. Half types keep
# 8 or 11 bits of a number; q8_0 keeps 8 bits of the weights, in blocks of 32 with one scale.
TOLERANCES = {
    torch.float32: 1e-3,
    torch.float16: 2e-2,
    torch.bfloat16: 5e-2,
}
QUANTIZED_TOLERANCE = 0.2

Inputs = dict[str, torch.Tensor]
# Takes what the model reads of one row, gives its logits as (positions, choices), in float32 and
# in host memory.
Ask = Callable[[Inputs], torch.Tensor]


@dataclass(frozen=True)
class Answers:
    """``logits`` (positions, choices) in float32; ``sample`` is what the model writes, or the label
    that it chooses."""

    logits: torch.Tensor
    sample: str


@dataclass(frozen=True)
class Comparison:
    """``max_logit_difference`` is absolute, and so is ``tolerance``, for these logits."""

    max_logit_difference: float
    tolerance: float
    sample: str
    same_sample: bool

    @property
    def is_close(self) -> bool:
        # Written so that a difference that is not a number is none that is small.
        return self.max_logit_difference <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        return {
            "max_logit_difference": self.max_logit_difference,
            "tolerance": self.tolerance,
            "sample": self.sample,
            "same_sample": self.same_sample,
        }

    def __str__(self) -> str:
        return (
            f"largest logit difference {self.max_logit_difference:.3g} where {self.tolerance:.3g} "
            f"is allowed, {'the same' if self.same_sample else 'another'} sample"
        )


@dataclass(frozen=True)
class Probe:
    """One row, what the trained model says to it, and how to put it to others."""

    objective: Objective[Any, Any]
    inputs: Inputs
    answers: Answers

    @classmethod
    def of(cls, model: nn.Module, objective: Objective[Any, Any], example: Any) -> Probe:
        """Ask the trained model, where it is."""
        inputs = objective.probe(example)
        was_training = model.training
        model.eval()
        try:
            answers = _answers(asking(model), inputs, objective)
        finally:
            model.train(was_training)
        return cls(objective, inputs, answers)

    def compare(self, ask: Ask, share: float) -> Comparison:
        """With another form of the model; ``share`` is one of the tolerances above."""
        found = _answers(ask, self.inputs, self.objective)
        expected = self.answers.logits
        return Comparison(
            max_logit_difference=float((found.logits - expected).abs().max()),
            tolerance=share * max(1.0, float(expected.abs().max())),
            sample=found.sample,
            same_sample=found.sample == self.answers.sample,
        )


def asking(model: nn.Module) -> Ask:
    """A Transformers model, bare or with an adapter around it, wherever it is."""
    device = next(model.parameters()).device

    @torch.no_grad()
    def ask(inputs: Inputs) -> torch.Tensor:
        logits: torch.Tensor = model(**{k: v.to(device) for k, v in inputs.items()}).logits[0]
        return logits.float().cpu().reshape(-1, logits.shape[-1])

    return ask


def _answers(ask: Ask, inputs: Inputs, objective: Objective[Any, Any]) -> Answers:
    logits = ask(inputs)
    if objective.pipeline_tag != "text-generation":
        return Answers(logits, objective.in_words([int(logits[-1].argmax())]))
    return Answers(logits, objective.in_words(_greedy(ask, inputs["input_ids"], logits, objective)))


def _greedy(
    ask: Ask, ids: torch.Tensor, logits: torch.Tensor, objective: Objective[Any, Any]
) -> list[int]:
    """What comes next, token by token. All that was said is read again each time: the one way in
    which every runtime can be asked."""
    written: list[int] = []
    for _ in range(SAMPLE_TOKENS):
        written.append(int(logits[-1].argmax()))
        if written[-1] == objective.processor.eos_token_id:
            break
        ids = torch.cat([ids, torch.tensor([[written[-1]]])], dim=1)
        logits = ask({"input_ids": ids})
    return written
