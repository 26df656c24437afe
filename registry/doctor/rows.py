"""Is this row one that can be trained on? The same rules as the trainer's, told in full."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from api.plain import plain_text
from registry.doctor.findings import Finding, Level
from registry.doctor.keys import key_of

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MOST_DEPTH = 100
_NESTING = (dict, list)
# Names that others give; where all rows have them, `layouts` reads them so.
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
    unpaired_preference; "" where it is none of them. ``texts`` are (field, text). ``content`` is
    what makes two rows the same, ``asked`` the part of it that comes before an answer."""

    kind: str = ""
    characters: int = 0
    texts: list[tuple[str, str]] = field(default_factory=list)
    content: Any = None
    asked: Any = None
    label: str | int | None = None
    problems: list[Finding] = field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        return bool(self.kind) and not self.problems

    @property
    def key(self) -> int:
        return key_of(self.content)

    def has(self, field: str, text: str) -> None:
        self.characters += len(text)
        self.texts.append((field, text))

    def blame(self, code: str, field: str, message: str, fix: str) -> None:
        self.problems.append(Finding(code=code, field=field, message=message, fix=fix))

    def warn(self, code: str, field: str, message: str, fix: str) -> None:
        self.problems.append(
            Finding(code=code, field=field, message=message, fix=fix, level=Level.WARNING)
        )


def _is_too_deep(row: dict[str, Any]) -> bool:
    """Whoever walks through such a row comes to Python's own limit: some sooner than others."""
    level = [value for value in row.values() if type(value) in _NESTING]
    for _ in range(MOST_DEPTH):
        if not level:
            return False
        level = [
            value
            for outer in level
            for value in (outer.values() if type(outer) is dict else outer)
            if type(value) in _NESTING
        ]
    return bool(level)


def judge(row: dict[str, Any]) -> Judged:
    """Find the row's kind and what is wrong with it."""
    judged = Judged()
    if _is_too_deep(row):
        judged.blame(
            "not_json",
            "",
            f"Lists and objects in the row are nested more than {MOST_DEPTH} deep.",
            "Correct the row, or remove it.",
        )
        return judged
    if "chosen" in row and "rejected" in row:
        judged.content = _judge_preference(row, judged)
        judged.asked = judged.content[0]
    elif "image" in row and "label" in row:
        judged.content = [row["image"], row["label"]]
        judged.kind = "labelled_image"
        _judge_text(row["image"], "image", judged)
        _judge_label(row["label"], judged)
    elif "prompt" in row and "completion" in row:
        judged.content = _judge_pair(row, judged)
        judged.asked = judged.content[0]
    elif "messages" in row:
        judged.content = row["messages"]
        _judge_messages(row["messages"], "messages", judged, answer_in=True)
        judged.kind = "messages"
        judged.asked = _before_answer(row["messages"]) if judged.is_usable else None
    elif "text" in row:
        judged.content = row["text"]
        judged.kind = "text"
        _judge_text(row["text"], "text", judged)
        if isinstance(row.get("label"), str | int) and not isinstance(row["label"], bool):
            judged.kind = "labelled"
            _judge_label(row["label"], judged)
    else:
        _blame_missing(row, judged)
    if not isinstance(row.get("tools") or [], list):
        judged.blame("wrong_type", "tools", "tools is no list.", "Write a list, or leave it out.")
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
    if isinstance(label, float) and label.is_integer():  # as tables with gaps in them hold numbers
        label = int(label)
    judged.label = label if isinstance(label, str | int) else None
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
        judged.has(field, value)
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
        judged.has(field, content)
    elif isinstance(content, list):  # parts, as models of text and images have them
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                judged.has(field, part["text"])
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


def _before_answer(messages: list[Any]) -> list[Any]:
    roles = [message["role"] for message in messages]
    return messages[: roles.index("assistant")] if "assistant" in roles else messages


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
