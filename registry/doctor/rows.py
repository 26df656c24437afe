"""Is this row one that can be trained on? The same rules as the trainer's, told in full."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from api.plain import plain_text
from registry.doctor.findings import Finding, Level

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
# Layouts that others write, and what to rename in them.
FOREIGN = {
    "instruction": "Rename instruction to prompt and output to completion.",
    "question": "Rename question to prompt and answer to completion.",
    "conversations": "Rename conversations to messages, from to role and value to content.",
    "input": "Rename input to prompt and output to completion.",
    "content": "Rename content to text.",
}


@dataclass
class Judged:
    """``kind`` is one of the trainer's kinds of rows: prompt_completion, conversation (prompt and
    completion as lists of messages), messages, text, labelled, labelled_image, preference or
    unpaired_preference; "" where it is none of them. ``key`` is the same for the same content."""

    kind: str = ""
    characters: int = 0
    key: int = 0
    problems: list[Finding] = field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        return bool(self.kind) and not self.problems

    def blame(self, code: str, field: str, message: str, fix: str) -> None:
        self.problems.append(Finding(code=code, field=field, message=message, fix=fix))

    def warn(self, code: str, field: str, message: str, fix: str) -> None:
        self.problems.append(
            Finding(code=code, field=field, message=message, fix=fix, level=Level.WARNING)
        )


def judge(row: dict[str, Any], *, keyed: bool = False) -> Judged:
    """Find the row's kind and what is wrong with it. ``keyed`` also works out its key."""
    judged = Judged()
    content: Any
    if "chosen" in row and "rejected" in row:
        content = _judge_preference(row, judged)
    elif "image" in row and "label" in row:
        content = [row["image"], row["label"]]
        judged.kind = "labelled_image"
        _judge_text(content[0], "image", judged)
        _judge_label(content[1], judged)
    elif "prompt" in row and "completion" in row:
        content = _judge_pair(row, judged)
    elif "messages" in row:
        content = row["messages"]
        _judge_messages(content, "messages", judged, answer_in=True)
        judged.kind = "messages"
    elif "text" in row:
        content = row["text"]
        judged.kind = "text"
        _judge_text(content, "text", judged)
        if isinstance(row.get("label"), str | int) and not isinstance(row["label"], bool):
            judged.kind = "labelled"
            _judge_label(row["label"], judged)
    else:
        content = None
        _blame_missing(row, judged)
    if keyed and judged.is_usable:
        judged.key = hash(content if isinstance(content, str) else _canonical(content))
    return judged


def _judge_pair(row: dict[str, Any], judged: Judged) -> list[Any]:
    pair = [row["prompt"], row["completion"]]
    if all(isinstance(side, list) for side in pair):
        judged.kind = "conversation"
        _judge_messages(pair[0], "prompt", judged)
        _judge_messages(pair[1], "completion", judged, answer_in=True)
    else:
        judged.kind = "prompt_completion"
        _judge_text(pair[1], "completion", judged)
        _judge_text(pair[0], "prompt", judged, may_be_empty=True)
    if isinstance(row.get("label"), bool):
        judged.kind = "unpaired_preference"
        pair.append(row["label"])
    return pair


def _judge_preference(row: dict[str, Any], judged: Judged) -> list[Any]:
    """Characters are those of the prompt and the longer answer: the most a model reads at once."""
    judged.kind = "preference"
    sides = {name: row[name] for name in ("chosen", "rejected")}
    lengths = []
    for name, side in sides.items():
        before = judged.characters
        if isinstance(side, list):
            _judge_messages(side, name, judged, answer_in=True)
        else:
            _judge_text(side, name, judged)
        lengths.append(judged.characters - before)
    judged.characters = max(lengths)
    if type(row["chosen"]) is not type(row["rejected"]):
        judged.blame(
            "wrong_type",
            "rejected",
            "chosen and rejected are not of the same type.",
            "Write both as text, or both as lists of messages.",
        )
    elif row["chosen"] == row["rejected"]:
        judged.warn(
            "same_answers",
            "rejected",
            "chosen and rejected are the same, so there is nothing to prefer.",
            "Correct or remove the row.",
        )
    prompt = row.get("prompt", "")
    if isinstance(prompt, list):
        _judge_messages(prompt, "prompt", judged)
    else:
        _judge_text(prompt, "prompt", judged, may_be_empty=True)
    return [prompt, *sides.values()]


