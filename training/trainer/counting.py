"""``python -m training.trainer.counting``: how many tokens the rows of a dataset become.

Reads an order from its standard input, one JSON object, and answers with another one on its
standard output; what cannot be counted is answered with a ``problem``, in words. It tokenizes as a
run would, from the tokenizer's own files and without torch or Transformers, so it is there at once.

Files that somebody else has written are parsed here, and a chat template is a program: so this is
a process of its own, with a limit of time, that nobody has to trust.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.trainer.data import tokens
from training.trainer.data.files import RowFiles
from training.trainer.data.read import Source, read_sources
from training.trainer.failures import BadData
from training.trainer.plain_tokenizer import BadTokenizer, PlainTokenizer

# All rows are counted where they are so few, else as many as this, from all over the files.
MOST_BYTES = 1_000_000
SAMPLED_LINES = 400
FIRST_ROWS = 2000
SPENT_S = 2.0  # to count, of a core; a sample is better than to wait
CPU_LIMIT_S = 8
LONGEST_LINE_BYTES = 1 << 20
ANSWERS = ("chosen", "rejected")


@dataclass(frozen=True, kw_only=True)
class Order:
    """``kind`` is how rows become tokens: "language", "preference" or "labelled"."""

    model: str
    files: tuple[str, ...]
    kind: str = "language"
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """``lengths`` are [tokens, rows] of what was looked at, ``complete`` where that is all there
    is; of two answers each counts. ``begins`` are [tokens before the answer, rows], of rows with a
    prompt and an answer. ``rows`` are some of the rows as [characters, tokens], of two
    answers the longer one."""

    rows: list[tuple[int, int]] = field(default_factory=list)
    lengths: list[tuple[int, int]] = field(default_factory=list)
    begins: list[tuple[int, int]] = field(default_factory=list)
    complete: bool = False
    problem: str = ""


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
    order = json.load(sys.stdin)
    json.dump(asdict(count(Order(**{**order, "files": tuple(order["files"])}))), sys.stdout)
    return 0


def count(order: Order) -> Counted:
    """Never raises for what stands in the files."""
    try:
        tokenizer = PlainTokenizer.load(Path(order.model))
        return _counted(order, tokenizer)
    except (BadTokenizer, BadData, OSError) as error:
        return Counted(problem=str(error) or type(error).__name__)


def _counted(order: Order, tokenizer: PlainTokenizer) -> Counted:
    files = RowFiles(order.files, order.columns)
    whole = files.size_bytes <= MOST_BYTES
    found: list[tuple[int, int]] = []
    lengths: Counter[int] = Counter()
    begins: Counter[int] = Counter()
    until = time.process_time() + SPENT_S
    in_time = True
    for source in read_sources(files) if whole else _sampled(files):
        if time.process_time() > until:
            in_time = False
            break
        each = lengths_of(source, tokenizer, order.kind)
        if each:
            found.append((characters_of(source), max(length for length, _ in each)))
        lengths.update(length for length, _ in each)
        begins.update(begin for _, begin in each)
    return Counted(
        rows=found[:: max(len(found) // SAMPLED_LINES, 1)],
        lengths=sorted(lengths.items()),
        begins=sorted(begins.items()),
        complete=whole and in_time,
    )


def lengths_of(source: Source, tokenizer: PlainTokenizer, kind: str) -> list[tuple[int, int]]:
    """[tokens, tokens before the answer] of the row, or of both its answers, each with the prompt.
    What has no prompt is learned from its beginning."""
    fields = source.fields
    if kind == "labelled":
        return [(len(tokenizer.whole(fields["text"])), 0)]
    if source.kind == "preference":
        return [_length(source, fields.get("prompt"), fields[n], tokenizer) for n in ANSWERS]
    if source.kind in tokens.TEXT_KINDS:
        return [_length(source, None, fields["text"], tokenizer)]
    if source.kind == "messages":
        asked, answered = _split(fields["messages"])
        return [_length(source, asked, answered, tokenizer)]
    return [_length(source, fields["prompt"], fields["completion"], tokenizer)]


def _split(messages: list[Any]) -> tuple[list[Any], list[Any]]:
    """What comes before the first answer, and the rest."""
    roles = [message["role"] for message in messages]
    first = roles.index("assistant") if "assistant" in roles else 0
    return messages[:first], messages[first:]


def _length(source: Source, prompt: Any, answer: Any, tokenizer: PlainTokenizer) -> tuple[int, int]:
    """A conversation is what its template makes of it; text has its ends."""
    if isinstance(answer, list):
        asked = prompt if isinstance(prompt, list) else []
        texts = [tokens.render(source, [*asked, *answer], tokenizer)]
        if asked:
            texts.append(tokens.render(source, asked, tokenizer, ask=True))
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return len(ids[0]), len(ids[1]) if asked else 0
    pair = {"prompt": prompt if isinstance(prompt, str) else "", "completion": answer}
    plain = Source(source.where, "prompt_completion", pair)
    (row,) = tokens.tokenize([plain], tokenizer, completion_only_loss=True)
    return row.length, int(row.loss.argmax()) if pair["prompt"] else 0


def characters_of(source: Source) -> int:
    """As the dataset doctor counts them."""
    fields = source.fields
    if source.kind == "preference":
        longer = max(_characters(fields["chosen"]), _characters(fields["rejected"]))
        return longer + _characters(fields.get("prompt", ""))
    names = ("text",) if source.kind in tokens.TEXT_KINDS else ("prompt", "completion", "messages")
    return sum(_characters(fields.get(name, "")) for name in names)


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        value = value.get("content")
        if isinstance(value, str):
            return len(value)
        parts = value if isinstance(value, list) else []
        texts = [part.get("text") for part in parts if isinstance(part, dict)]
        return sum(len(text) for text in texts if isinstance(text, str))
    return sum(map(_characters, value)) if isinstance(value, list) else 0


def _sampled(files: RowFiles) -> Iterator[Source]:
    """Rows from places all over the files, each the first whole line behind its place. Where lines
    are not rows, the first rows."""
    if not all(Path(path).suffix.lower() in (".jsonl", ".ndjson") for path in files.paths):
        yield from itertools.islice(read_sources(files), FIRST_ROWS)
        return
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "sample.jsonl"
        sample.write_bytes(b"".join(_lines(files.paths, files.size_bytes)))
        yield from read_sources(RowFiles((str(sample),), files.columns))


def _lines(paths: Iterable[str], size_bytes: int) -> Iterator[bytes]:
    apart = max(size_bytes // SAMPLED_LINES, 1)
    for path in paths:
        with open(path, "rb") as file:
            end, place, seen = os.path.getsize(path), 0, -1
            while place < end:
                file.seek(place)
                if place:
                    file.readline(LONGEST_LINE_BYTES)
                begin = file.tell()
                line = file.readline(LONGEST_LINE_BYTES)
                if begin > seen and line.endswith(b"\n") and line.strip():
                    yield line
                    seen = begin
                place = max(place + apart, file.tell())


if __name__ == "__main__":
    sys.exit(main())
