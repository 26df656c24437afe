"""In which languages the rows are written, guessed from a sample of them."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

MOST_SAMPLED = 300
FEWEST = 20  # guesses of fewer rows say nothing
FEWEST_LETTERS = 60  # in a row
_CHARACTERS = 400
_SURE = 0.9


def can_be_told(text: str) -> bool:
    return len(text) >= FEWEST_LETTERS


def languages_of(texts: list[str]) -> dict[str, float]:
    """The share of the rows by ISO 639-1 code, the most frequent first; "" where nobody can tell.
    Empty where there are too few rows to say anything."""
    if len(texts) < FEWEST:
        return {}
    classify = _identifier().classify
    found: Counter[str] = Counter()
    for text in texts[:MOST_SAMPLED]:
        language, probability = classify(text[:_CHARACTERS])
        found[language if probability >= _SURE else ""] += 1
    return {name: round(rows / found.total(), 3) for name, rows in found.most_common(5)}


@functools.cache
def _identifier() -> Any:
    """Its model is read once, in half a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
