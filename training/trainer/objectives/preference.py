"""Which answer is better: DPO and ORPO from pairs of answers, KTO from single ones.

The log probability of an answer is the sum over its tokens. DPO and KTO compare it with that under
the base model as it was before training (the reference). That is worked out once, before the first
step, for the rows that the run will look at, and kept in the run's folder: a step needs one pass
less, a full run no second model in memory, and a resumed one finds the same numbers again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import logsigmoid

from training.trainer.data import preferences
from training.trainer.data.examples import Examples
from training.trainer.data.files import RowFiles
from training.trainer.data.loader import to_device
from training.trainer.data.preferences import Pair, Pairs
from training.trainer.data.tokens import Row
from training.trainer.distributed import Ranks
from training.trainer.model import load_tokenizer, pad_id
from training.trainer.objectives import language, reference
from training.trainer.objectives.base import Judged, Objective
from training.trainer.objectives.language import LossHead
from training.trainer.spec import BadSpec, TrainSpec


@dataclass(frozen=True)
class Answers:
    """Answers with their prompts. Of the n tokens that are predicted ``row`` (n,) says whose each
    is, and ``lengths`` (rows,) count them. Where some are of the prompts, ``in_answer`` (n,) says
    which are not."""

    tokens: language.Batch
    row: torch.Tensor
    lengths: torch.Tensor
    in_answer: torch.Tensor | None = None


@dataclass(frozen=True)
class PairBatch:
    """``answers`` are the first of each pair and then the second of each, or with ``others`` the
    first alone and the second apart. ``reference`` (2, pairs); ``desirable`` (pairs,)."""

    answers: Answers
    reference: torch.Tensor | None
    desirable: torch.Tensor
    others: Answers | None = None


class Preference(Objective[Pair, PairBatch]):
    """What the three have in common."""

    needs_reference = True

    def load_processor(self) -> Any:
        return load_tokenizer(self.spec.base_model)

    def load(self, files: RowFiles) -> Examples[Pair]:
        return preferences.load_pairs(files, self.processor, self.spec)

    def collate(self, examples: Sequence[Pair], device: torch.device) -> PairBatch:
        answers = self.answers([*first_of(examples), *second_of(examples)], device)
        return self.batch(examples, answers, device)

    def batch(
        self,
        examples: Sequence[Pair],
        answers: Answers,
        device: torch.device,
        others: Answers | None = None,
    ) -> PairBatch:
        reference = np.array([pair.reference for pair in examples]).T.copy()
        return PairBatch(
            answers,
            to_device(reference, device) if self.needs_reference else None,
            to_device(np.array([pair.desirable for pair in examples]), device),
            others,
        )

    def answers(self, rows: Sequence[Row], device: torch.device) -> Answers:
        weights = np.array([row.weight for row in rows])
        return Answers(
            language.collate(rows, pad_id(self.processor), device),
            to_device(np.repeat(np.arange(len(rows)), weights), device),
            to_device(weights, device),
        )

    @abstractmethod
    def head(self, model: nn.Module) -> PairHead: ...

    def check_fit(self, model: nn.Module, examples: Sequence[Pair]) -> None:
        assert isinstance(examples, Pairs)
        language.check_tokens(model, examples.rows)

    def probe(self, example: Pair) -> dict[str, torch.Tensor]:
        return language.prompt_of(example.first)

    def before_training(
        self,
        head: nn.Module,
        examples: Sequence[Pair],
        keep_in: Path,
        ranks: Ranks,
        *,
        resumed: bool,
    ) -> None:
        if self.needs_reference:
            assert isinstance(head, PairHead)
            reference.work_out(self, head, examples, keep_in, ranks, resumed=resumed)


class PairHead(nn.Module):
    """The model, and the loss of a batch of pairs."""

    def __init__(self, model: nn.Module, train: TrainSpec) -> None:
        super().__init__()
        self.model = model
        self.language = LossHead(model)
        self.train_spec = train

    def forward(self, batch: PairBatch) -> Judged:
        losses, numbers = self.judge(batch)
        sums = {} if self.training else {name: value.sum() for name, value in numbers.items()}
        return Judged(losses.sum(), sums)

    @abstractmethod
    def judge(self, batch: PairBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of each pair, and other numbers about each."""

    def log_probs(self, answers: Answers) -> torch.Tensor:
        """Of each answer the sum over its tokens, of shape (rows,)."""
        return sum_of_each(self.token_log_probs(answers), answers)

    def token_log_probs(self, answers: Answers) -> torch.Tensor:
        """Of shape (n,)."""
        logits = self.language.logits(answers.tokens)
        return -nn.functional.cross_entropy(logits, answers.tokens.targets, reduction="none")


