"""Rows that say which answer is better: pairs of answers, or single answers found good or bad.

Whatever the row looks like, it becomes a prompt with completions, and these are tokenized as every
prompt with its completion is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.trainer.data.examples import Examples, MadeWhenAsked
from training.trainer.data.files import RowFiles, bad_row
from training.trainer.data.load import Chunk, load
from training.trainer.data.read import Source, of_kinds, read_sources
from training.trainer.data.rows import Flat, Rows
from training.trainer.data.tokens import Row, tokenize
from training.trainer.failures import BadData
from training.trainer.spec import METHODS, RunSpec

# The label of the rows of a pair: how the first is judged, by which the pairs are put in order. Of
# each kind that which comes first is known last.
BAD, FIRST_BAD, GOOD, FIRST_GOOD = range(4)


@dataclass(frozen=True)
class Pair:
    """Two rows with the same prompt: the chosen answer and the rejected one.

    For KTO the second is an answer to something else, by which is measured how far the model as a
    whole has moved, and ``desirable`` judges the first. ``reference`` (2,) are the log
    probabilities of both under the untouched base model, once the objective has worked them out.
    """

    first: Row
    second: Row
    desirable: bool
    reference: npt.NDArray[np.float32]

    @property
    def length(self) -> int:
        return self.first.length + self.second.length

    @property
    def weight(self) -> int:
        return 1


class Pairs(MadeWhenAsked[Pair]):
    """Two and two rows make a pair. What is written into the ``reference`` of a pair stays."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        judged = rows.labels[::2]
        self._order = np.argsort(-judged, kind="stable")
        self._desirable = judged >= GOOD
        self._references = np.zeros((len(judged), 2), np.float32)
        self.lengths = rows.lengths.reshape(-1, 2).sum(1)[self._order]

    def made(self, index: int) -> Pair:
        place = int(self._order[index])
        return Pair(
            self.rows[2 * place],
            self.rows[2 * place + 1],
            bool(self._desirable[place]),
            self._references[place],
        )


class _Answered(NamedTuple):
    """A prompt and an answer to it: texts, or lists of messages."""

    source: Source
    prompt: Any
    answer: Any


class _Asked(NamedTuple):
    """A pair before it is tokenized."""

    first: Source
    second: Source
    judged: int


@dataclass(frozen=True)
class PairCutter:
    """Tokenizes pairs, and cuts each answer to ``max_length`` tokens with its prompt. A pair is
    dropped where nothing of one of its answers is left."""

    tokenizer: Any
    max_length: int
    second_may_be_empty: bool = False

    @property
    def settings(self) -> list[Any]:
        return ["pairs", self.max_length, self.second_may_be_empty]

    def __call__(self, read: list[_Asked]) -> Chunk:
        sources = [source for pair in read for source in (pair.first, pair.second)]
        rows = tokenize(sources, self.tokenizer, completion_only_loss=True)
        kept: list[Row] = []
        labels: list[int] = []
        truncated = dropped = 0
        for pair, first, second in zip(read, rows[::2], rows[1::2], strict=True):
            cut = first.cut(self.max_length), second.cut(self.max_length)
            if not cut[0].weight or not (cut[1].weight or self.second_may_be_empty):
                dropped += 1
                continue
            truncated += sum(row.length for row in cut) < first.length + second.length
            kept += cut
            labels += [pair.judged, pair.judged]
        return Chunk(Flat.of(kept, labels), truncated, dropped)


def load_pairs(files: RowFiles, tokenizer: Any, spec: RunSpec) -> Examples[Pair]:
    """Rows of kind preference. Raises BadData, DiskFull."""
    sources = of_kinds(read_sources(files), METHODS["dpo"].rows, "dpo")
    asked = (_asked(*_both(source), GOOD) for source in sources)
    return _loaded(asked, files, PairCutter(tokenizer, spec.train.max_length), spec)


def load_judged(files: RowFiles, tokenizer: Any, spec: RunSpec) -> Examples[Pair]:
    """Rows of kind unpaired_preference, each beside its prompt with the answer of the row before
    it, as in TRL; of a pair each answer becomes a row of its own. The good ones come before the
    bad. Raises BadData, DiskFull."""
    sources = of_kinds(read_sources(files), METHODS["kto"].rows, "kto")
    cutter = PairCutter(tokenizer, spec.train.max_length, second_may_be_empty=True)
    return _loaded(_beside_another(sources), files, cutter, spec)


def _loaded(
    asked: Iterator[_Asked], files: RowFiles, cutter: PairCutter, spec: RunSpec
) -> Examples[Pair]:
    found = load(asked, files, cutter, spec)
    return Examples(Pairs(found.rows), found.tally.truncated, found.tally.dropped)


def _beside_another(sources: Iterator[Source]) -> Iterator[_Asked]:
    """Before the first good answer stands the last bad one, before the first bad the last good."""
    first: dict[bool, _Answered] = {}
    last: dict[bool, _Answered] = {}
    for source in sources:
        for is_good, row in _judged(source):
            if is_good in last:
                yield _asked(row, _beside(row, last[is_good]), GOOD if is_good else BAD)
            first.setdefault(is_good, row)
            last[is_good] = row
    for is_good, row in first.items():
        before = last.get(not is_good, last[is_good])
        if before is row:
            raise bad_row(row.source.where, "the only row, but kto compares it with another one")
        yield _asked(row, _beside(row, before), FIRST_GOOD if is_good else FIRST_BAD)


def _judged(source: Source) -> list[tuple[bool, _Answered]]:
    if source.kind == "unpaired_preference":
        fields = source.fields
        return [(fields["label"], _Answered(source, fields["prompt"], fields["completion"]))]
    chosen, rejected = _both(source)
    return [(True, chosen), (False, rejected)]


def _beside(row: _Answered, other: _Answered) -> _Answered:
    return row._replace(answer=other.answer)


def _asked(first: _Answered, second: _Answered, judged: int) -> _Asked:
    return _Asked(_as_completion(first), _as_completion(second), judged)


def _as_completion(answered: _Answered) -> Source:
    if type(answered.prompt) is not type(answered.answer):
        raise bad_row(answered.source.where, "text, but other rows are lists of messages")
    kind = "prompt_completion" if isinstance(answered.answer, str) else "conversation"
    fields = {"prompt": answered.prompt, "completion": answered.answer}
    tools = answered.source.fields.get("tools")
    return Source(answered.source.where, kind, {**fields, "tools": tools})


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
