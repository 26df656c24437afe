"""What is measured on the held-out rows: loss and token accuracy, and answers word for word.

Measuring changes nothing: no gradient, no dropout, no random number, and the model is back in
training mode afterwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training.trainer import sharding
from training.trainer.data import tokens
from training.trainer.data.examples import Example, lengths_of
from training.trainer.data.files import RowFiles
from training.trainer.data.read import Source, read_sources
from training.trainer.distributed import Ranks
from training.trainer.failures import BadData
from training.trainer.model import base_of, pad_id
from training.trainer.objectives import Objective
from training.trainer.stopping import Stop
from training.trainer.suites import Suites

SPARE_TOKENS = 4  # the model may spell the right answer in other tokens than the tokenizer would


@dataclass(frozen=True)
class Question:
    """What the model reads, what it should say, and the tokens that end an answer."""

    ids: list[int]
    answer: str
    answer_tokens: int
    end_ids: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The held-out rows, the questions asked of them, and how to put them to the model."""

    head: nn.Module
    objective: Objective[Any, Any]
    rows: Sequence[Example]
    questions: list[Question]
    batch_size: int
    device: torch.device
    autocast: Callable[[], AbstractContextManager[Any]]
    stop: Stop
    ranks: Ranks
    suites: Suites | None
    suites_folder: Path

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        self.head.eval()
        try:
            with torch.no_grad(), self.autocast(), sharding.gathered(self.head):
                yield
        finally:
            self.head.train()

    def has_something(self, *, suites: bool) -> bool:
        """Whether there is anything to measure."""
        return bool(self.rows) or (suites and self.suites is not None)

    def measure(self, step: int, *, suites: bool) -> dict[str, float]:
        """``eval_loss`` and what else the objective counts (``eval_token_accuracy``); with
        ``suites`` also ``exact_match`` and what lm-evaluation-harness says. Raises
        StopRequested."""
        with self._measuring():
            numbers = self._loss() if self.rows else {}
            if suites and self.questions:
                numbers["exact_match"] = self._exact_match()
            if suites and self.suites is not None:
                numbers |= self.suites.measure(
                    self.head.model,
                    self.objective.processor,
                    batch_size=self.batch_size,
                    stop=self.stop,
                    keep_in=self.suites_folder / f"step-{step:06d}.json",
                )
        return numbers

    def _loss(self) -> dict[str, float]:
        """What the objective says of the loss and its other numbers, summed up over all rows.

        The ranks take turns. All go as often through the model; what is too much does not count.
        """
        ordered = np.argsort(-lengths_of(self.rows), kind="stable").tolist()  # least padding
        starts = range(0, len(ordered), self.batch_size)
        sums: dict[str, torch.Tensor] = {}
        for first in range(0, len(starts), self.ranks.world_size):
            self.stop.check()
            own = first + self.ranks.rank
            start = starts[min(own, len(starts) - 1)]
            rows = [self.rows[index] for index in ordered[start : start + self.batch_size]]
            judged = self.head(self.objective.collate(rows, self.device))
            for name, value in {"loss": judged.loss, **judged.numbers}.items():
                sums[name] = sums.get(name, 0) + value.double() * (own < len(starts))
        sums = {name: self.ranks.sum(value) for name, value in sums.items()}
        weight = sum(row.weight for row in self.rows)
        numbers = self.objective.summary(sums, weight)
        return {f"eval_{name}": number for name, number in numbers.items()}

    def _exact_match(self) -> float:
        """The share of questions answered word for word, decoding greedily."""
        ordered = sorted(self.questions, key=lambda question: len(question.ids), reverse=True)
        right = 0
        for start in range(0, len(ordered), self.batch_size):
            asked = ordered[start : start + self.batch_size]
            for question, ids in zip(asked, self._answers(asked), strict=True):
                said = self.objective.processor.decode(ids, skip_special_tokens=True)
                right += said.strip() == question.answer.strip()
        return right / len(self.questions)

    def _answers(self, questions: list[Question]) -> list[list[int]]:
        """The likeliest token, again and again, until each row's end token."""
        from transformers import GenerationConfig, StoppingCriteriaList

        def stop_between_tokens(ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
            self.stop.check()
            return torch.zeros(len(ids), dtype=torch.bool, device=self.device)

        pad_with = pad_id(self.objective.processor)
        longest = max(len(question.ids) for question in questions)
        padding = [longest - len(question.ids) for question in questions]
        ends = frozenset[int]().union(*(question.end_ids for question in questions))
        generated = base_of(self.head.model).generate(
            input_ids=self._tensor(
                [[pad_with] * pad + q.ids for pad, q in zip(padding, questions, strict=True)]
            ),
            attention_mask=self._tensor(
                [[0] * pad + [1] * len(q.ids) for pad, q in zip(padding, questions, strict=True)]
            ),
            generation_config=GenerationConfig(
                max_new_tokens=max(q.answer_tokens for q in questions) + SPARE_TOKENS,
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,
                use_cache=True,
                pad_token_id=pad_with,
                eos_token_id=sorted(ends) or None,
            ),
            stopping_criteria=StoppingCriteriaList([stop_between_tokens]),
        )
        return [
            _until(question.end_ids, ids)
            for question, ids in zip(questions, generated[:, longest:].tolist(), strict=True)
        ]

    def _tensor(self, rows: list[list[int]]) -> torch.Tensor:
        return torch.tensor(rows, device=self.device)


def _until(ends: frozenset[int], ids: list[int]) -> list[int]:
    return list(itertools.takewhile(lambda token: token not in ends, ids))


def questions_of(files: RowFiles, tokenizer: Any, *, limit: int) -> list[Question]:
    """Up to ``limit`` questions from held-out rows: of a conversation, the last thing the assistant
    says. Raises BadData where there is none."""
    asked = (_question(source, tokenizer) for source in read_sources(files))
    questions = list(itertools.islice((q for q in asked if q is not None), limit))
    if not questions:
        raise BadData(
            "exact_match needs held-out rows with a prompt and an answer, and there are none.",
            advice="Give the dataset validation files with prompt and completion or messages, or "
            "leave exact_match out.",
        )
    return questions


def _question(source: Source, tokenizer: Any) -> Question | None:
    fields = source.fields
    if source.kind not in ("prompt_completion", "conversation", "messages"):
        return None
    if source.kind == "prompt_completion":
        ids = tokens.begin_ids(tokenizer) + _ids(fields["prompt"], tokenizer)
        return _ask(ids, fields["completion"], fields["completion"], tokenizer)
    messages = fields.get("messages") or fields["prompt"] + fields["completion"]
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if not turns or not isinstance(messages[turns[-1]].get("content"), str):
        return None
    last = turns[-1]
    prompt = tokens.render(source, messages[:last], tokenizer, ask=True)
    text = tokens.render(source, messages[: last + 1], tokenizer)
    answer = messages[last]["content"]
    return _ask(_ids(prompt, tokenizer), answer, text.removeprefix(prompt), tokenizer)


def _ask(ids: list[int], answer: str, as_written: str, tokenizer: Any) -> Question:
    """An answer ends at the tokenizer's end token, or at the first special token that the chat
    template writes behind it."""
    answer_ids = _ids(as_written, tokenizer)
    special = set(tokenizer.all_special_ids)
    ends = [token for token in answer_ids if token in special][:1]
    if tokenizer.eos_token_id is not None:
        ends.append(tokenizer.eos_token_id)
    return Question(ids, answer, len(answer_ids), frozenset(ends))


def _ids(text: str, tokenizer: Any) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids
