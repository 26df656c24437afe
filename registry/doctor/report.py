"""What a check hands over."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from api.plain import plain_text
from registry.doctor.findings import Findings
from registry.doctor.layouts import Layout
from registry.doctor.lengths import Lengths
from registry.doctor.splits import SPLITS

MOST_COLUMNS = 200
MOST_LABELS = 1000  # counted; the fifty most frequent are told
_LABELS_TOLD = 50


@dataclass
class Report:
    """``rows`` counts the usable rows of each split that has a file; characters are those of the
    text that a model is given, ``lengths`` how many rows of each split have how many of them.
    ``read`` are all rows, usable or not. ``duplicates`` are rows by how they are like an earlier
    one, ``compared`` so many of them."""

    findings: Findings = field(default_factory=Findings)
    rows: Counter[str] = field(default_factory=Counter)
    read: int = 0
    row_format: str = ""
    layout: Layout = field(default_factory=Layout)
    columns: set[str] = field(default_factory=set)
    characters: int = 0
    max_characters: int = 0
    lengths: defaultdict[str, Lengths] = field(default_factory=lambda: defaultdict(Lengths))
    labels: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    languages: dict[str, float] = field(default_factory=dict)
    size_bytes: int = 0
    checked_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def num_samples(self) -> int:
        """Usable rows of all splits."""
        return self.rows.total()

    @property
    def passed(self) -> bool:
        """No errors, and something to learn from."""
        return self.findings.errors == 0 and self.num_samples > 0

    def add_columns(self, names: set[str]) -> None:
        for name in sorted(names - self.columns)[: MOST_COLUMNS - len(self.columns)]:
            self.columns.add(name)

    def add_labels(self, labels: Counter[str]) -> None:
        for label, rows in labels.items():
            if label in self.labels or len(self.labels) < MOST_LABELS:
                self.labels[label] += rows

    @property
    def statistics(self) -> dict[str, Any]:
        splits = [split for split in SPLITS if split in self.rows]
        rows = self.num_samples
        told = self.labels.most_common(_LABELS_TOLD)
        return {
            "splits": splits,
            "num_splits": len(splits),
            "rows": {split: self.rows[split] for split in splits},
            "rows_read": self.read,
            "row_format": self.row_format,
            "layout": self.layout.name,
            "columns": sorted(self.columns),
            "mapping": {} if self.layout.needs_copy else dict(self.layout.columns),
            "mean_characters": round(self.characters / rows, 1) if rows else 0,
            "max_characters": self.max_characters,
            "lengths": {
                split: self.lengths[split].as_list() for split in splits if split in self.lengths
            },
            "labels": {plain_text(label[:100]): count for label, count in told},
            "duplicates": dict(self.duplicates),
            "languages": self.languages,
            "size_bytes": self.size_bytes,
        }

    @property
    def integrity_report(self) -> dict[str, Any]:
        return {
            "ok": self.passed,
            "findings": self.findings.as_list(),
            "counts": dict(self.findings.counts.most_common()),
            "errors": self.findings.errors,
            "warnings": self.findings.warnings,
            "checked_at": self.checked_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
