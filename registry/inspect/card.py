"""The model card: README.md, and the facts in its front matter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from api.plain import plain_text
from registry.inspect.facts import Card

LARGEST_CARD_BYTES = 1_000_000
# Python's YAML reads some hundred thousand characters a second.
LARGEST_FRONT_MATTER = 50_000
MOST_WORDS = 50
LONGEST_WORD = 200
_FRONT_MATTER = re.compile(r"\A\ufeff?---\r?\n(.*?)\n---", re.S)


def read_card(folder: Path) -> Card:
    """Empty where there is none."""
    path = folder / "README.md"
    if not path.is_file():
        return Card()
    with open(path, "rb") as file:
        text = plain_text(file.read(LARGEST_CARD_BYTES).decode("utf-8", "replace"))
    facts = _front_matter(text)
    license_ = _words(facts.get("license"))
    if license_[:1] == ("other",):
        license_ = _words(facts.get("license_name")) or license_
    return Card(
        text=text,
        license=", ".join(license_)[:LONGEST_WORD],
        base_model=_words(facts.get("base_model")),
        tags=_words(facts.get("tags")),
        languages=_words(facts.get("language")),
    )


def _front_matter(text: str) -> dict[str, Any]:
    found = _FRONT_MATTER.match(text)
    if found is None or len(found[1]) > LARGEST_FRONT_MATTER:
        return {}
    try:
        # Makes strings, lists and dicts only; it follows no tags and merges nothing.
        facts = yaml.load(found[1], yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _words(value: Any) -> tuple[str, ...]:
    """One string, or a list of them."""
    values = value if isinstance(value, list) else [value]
    words = (plain_text(word.strip())[:LONGEST_WORD] for word in values if isinstance(word, str))
    return tuple(word for word in words if word)[:MOST_WORDS]
