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
    """A list that does not grow with the dataset, nor does one kind of warning fill it."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    warnings: int = 0
    _kept: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        self.count(finding.code, finding.level)
        if self.has_room(finding):
            self._keep(finding)

    def count(self, code: str, level: Level, number: int = 1) -> None:
        self.counts[code] += number
        if level is Level.ERROR:
            self.errors += number
        else:
            self.warnings += number

    def has_room(self, finding: Finding) -> bool:
        """For a thousand errors, and beside them for a thousand warnings of which no kind has more
        than a quarter."""
        most = MOST_KEPT if finding.level is Level.ERROR else max(MOST_KEPT // 4, 1)
        return self._kept[finding.level] < MOST_KEPT and self._kept[self._kind(finding)] < most

    def merge(self, other: Findings) -> None:
        """What was found in later rows."""
        for finding in other.kept:
            if self.has_room(finding):
                self._keep(finding)
        self.counts.update(other.counts)
        self.errors += other.errors
        self.warnings += other.warnings

    def _keep(self, finding: Finding) -> None:
        self._kept[self._kind(finding)] += 1
        self._kept[finding.level] += 1
        self.kept.append(finding)

    @staticmethod
    def _kind(finding: Finding) -> str:
        return f"{finding.level}:{finding.code}"

    def as_list(self) -> list[dict[str, Any]]:
        """Errors first, as many as are kept of all."""
        ordered = sorted(self.kept, key=lambda finding: finding.level is not Level.ERROR)
        return [asdict(finding) for finding in ordered[:MOST_KEPT]]
