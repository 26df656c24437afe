"""The settings of a recipe as a form, and in words: each with its label and a sentence about it.

What it says nothing of is left to the platform's own default, so each field may be empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework import serializers

from training.models import Recipe, RecipeVersion
from training.trainer import spec
from training.wizard import fields
from training.wizard.catalogue import GROUPS, Words

NOT_SET = ("", "Not set")
_OF_SOME = frozenset(name for method in spec.METHODS.values() for name in method.settings)
_PLAIN = {"train": spec.TrainSpec, "lora": spec.LoraSpec}


@dataclass(frozen=True)
class Explained:
    """One setting. ``usual`` is what holds where a recipe says nothing."""

    path: str
    words: Words
    value: str
    usual: str


def modality_of(method: str) -> str:
    return spec.METHODS[method].modality


def asks(method: str, path: str) -> bool:
    """Whether a run of this method has such a setting that a recipe could say something of."""
    section, _, name = path.partition(".")
    of_method = spec.METHODS[method].settings
    adapts = "use_peft" in of_method or method == "lora"
    if section == "lora":
        return adapts
    return section == "train" and (name not in _OF_SOME or name in of_method)


def _asked(method: str) -> Iterator[tuple[str, str, Words]]:
    for title, words_of in GROUPS.items():
        for path, words in words_of.items():
            if asks(method, path):
                yield title, path, words


def _said(defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{name}": value
        for section, values in defaults.items()
        for name, value in values.items()
    }


def explained(method: str, defaults: Mapping[str, Any]) -> list[Explained]:
    """What a recipe says, in the order of the wizard."""
    said = _said(defaults)
    return [
        Explained(path, words, fields.shown(said[path]), _usual(path))
        for _, path, words in _asked(method)
        if path in said
    ]


def _usual(path: str) -> str:
    section, _, name = path.partition(".")
    return fields.shown(getattr(_PLAIN[section], name, None))


def groups(
    method: str, defaults: Mapping[str, Any], said: Mapping[str, str], errors: Mapping[str, str]
) -> list[dict[str, Any]]:
    """``{"title", "fields"}``: as was typed where somebody has typed, else as the recipe has it."""
    known = {path: fields.shown(value) for path, value in _said(defaults).items()}
    found: dict[str, list[fields.Field]] = {}
    for title, path, words in _asked(method):
        value = said.get(path, "") if said else known.get(path, "")
        error = errors.get(f"defaults.{path}", "")
        found.setdefault(title, []).append(_field(path, words, value, error))
    return [{"title": title, "fields": some} for title, some in found.items()]


def _field(path: str, words: Words, value: str, error: str) -> fields.Field:
    of_api = fields.api_field(path)
    facts: dict[str, Any] = {"value": value, "default": "", "error": error}
    if isinstance(of_api, serializers.BooleanField):
        facts["choices"] = [NOT_SET, (fields.YES, "Yes"), (fields.NO, "No")]
    elif isinstance(of_api, serializers.ChoiceField):
        facts["choices"] = [NOT_SET, *((str(one), str(one)) for one in of_api.choices)]
    usual = _usual(path)
    why = f"Not set: {usual}." if usual else ""
    return fields.make(path, words, why=why, **facts)


def defaults_of(method: str, said: Mapping[str, str]) -> dict[str, Any]:
    """What was typed, as the API takes it."""
    found: dict[str, dict[str, Any]] = {}
    for _, path, _ in _asked(method):
        if text := said.get(path, "").strip():
            section, _, name = path.partition(".")
            found.setdefault(section, {})[name] = fields.typed(path, text)
    return found


def not_of_a_field(method: str, errors: Mapping[str, str]) -> list[str]:
    """What has no place beside one of the settings."""
    beside = {f"defaults.{path}" for _, path, _ in _asked(method)}
    return [
        f"{name.replace('_', ' ')}: {text}" if name else text
        for name, text in errors.items()
        if name not in beside
    ]


def versions(recipe: Recipe, earlier: Iterable[RecipeVersion]) -> list[dict[str, Any]]:
    """Newest first, each with what the next one changed of it."""
    found = []
    after = _said(recipe.defaults)
    for version in earlier:
        before = _said(version.defaults)
        paths = [path for path in {**before, **after} if before.get(path) != after.get(path)]
        changes = [
            {"path": path, "was": _or_nothing(before, path), "became": _or_nothing(after, path)}
            for path in sorted(paths)
        ]
        found.append({"version": version, "changes": changes})
        after = before
    return found


def _or_nothing(said: Mapping[str, Any], path: str) -> str:
    return fields.shown(said[path]) if path in said else "not set"
