"""What a check finds: a sentence for a person, and whether it stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from training.preflight.facts import Experiment


class Weight(Enum):
    """``WARNING``: it runs. ``SHORTAGE``: it cannot run here and now, but what it would need can
    be told. ``INCOMPATIBLE``: it cannot run at all, and an estimate would mean nothing."""

    WARNING = "warning"
    SHORTAGE = "shortage"
    INCOMPATIBLE = "incompatible"


@dataclass(frozen=True)
class Finding:
    sentence: str
    weight: Weight

    @property
    def is_error(self) -> bool:
        return self.weight is not Weight.WARNING


Rule = Callable[[Experiment], Iterator[Finding]]


def error(sentence: str) -> Finding:
    """These things do not go together. Names the values and, where there is one, the way out."""
    return Finding("ERROR: " + sentence, Weight.INCOMPATIBLE)


def shortage(sentence: str) -> Finding:
    """Something is missing here: files, cards, memory or disk."""
    return Finding("ERROR: " + sentence, Weight.SHORTAGE)


def warning(sentence: str) -> Finding:
    """It runs, but a person should know."""
    return Finding(sentence, Weight.WARNING)


def listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
