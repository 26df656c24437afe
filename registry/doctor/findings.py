"""What is wrong, where, and what to do: the first thousand in full, all of them counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

MOST_KEPT = 1000


class Level(StrEnum):
    """An error makes a training run fail, or learn what nobody meant; a warning costs something."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """``line`` counts from 1; None where it is about a file, or about all of them (``file`` "")."""

    code: str
    message: str
    fix: str
    level: Level = Level.ERROR
    file: str = ""
    line: int | None = None
    field: str = ""


@dataclass
class Findings:
    """A list that does not grow with the dataset."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    warnings: int = 0

    def add(self, finding: Finding) -> None:
        self.counts[finding.code] += 1
        if finding.level is Level.ERROR:
            self.errors += 1
        else:
            self.warnings += 1
        if len(self.kept) < MOST_KEPT:
            self.kept.append(finding)

    def as_list(self) -> list[dict[str, Any]]:
        return [asdict(finding) for finding in self.kept]