def sum_of_each(of_tokens: torch.Tensor, answers: Answers) -> torch.Tensor:
    """From (n,) to (rows,)."""
    return of_tokens.new_zeros(len(answers.lengths)).index_add(0, answers.row, of_tokens)


def first_of(pairs: Sequence[Pair]) -> list[Row]:
    return [pair.first for pair in pairs]


def second_of(pairs: Sequence[Pair]) -> list[Row]:
    return [pair.second for pair in pairs]


def rewards(chosen: torch.Tensor, rejected: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "rewards_chosen": chosen,
        "rewards_rejected": rejected,
        "rewards_accuracy": chosen > rejected,
        "rewards_margin": chosen - rejected,
    }


class Dpo(Preference):
    def head(self, model: nn.Module) -> PairHead:
        return DpoHead(model, self.spec.train)


class DpoHead(PairHead):
    """Rafailov et al. 2023, Direct Preference Optimization, equation 7. ``hinge`` is the loss of
    SLiC (Zhao et al. 2023), ``ipo`` equation 17 of Azar et al. 2023 on means over tokens, as its
    authors use it; ``label_smoothing`` is Mitchell's conservative DPO (2023), equation 3."""

    def judge(self, batch: PairBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        train = self.train_spec
        assert batch.reference is not None
        moved = self.log_probs(batch.answers).view(2, -1) - batch.reference
        chosen, rejected = moved.unbind()
        margin = train.beta * (chosen - rejected)
        if train.loss_type == "hinge":
            losses = torch.relu(1 - margin)
        elif train.loss_type == "ipo":
            chosen_tokens, rejected_tokens = batch.answers.lengths.chunk(2)
            apart = chosen / chosen_tokens - rejected / rejected_tokens
            losses = (apart - 1 / (2 * train.beta)) ** 2
        else:
            doubt = train.label_smoothing
            losses = -(1 - doubt) * logsigmoid(margin) - doubt * logsigmoid(-margin)
        return losses, rewards(train.beta * chosen, train.beta * rejected)


class Orpo(Preference):
    needs_reference = False

    def head(self, model: nn.Module) -> PairHead:
        return OrpoHead(model, self.spec.train)

    def collate(self, examples: Sequence[Pair], device: torch.device) -> PairBatch:
        """With ``completion_only_loss`` off the prompts of the chosen are learned too, as TRL's
        ORPOTrainer always does."""
        if self.spec.train.completion_only_loss:
            return super().collate(examples, device)
        chosen, rejected = first_of(examples), second_of(examples)
        whole = [Row(row.ids, np.ones_like(row.loss)) for row in chosen]
        in_answer = [row.loss[1:] for row in chosen] + [
            row.loss[1:][row.loss[1:]] for row in rejected
        ]
        answers = replace(
            self.answers([*whole, *rejected], device),
            in_answer=to_device(np.concatenate(in_answer), device),
        )
        return self.batch(examples, answers, device)


class OrpoHead(PairHead):
    """Hong et al. 2024, ORPO, equations 6 and 7: to learn the chosen answer, plus ``beta`` (λ in
    the paper) times the log odds of the chosen over the rejected one. Both by means over tokens."""

    def judge(self, batch: PairBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        beta, answers = self.train_spec.beta, batch.answers
        each = self.token_log_probs(answers)
        learned, rejected = (sum_of_each(each, answers) / answers.lengths).chunk(2)
        chosen = learned
        if answers.in_answer is not None:
            counted = sum_of_each(answers.in_answer.to(each.dtype), answers)
            chosen = (sum_of_each(each * answers.in_answer, answers) / counted).chunk(2)[0]
        odds = (chosen - rejected) - (log1m_exp(chosen) - log1m_exp(rejected))
        numbers = {"nll_loss": -learned, "log_odds_chosen": odds}
        losses = -learned - beta * logsigmoid(odds)
        return losses, numbers | rewards(beta * chosen, beta * rejected)


def log1m_exp(x: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(x)) for x < 0, without losing digits (Mächler 2012)."""
    x = x.clamp(max=-torch.finfo(x.dtype).tiny)
    near = torch.log(-torch.expm1(x.clamp(min=-0.7)))
    far = torch.log1p(-torch.exp(x.clamp(max=-0.6)))
    return torch.where(x > -0.6931, near, far)


class Kto(Preference):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        rows = self.spec.train.micro_batch_size(self.spec.device.ranks)
        if rows < 2:
            raise BadSpec(
                "global_batch_size: kto compares the rows of a micro batch with each other, and it "
                f"has {rows}; raise global_batch_size or lower grad_accum, so that it has 2 or more"
            )

    def load(self, files: RowFiles) -> Examples[Pair]:
        return preferences.load_judged(files, self.processor, self.spec)

    def collate(self, examples: Sequence[Pair], device: torch.device) -> PairBatch:
        answers = self.answers(first_of(examples), device)
        return self.batch(examples, answers, device, self.answers(second_of(examples), device))

    def head(self, model: nn.Module) -> PairHead:
        return KtoHead(model, self.spec.train)

    def summary(self, sums: dict[str, torch.Tensor], weight: int) -> dict[str, float]:
        """The rewards of the desirable rows and of the others, each by their own number."""
        told = {name: float(sums[name]) / weight for name in ("loss", "kl", "rewards_accuracy")}
        for name in ("chosen", "rejected"):
            if rows := float(sums[f"rows_{name}"]):
                told[f"rewards_{name}"] = float(sums[f"rewards_{name}"]) / rows
        if "rewards_chosen" in told and "rewards_rejected" in told:
            told["rewards_margin"] = told["rewards_chosen"] - told["rewards_rejected"]
        return told


class KtoHead(PairHead):
    """Ethayarajh et al. 2024, KTO, equations 7 and 8. How far the model has moved altogether is
    measured on answers to other prompts, without a gradient."""

    def judge(self, batch: PairBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        train = self.train_spec
        assert batch.reference is not None
        assert batch.others is not None
        with torch.no_grad():
            moved = self.log_probs(batch.others) - batch.reference[1]
            kl = (mean_over_ranks(moved.mean()) if self.training else moved.mean()).clamp(min=0)
        reward = train.beta * (self.log_probs(batch.answers) - batch.reference[0])
        above = reward - train.beta * kl
        desirable = batch.desirable
        losses = torch.where(
            desirable,
            train.desirable_weight * (1 - torch.sigmoid(above)),
            train.undesirable_weight * (1 - torch.sigmoid(-above)),
        )
        return losses, {
            "kl": kl.expand_as(reward),
            "rewards_accuracy": (above > 0) == desirable,
            "rewards_chosen": torch.where(desirable, reward, 0.0),
            "rewards_rejected": torch.where(desirable, 0.0, reward),
            "rows_chosen": desirable,
            "rows_rejected": ~desirable,
        }


def mean_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """Of the micro batches that all ranks compute at the same moment."""
    if not dist.is_initialized():
        return value
    dist.all_reduce(value)
    return value / dist.get_world_size()
