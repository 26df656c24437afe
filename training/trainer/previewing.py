"""``python -m training.trainer.previewing``: some rows of a dataset as a model would see them.

Reads an order from its standard input, one JSON object, and answers with another one on its
standard output. As `counting` it needs neither torch nor Transformers, and is a process of its own
because it parses what strangers have written, and a chat template is a program.
"""

from __future__ import annotations

import itertools
import json
import resource
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.trainer.counting import ANSWERS, CPU_LIMIT_S
from training.trainer.data import tokens
from training.trainer.data.files import RowFiles
from training.trainer.data.read import Source, read_sources
from training.trainer.failures import BadData
from training.trainer.plain_tokenizer import BadTokenizer, PlainTokenizer

LONGEST_TOKENS = 4000  # of a row that are shown
LONGEST_CHARACTERS = 20_000


@dataclass(frozen=True, kw_only=True)
class Order:
    """``model`` is "" where the rows are only to be read."""

    files: tuple[str, ...]
    model: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    first: int = 0
    count: int = 5
    max_length: int | None = None
    completion_only_loss: bool = True


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One row, or one answer of a pair (``part``). ``pieces`` are (text, how): "learned", "read",
    or "cut" where it is beyond ``max_length``. ``problem`` says why there are none."""

    where: str
    kind: str = ""
    part: str = ""
    tokens: int = 0
    learned: int = 0
    pieces: list[tuple[str, str]] = field(default_factory=list)
    shortened: bool = False
    problem: str = ""


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
    order = json.load(sys.stdin)
    json.dump(preview(Order(**{**order, "files": tuple(order["files"])})), sys.stdout)
    return 0


def preview(order: Order) -> dict[str, Any]:
    """Never raises for what stands in the files."""
    try:
        tokenizer = PlainTokenizer.load(Path(order.model)) if order.model else None
    except (BadTokenizer, OSError) as error:
        return {"rows": [], "problem": str(error)}
    rows: list[Shown] = []
    problem = ""
    sources = read_sources(RowFiles(order.files, order.columns))
    try:
        for source in itertools.islice(sources, order.first, order.first + order.count):
            rows += _shown(source, tokenizer, order)
    except (BadData, OSError) as error:
        problem = str(error)
    return {"rows": [asdict(row) for row in rows], "problem": problem}


def _shown(source: Source, tokenizer: PlainTokenizer | None, order: Order) -> list[Shown]:
    if tokenizer is None or source.kind == "labelled_image":
        return [_as_read(source)]
    try:
        if source.kind == "preference":
            return [_answer(source, name, tokenizer, order) for name in ANSWERS]
        return [_row(source, _plain(source), tokenizer, order)]
    except BadData as error:
        return [Shown(where=source.where, kind=source.kind, problem=str(error))]


def _plain(source: Source) -> Source:
    """Whether an answer is good is none of its tokens."""
    if source.kind != "unpaired_preference":
        return source
    is_text = isinstance(source.fields["completion"], str)
    return source._replace(kind="prompt_completion" if is_text else "conversation")


def _answer(source: Source, name: str, tokenizer: PlainTokenizer, order: Order) -> Shown:
    prompt, answer = source.fields.get("prompt"), source.fields[name]
    empty: Any = [] if isinstance(answer, list) else ""
    fields = {"prompt": prompt if type(prompt) is type(answer) else empty, "completion": answer}
    kind = "conversation" if isinstance(answer, list) else "prompt_completion"
    if kind == "conversation" and not fields["prompt"]:
        kind, fields = "messages", {"messages": answer}
    one = Source(source.where, kind, fields)
    return _row(source, one, tokenizer, order, part=name)


def _row(
    source: Source, one: Source, tokenizer: PlainTokenizer, order: Order, *, part: str = ""
) -> Shown:
    (row,) = tokens.tokenize([one], tokenizer, completion_only_loss=order.completion_only_loss)
    cut = row.cut(order.max_length)
    limit = order.max_length or row.length
    hows = [
        "cut" if place >= limit else "learned" if learns and place else "read"
        for place, learns in enumerate(row.loss[:LONGEST_TOKENS].tolist())
    ]
    pieces = []
    for how, run in itertools.groupby(zip(row.ids.tolist(), hows, strict=False), key=_how):
        text = tokenizer.backend.decode([token for token, _ in run], skip_special_tokens=False)
        pieces.append((text, how))
    return Shown(
        where=source.where,
        kind=source.kind,
        part=part,
        tokens=row.length,
        learned=cut.weight,
        pieces=pieces,
        shortened=row.length > LONGEST_TOKENS,
    )


def _how(token: tuple[int, str]) -> str:
    return token[1]


def _as_read(source: Source) -> Shown:
    """Without a model nobody knows what is learned: the fields as they stand."""
    pieces = []
    for name, value in source.fields.items():
        text = (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        )
        pieces.append((f"{name}: {text[:LONGEST_CHARACTERS]}\n", "read"))
    return Shown(where=source.where, kind=source.kind, pieces=pieces)


if __name__ == "__main__":
    sys.exit(main())
