"""The rows of a dataset's files: under our names, and of which kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from training.trainer.data.files import Record, RowFiles, bad_row, is_table, read_records
from training.trainer.failures import BadData

ROWS_BETWEEN_NEWS = 500
OPTIONAL = frozenset({"tools"})  # fields that not every row of a file need have
ROW_KINDS = "prompt and completion, or messages, or text"


class Source(NamedTuple):
    """One row as it stands in a file. ``kind`` is prompt_completion, conversation
    (prompt and completion as lists of messages), messages, text, labelled (text and label),
    labelled_image, preference (chosen and rejected, with or without a prompt apart), or
    unpaired_preference (prompt, completion and a label that is true or false)."""

    where: str
    kind: str
    fields: dict[str, Any]


def read_sources(files: RowFiles) -> Iterator[Source]:
    """The rows of the files, under our names. Raises BadData naming file and line or row, also
    where the rows of a file are not all of one kind."""
    rows = read_bytes = 0
    for path in map(Path, files.paths):
        first: Source | None = None
        for record in read_records(path):
            source = _recognized(record, files.columns, of_table=is_table(path))
            first = first or source
            if source.kind != first.kind:
                raise bad_row(
                    source.where,
                    f"a row of kind {source.kind}, but {first.where} is of kind {first.kind}",
                )
            yield source
            rows += 1
            if rows % ROWS_BETWEEN_NEWS == 0:
                files.progress(rows, read_bytes + record.read_bytes)
        read_bytes += path.stat().st_size


def _recognized(record: Record, columns: Mapping[str, str], *, of_table: bool) -> Source:
    fields = _renamed(record, columns)
    for name in ("messages", "tools"):
        if isinstance(fields.get(name), str):
            fields[name] = _from_json(fields[name], name, record.where)
    if not isinstance(fields.get("tools") or [], list):
        raise bad_row(record.where, "tools must be a list")
    if of_table and "label" in fields:
        fields["label"] = _typed(fields["label"])
    return Source(record.where, _kind(fields, record.where), fields)


def _renamed(record: Record, columns: Mapping[str, str]) -> dict[str, Any]:
    if not columns:
        return record.fields
    fields = {name: v for name, v in record.fields.items() if name not in columns.values()}
    for name, column in columns.items():
        if column in record.fields:
            fields[name] = record.fields[column]
        elif name not in OPTIONAL:
            there = ", ".join(sorted(map(str, record.fields))) or "none"
            raise BadData(
                f"{record.where}: there is no column {column} to take as {name}. "
                f"The columns: {there}.",
                advice="Correct the setting columns, or the row.",
            )
    return fields


def _from_json(text: str, name: str, where: str) -> Any:
    """Lists are often kept as text, in tables above all."""
    try:
        return json.loads(text) if text.strip() else None
    except (ValueError, RecursionError) as error:
        raise bad_row(where, f"{name} is text, but not JSON ({error})") from error


def _typed(label: str) -> str | int | bool:
    """What a label means that is text in a table, as all cells are."""
    if label.lower() in ("true", "false"):
        return label.lower() == "true"
    return int(label) if label.isascii() and label.isdecimal() else label


def _kind(fields: dict[str, Any], where: str) -> str:
    if "chosen" in fields and "rejected" in fields:
        return _pair_kind(fields, where)
    if "image" in fields and "label" in fields:
        return "labelled_image"
    if "prompt" in fields and "completion" in fields:
        prompt, completion = fields["prompt"], fields["completion"]
        judged = isinstance(fields.get("label"), bool)
        if isinstance(prompt, str) and isinstance(completion, str):
            return "unpaired_preference" if judged else "prompt_completion"
        if _is_conversation(prompt) and _is_conversation(completion):
            return "unpaired_preference" if judged else "conversation"
        raise bad_row(where, "prompt and completion must both be text, or both lists of messages")
    if "messages" in fields:
        if _is_conversation(fields["messages"]):
            return "messages"
        raise bad_row(where, "messages must be a list of objects with a role and content")
    if "text" in fields:
        if isinstance(fields["text"], str):
            label = fields.get("label")
            is_label = isinstance(label, str | int) and not isinstance(label, bool)
            return "labelled" if is_label else "text"
        raise bad_row(where, "text must be a string")
    found = ", ".join(sorted(fields)) or "none"
    raise bad_row(where, f"needs the fields {ROW_KINDS} (found: {found})")


def _pair_kind(fields: dict[str, Any], where: str) -> str:
    """Of a row with two answers: they are alike, and so is the prompt if it stands apart."""
    sides = fields["chosen"], fields["rejected"]
    if all(isinstance(side, str) for side in sides):
        if isinstance(fields.get("prompt", ""), str):
            return "preference"
        raise bad_row(where, "prompt must be text, as chosen and rejected are")
    if all(_is_conversation(side) for side in sides):
        return "preference"
    raise bad_row(where, "chosen and rejected must both be text, or both lists of messages")


def _is_conversation(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in value)
        and all("content" in m or "tool_calls" in m for m in value)
    )


def of_kinds(sources: Iterable[Source], kinds: tuple[str, ...], method: str) -> Iterator[Source]:
    """Only lets rows pass that the method learns from. Raises BadData."""
    for source in sources:
        if source.kind not in kinds:
            raise wrong_kind(source, kinds, method)
        yield source


def wrong_kind(source: Source, kinds: tuple[str, ...], method: str) -> BadData:
    return BadData(
        f"{source.where}: a row of kind {source.kind}, but the method {method} learns from rows of "
        f"kind {' or '.join(kinds)}.",
        advice="Choose another method for this dataset, or another dataset for this method.",
    )
