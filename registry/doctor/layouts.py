"""How others lay out the same rows: which column is which field, and what has to be rewritten."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.doctor.rows import judge

# Layouts that no columns turn into rows of ours, and what they are called.
NEED_COPY = {"sharegpt": "ShareGPT", "alpaca": "Alpaca"}
FIELDS = (
    *("prompt", "completion", "messages", "tools", "text"),
    *("chosen", "rejected", "label", "image"),
)
SPEAKERS = {
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("gpt", "assistant", "bot", "chatgpt", "model", "bing", "bard"), "assistant"),
    "system": "system",
    **dict.fromkeys(("observation", "tool", "function_response"), "tool"),
}
_PROMPTS = ("prompt", "instruction", "question", "input", "query", "problem", "source", "article")
_ANSWERS = ("completion", "output", "answer", "response", "target", "summary", "solution", "reply")
_TEXTS = ("text", "sentence", "content", "review", "document", "body", "comment", "passage")
_LABELS = ("label", "labels", "class", "category", "sentiment", "intent")
_TALKS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")


@dataclass(frozen=True)
class Layout:
    """``columns`` names the column that each of our fields stands in: a job can read the files so.
    ``name`` is "" for rows under our own names. What ``needs_copy`` is read by nobody as it
    stands: its rows have to be written anew."""

    name: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_copy(self) -> bool:
        return self.name in NEED_COPY

    @property
    def title(self) -> str:
        return NEED_COPY.get(self.name, self.name)

    def row(self, row: dict[str, Any], *, is_table: bool = False) -> dict[str, Any]:
        """The row as the trainer will have it, or would, once it is written anew."""
        if rewrite := _REWRITERS.get(self.name):
            row = rewrite(row)
        elif self.columns:
            row = _renamed(row, self.columns)
        return _unfolded(row, is_table=is_table)


def recognised(rows: list[dict[str, Any]]) -> Layout:
    """Of some rows under the names that they have in their files."""
    usable = sum(bool(judge(_unfolded(row, is_table=False)).kind) for row in rows)
    if not rows or 2 * usable >= len(rows):
        return Layout()
    names = {name.lower(): name for row in rows[:50] for name in row if isinstance(name, str)}
    if talk := _first(names, _TALKS):
        if _share(rows, lambda row: _is_sharegpt(row.get(talk))) > 0.5:
            return Layout("sharegpt", {"messages": talk})
        if talk != "messages" and _share(rows, lambda row: _has_roles(row.get(talk))) > 0.5:
            return Layout("columns", {"messages": talk})
    chosen, rejected = names.get("chosen"), names.get("rejected")
    prompt = _first(names, _PROMPTS)
    if chosen and rejected:
        return Layout("columns", _renames(prompt=prompt, chosen=chosen, rejected=rejected))
    if "instruction" in names and (answer := _first(names, _ANSWERS)):
        return _alpaca(rows, names, answer)
    answer = _first(names, _ANSWERS)
    if prompt and answer:
        return Layout("columns", _renames(prompt=prompt, completion=answer))
    text, label = _first(names, _TEXTS), _first(names, _LABELS)
    if text:
        return Layout("columns", _renames(text=text, label=label))
    return Layout()


def _alpaca(rows: list[dict[str, Any]], names: dict[str, str], answer: str) -> Layout:
    """An instruction with an input of its own makes one prompt, which no column is."""
    instruction, extra = names["instruction"], names.get("input")
    columns = {"prompt": instruction, "completion": answer}
    if extra and any(row.get(extra) for row in rows):
        return Layout("alpaca", columns)
    return Layout("columns", columns)


def _renames(**columns: str | None) -> dict[str, str]:
    return {name: column for name, column in columns.items() if column}


def _first(names: dict[str, str], wanted: tuple[str, ...]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _share(rows: list[dict[str, Any]], claim: Callable[[dict[str, Any]], bool]) -> float:
    return sum(map(claim, rows)) / len(rows)


def _turns(value: Any) -> list[Any]:
    if isinstance(value, str):
        value = _from_json(value)
    return value if isinstance(value, list) else []


def _is_sharegpt(value: Any) -> bool:
    turns = _turns(value)
    return bool(turns) and all(
        isinstance(turn, dict) and "from" in turn and "value" in turn for turn in turns
    )


def _has_roles(value: Any) -> bool:
    turns = _turns(value)
    return bool(turns) and all(isinstance(turn, dict) and "role" in turn for turn in turns)


# --- What is done to a row -----------------------------------------------------------------------


def _renamed(row: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """As the trainer does: a field whose column is missing is not there, whatever it is called."""
    taken = {*columns, *columns.values()}
    fields = {name: value for name, value in row.items() if name not in taken}
    return fields | {name: row[column] for name, column in columns.items() if column in row}


def _unfolded(row: dict[str, Any], *, is_table: bool) -> dict[str, Any]:
    """Lists that are kept as text, and labels that are text in a table, as all cells are."""
    for name in ("messages", "tools"):
        if isinstance(row.get(name), str):
            row = {**row, name: _from_json(row[name])}
    if is_table and isinstance(row.get("label"), str):
        row = {**row, "label": _typed(row["label"])}
    return row


def _from_json(text: str) -> Any:
    """The text itself where it is no JSON: that is then found to be wrong."""
    try:
        return json.loads(text) if text.strip() else None
    except (ValueError, RecursionError):
        return text


def _typed(label: str) -> str | int | bool:
    if label.lower() in ("true", "false"):
        return label.lower() == "true"
    return int(label) if label.isascii() and label.isdecimal() and len(label) < 19 else label


def _from_sharegpt(row: dict[str, Any]) -> dict[str, Any]:
    talk = next((name for name in row if str(name).lower() in _TALKS), None)
    turns = _turns(row.get(talk)) if talk else []
    messages: list[Any] = [_message(turn) for turn in turns]
    system = row.get("system")
    if isinstance(system, str) and system:
        messages.insert(0, {"role": "system", "content": system})
    others = {name: value for name, value in row.items() if name not in (talk, "system")}
    return {**others, "messages": messages if turns else row.get(talk or "")}


def _message(turn: Any) -> Any:
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    speaker = turn["from"]
    role = SPEAKERS.get(speaker.lower(), speaker) if isinstance(speaker, str) else speaker
    return {"role": role, "content": turn.get("value")}


def _from_alpaca(row: dict[str, Any]) -> dict[str, Any]:
    names = {str(name).lower(): name for name in row}
    parts = [row.get(names.get(name, "")) for name in ("system", "instruction", "input")]
    answer = _first(names, _ANSWERS)
    taken = {*(names.get(name) for name in ("system", "instruction", "input")), answer}
    found = {name: value for name, value in row.items() if name not in taken}
    if "instruction" in names:
        texts = [part for part in parts if isinstance(part, str) and part]
        is_text = isinstance(parts[1], str)
        found["prompt"] = "\n\n".join(texts) if is_text else parts[1]
    if answer:
        found["completion"] = row[answer]
    return found


_REWRITERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "sharegpt": _from_sharegpt,
    "alpaca": _from_alpaca,
}
