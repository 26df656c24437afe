"""The form of the playground: what was said in it, as words and as the body of the API's call."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from registry.models import Adapter
from training.models import Generation
from training.playground.targets import Target
from training.trainer import orders


@dataclass(frozen=True)
class Field:
    name: str
    label: str
    help: str
    value: str
    inputmode: str = "decimal"
    error: str = ""


# Name, label, what it does, and how a screen keyboard helps.
SAMPLING = (
    ("max_new_tokens", "Longest answer", "In tokens.", "numeric"),
    ("temperature", "Temperature", "0 always takes the likeliest word.", "decimal"),
    ("top_p", "Top p", "Only the likeliest words that make up this share.", "decimal"),
    ("top_k", "Top k", "Only so many of the likeliest words; 0: all.", "numeric"),
    ("repetition_penalty", "Repetition penalty", "1 is none; above, less is repeated.", "decimal"),
    ("seed", "Seed", "The same one gives the same answer. Empty: by chance.", "numeric"),
)


class Prompt:
    """``said`` is a form that was sent; without one it begins with the settings of ``previous``,
    the prompt that was asked before."""

    def __init__(self, target: Target, said: Any, previous: Generation | None) -> None:
        self.target = target
        self.said = said
        self.previous = previous
        self.errors: dict[str, str] = {}

    @property
    def address(self) -> tuple[str, str]:
        """What a form names it by."""
        what = self.target.what
        return ("adapter" if isinstance(what, Adapter) else "model", str(what.pk))

    @property
    def can_chat(self) -> bool:
        return self.target.has_chat_template is not False

    @property
    def chats(self) -> bool:
        if self.said is not None:
            return self.can_chat and "chat" in self.said
        if self.previous is not None:
            return bool(self.previous.messages)
        return bool(self.target.has_chat_template)

    @property
    def compares(self) -> bool:
        if self.said is not None:
            return self.target.can_compare and "compare" in self.said
        if self.previous is not None:
            return self.previous.compare
        return self.target.can_compare

    @property
    def text(self) -> str:
        return self.said.get("prompt", "") if self.said is not None else ""

    @property
    def system(self) -> str:
        if self.said is not None:
            return str(self.said.get("system", ""))
        first = self.previous.messages[:1] if self.previous is not None else []
        return first[0]["content"] if first and first[0]["role"] == "system" else ""

    @property
    def can_go_on(self) -> bool:
        """There is a conversation to which this may be the next word."""
        return bool(self.previous and self.previous.messages)

    @property
    def goes_on(self) -> bool:
        return self.can_go_on and self.chats and self.said is not None and "go_on" in self.said

    @property
    def gpus(self) -> str:
        return str(self.said.get("gpus", "")) if self.said is not None else ""

    @property
    def fields(self) -> list[Field]:
        values = {**asdict(orders.Sampling()), "seed": ""}
        if self.previous is not None:
            values |= {**self.previous.sampling, "seed": ""}
        if self.said is not None:
            values |= {name: self.said.get(name, "") for name, *_ in SAMPLING}
        return [
            Field(name, label, text, str(values[name]), mode, self.errors.get(name, ""))
            for name, label, text, mode in SAMPLING
        ]

    @property
    def body(self) -> dict[str, Any]:
        """What the API would be sent. What is left empty is not said."""
        sampling = {field.name: field.value for field in self.fields if field.value.strip()}
        kind, pk = self.address
        asked: dict[str, Any] = {
            "adapter_id" if kind == "adapter" else "base_model_id": pk,
            "compare": self.compares,
            "sampling": sampling,
        }
        if self.gpus:
            asked["gpus"] = self.gpus
        if not self.chats:
            return {**asked, "prompt": self.text}
        messages = [{"role": "user", "content": self.text}] if self.text.strip() else []
        if self.goes_on:
            assert self.previous is not None
            answer = {"role": "assistant", "content": self._last_answer()}
            return {**asked, "messages": [*self.previous.messages, answer, *messages]}
        if self.system.strip():
            messages = [{"role": "system", "content": self.system}, *messages]
        return {**asked, "messages": messages}

    def refuse(self, errors: dict[str, str]) -> None:
        """Each reason to the field that it is about."""
        for path, reason in errors.items():
            name = path.removeprefix("sampling.")
            known = {one for one, *_ in SAMPLING} | {"gpus"}
            self.errors[name if name in known else "prompt"] = reason

    def _last_answer(self) -> str:
        assert self.previous is not None
        answers = [self.previous.answers.get(side, {}) for side in self.previous.sides]
        return str(answers[0].get("text", ""))

    @property
    def error(self) -> str:
        return self.errors.get("prompt", "")