def _judge_label(label: Any, judged: Judged) -> None:
    if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
        judged.blame(
            "bad_label",
            "label",
            f"label is {_name_of(label) if label != '' else 'empty'}.",
            "Write a word or a whole number.",
        )


def _judge_text(value: Any, field: str, judged: Judged, *, may_be_empty: bool = False) -> None:
    if not isinstance(value, str):
        judged.blame(
            "wrong_type", field, f"{field} is {_name_of(value)}, not a string.", "Write it as text."
        )
    elif value and not value.isspace():
        judged.characters += len(value)
    elif not may_be_empty:
        judged.warn("empty", field, f"{field} is empty.", "Fill it in, or remove the row.")


def _judge_messages(messages: Any, field: str, judged: Judged, *, answer_in: bool = False) -> None:
    if not isinstance(messages, list):
        judged.blame(
            "wrong_type",
            field,
            f"{field} is {_name_of(messages)}, not a list.",
            "Write a list of objects with a role and content.",
        )
        return
    if not messages:
        judged.blame("empty", field, f"{field} has no messages.", "Fill it in, or remove the row.")
    for index, message in enumerate(messages):
        _judge_message(message, f"{field}[{index}]", judged)
    if answer_in and messages and not judged.problems and not _answers(messages):
        judged.warn(
            "no_answer",
            field,
            f"{field} has no message of the assistant, so there is nothing to learn.",
            "Add the answer, or remove the row.",
        )


def _judge_message(message: Any, field: str, judged: Judged) -> None:
    if not isinstance(message, dict):
        judged.blame(
            "wrong_type",
            field,
            f"{field} is {_name_of(message)}, not an object.",
            'Write {"role": …, "content": …}.',
        )
        return
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        said = f"'{plain_text(role[:40])}'" if isinstance(role, str) else _name_of(role)
        judged.blame(
            "bad_role",
            f"{field}.role",
            f"The role is {said}.",
            f"Use one of {', '.join(ROLES)}.",
        )
    _judge_content(message, f"{field}.content", judged)


def _judge_content(message: dict[str, Any], field: str, judged: Judged) -> None:
    content = message.get("content")
    if isinstance(content, str):
        judged.characters += len(content)
    elif isinstance(content, list):  # parts, as models of text and images have them
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        judged.characters += sum(len(text) for text in parts if isinstance(text, str))
    elif "content" not in message and "tool_calls" not in message:
        judged.blame("missing_field", field, "The message has no content.", "Add it.")
    elif content is not None or "tool_calls" not in message:
        judged.blame(
            "wrong_type", field, f"The content is {_name_of(content)}.", "Write it as text."
        )


def _answers(messages: list[Any]) -> bool:
    return any(
        message["role"] == "assistant" and (message.get("content") or message.get("tool_calls"))
        for message in messages
    )


def _blame_missing(row: dict[str, Any], judged: Judged) -> None:
    for given, missing in (("prompt", "completion"), ("completion", "prompt")):
        if given in row:
            judged.blame(
                "missing_field",
                missing,
                f"The row has a {given}, but no {missing}.",
                "Give every row a prompt and a completion.",
            )
            return
    found = ", ".join(plain_text(str(name)[:40]) for name in sorted(row)[:10]) or "none"
    fix = next(
        (advice for name, advice in FOREIGN.items() if name in row),
        "Name the columns prompt and completion, or messages, or text; prompt, chosen and rejected "
        "for preferences; text and label for labels.",
    )
    judged.blame(
        "missing_field",
        "",
        f"The row has neither prompt and completion, nor messages, nor text (found: {found}).",
        fix,
    )


def _name_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False)
