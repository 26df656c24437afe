"""Fields of the pages, made from those of the API: what it accepts and refuses, these do."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from rest_framework import serializers

from training.api.plans import LARGEST, TargetModulesField
from training.api.serializers import JobCreateSerializer
from training.trainer import spec
from training.wizard.catalogue import Words

# What the API takes as any word and later looks up.
KNOWN_WORDS = {"export": spec.EXPORTS}
ALWAYS = {"export": ("safetensors",)}
YES, NO = "true", "false"


@dataclass(frozen=True)
class Field:
    """One question of a page. ``kind``: text, choice, switch or many (boxes to tick).

    ``value`` is what was typed, else the ``default``, and ``why`` says where that comes from.
    """

    path: str
    words: Words
    kind: str
    value: str
    default: str
    why: str = ""
    error: str = ""
    range: str = ""
    inputmode: str = "text"
    choices: list[tuple[str, str]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return id_of(self.path)

    @property
    def is_said(self) -> bool:
        return self.value != self.default

    @property
    def ticked(self) -> list[str]:
        return [*ALWAYS.get(self.path, ()), *listed(self.value)]

    @property
    def always(self) -> tuple[str, ...]:
        return ALWAYS.get(self.path, ())


def id_of(path: str) -> str:
    """Without dots, which mean something to CSS and htmx."""
    return f"f-{path.replace('.', '-')}"


@cache
def _api() -> Any:
    return JobCreateSerializer()


def api_field(path: str) -> Any:
    """The serializer's own field of this dotted name."""
    found = _api()
    for name in path.split("."):
        found = found.fields[name]
    return found


def make(path: str, words: Words, **facts: Any) -> Field:
    """``choices`` among the facts wins over those of the API."""
    of_api = api_field(path)
    if "choices" in facts:
        return Field(path, words, kind="choice", **facts)
    if isinstance(of_api, serializers.BooleanField):
        if of_api.allow_null:
            choices = [("", "By its kind"), (YES, "Yes"), (NO, "No")]
            return Field(path, words, kind="choice", choices=choices, **facts)
        return Field(path, words, kind="switch", **facts)
    if isinstance(of_api, serializers.ChoiceField):
        return Field(path, words, kind="choice", choices=_choices(of_api), **facts)
    if isinstance(of_api, serializers.ListField) and (known := _known(path, of_api)):
        return Field(path, words, kind="many", choices=[(one, one) for one in known], **facts)
    return Field(
        path, words, kind="text", range=_range(of_api), inputmode=_inputmode(of_api), **facts
    )


def _choices(of_api: Any) -> list[tuple[str, str]]:
    return [(str(value), str(label)) for value, label in of_api.choices.items()]


def _known(path: str, of_api: Any) -> tuple[str, ...]:
    if isinstance(of_api.child, serializers.ChoiceField):
        return tuple(of_api.child.choices)
    return KNOWN_WORDS.get(path, ())


def _inputmode(of_api: Any) -> str:
    if isinstance(of_api, serializers.IntegerField):
        return "numeric"
    return "decimal" if isinstance(of_api, serializers.FloatField) else "text"


def _range(of_api: Any) -> str:
    """ "1 to 10,000", "0 or more": as the API's own field has it."""
    low, high = getattr(of_api, "min_value", None), getattr(of_api, "max_value", None)
    if low is None:
        return ""
    if high is None or high >= LARGEST:
        return f"{low:,} or more"
    return f"{low:,} to {int(high) if high == int(high) else high:,}"


def typed(path: str, text: str) -> Any:
    """What was typed as the API takes it: lists as lists. Numbers the serializer itself reads."""
    of_api = api_field(path)
    if isinstance(of_api, serializers.ListField):
        return listed(text)
    if isinstance(of_api, TargetModulesField) and text != "all-linear":
        return listed(text)
    return text


def listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def shown(value: Any) -> str:
    """A value of the API as one would type it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return YES if value else NO
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value)
    return str(value)
