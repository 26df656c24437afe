"""Rows that say which answer is better: pairs of answers, or single answers found good or bad.

Whatever the row looks like, it becomes a prompt with completions, and these are tokenized as every
prompt with its completion is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from training.trainer.data.examples import Examples
from training.trainer.data.files import RowFiles, bad_row
from training.trainer.data.read import Source, of_kinds, read_sources
from training.trainer.data.tokens import ROWS_AT_ONCE, Row, tokenize
from training.trainer.failures import BadData
from training.trainer.spec import METHODS, TrainSpec


@dataclass
class Pair:
    """Two rows with the same prompt: the chosen answer and the rejected one.

    For KTO the second is an answer to something else, by which is measured how far the model as a
    whole has moved, and ``desirable`` judges the first. ``reference`` are the log probabilities of
    both under the untouched base model, known once the objective has worked them out.
    """

    first: Row
    second: Row
    desirable: bool = True
    reference: tuple[float, float] | None = None

    @property
    def length(self) -> int:
        return self.first.length + self.second.length

    @property
    def weight(self) -> int:
        return 1


class _Answered(NamedTuple):
    """A prompt and an answer to it: texts, or lists of messages."""

    source: Source
    prompt: Any
    answer: Any


def load_pairs(files: RowFiles, tokenizer: Any, train: TrainSpec) -> Examples[Pair]:
    """Rows of kind preference, each answer cut to ``max_length`` tokens with its prompt. A pair is
    dropped where nothing of one of its answers is left. Raises BadData."""
    sources = of_kinds(read_sources(files), METHODS["dpo"].rows, "dpo")
    return _paired(
        (pair for source in sources for pair in _both(source)),
        tokenizer,
        train,
        itertools.repeat(True),
    )


def load_judged(files: RowFiles, tokenizer: Any, train: TrainSpec) -> Examples[Pair]:
    """Rows of kind unpaired_preference, each beside its prompt with the answer of the row before
    it, as in TRL; of a pair each answer becomes a row of its own. Raises BadData."""
    sources = list(of_kinds(read_sources(files), METHODS["kto"].rows, "kto"))
    good: list[_Answered] = []
    bad: list[_Answered] = []
    for source in sources:
        if source.kind == "unpaired_preference":
            fields = source.fields
            answered = _Answered(source, fields["prompt"], fields["completion"])
            (good if fields["label"] else bad).append(answered)
        else:
            chosen, rejected = _both(source)
            good.append(chosen)
            bad.append(rejected)
    rows = [*good, *bad]
    if len(rows) == 1:
        raise bad_row(rows[0].source.where, "the only row, but kto compares it with another one")
    beside = (
        _Answered(row.source, row.prompt, other.answer)
        for row, other in zip(rows, rows[-1:] + rows[:-1], strict=True)
    )
    labels = [True] * len(good) + [False] * len(bad)
    both = itertools.chain.from_iterable(zip(rows, beside, strict=True))
    return _paired(both, tokenizer, train, labels, second_may_be_empty=True)


def _paired(
    answered: Iterable[_Answered],
    tokenizer: Any,
    train: TrainSpec,
    labels: Iterable[bool],
    *,
    second_may_be_empty: bool = False,
) -> Examples[Pair]:
    """Two and two make a pair."""
    pairs = []
    truncated = dropped = 0
    rows = _tokenized(answered, tokenizer)
    for desirable, first, second in zip(labels, rows, rows, strict=False):
        cut = Pair(_cut(first, train), _cut(second, train), desirable)
        if not cut.first.weight or not (cut.second.weight or second_may_be_empty):
            dropped += 1
            continue
        truncated += cut.length < first.length + second.length
        pairs.append(cut)
    return Examples(pairs, truncated, dropped)


def _tokenized(answered: Iterable[_Answered], tokenizer: Any) -> Iterator[Row]:
    sources = map(_as_completion, answered)
    while chunk := list(itertools.islice(sources, ROWS_AT_ONCE)):
        yield from tokenize(chunk, tokenizer, completion_only_loss=True)


def _as_completion(answered: _Answered) -> Source:
    if type(answered.prompt) is not type(answered.answer):
        raise bad_row(answered.source.where, "text, but other rows are lists of messages")
    kind = "prompt_completion" if isinstance(answered.answer, str) else "conversation"
    fields = {"prompt": answered.prompt, "completion": answered.answer}
    tools = answered.source.fields.get("tools")
    return Source(answered.source.where, kind, {**fields, "tools": tools})


def _cut(row: Row, train: TrainSpec) -> Row:
    return Row(row.ids[: train.max_length], row.loss[: train.max_length])


def _both(source: Source) -> tuple[_Answered, _Answered]:
    """The chosen and the rejected answer. Where the prompt does not stand apart (TRL's "implicit
    prompt"), it is what both begin with."""
    chosen, rejected = source.fields["chosen"], source.fields["rejected"]
    prompt = source.fields.get("prompt")
    if type(prompt) is not type(chosen):
        length = _common(chosen, rejected)
        prompt, chosen, rejected = chosen[:length], chosen[length:], rejected[length:]
        if not (chosen and rejected):
            raise BadData(
                f"{source.where}: chosen and rejected are the same, or one is where the other "
                "begins, so no answer can be told from the prompt.",
                advice="Write the prompt into a field of its own, or remove the row.",
            )
    return _Answered(source, prompt, chosen), _Answered(source, prompt, rejected)


def _common(chosen: Any, rejected: Any) -> int:
    """How many messages both begin with, or characters without the blank before they part."""
    alike = [one == other for one, other in zip(chosen, rejected, strict=False)]
    same = alike.index(False) if False in alike else len(alike)
    return same - 1 if same and chosen[same - 1] == " " else same
