"""Versions of a dataset: the same name in the same project. What one has that another has not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import QuerySet

from registry import verification
from registry.doctor import difference as differences
from registry.doctor import index
from registry.doctor.layouts import Layout
from registry.models import Dataset


@dataclass(frozen=True)
class Compared:
    """``counts`` are None where the rows of one of them are not known: it has not been checked, or
    not since versions are compared."""

    old: Dataset
    new: Dataset
    counts: differences.Difference | None
    _indexes: tuple[index.Index | None, index.Index | None]

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Some of those that only one of them has."""
        if self.counts is None:
            return {"added_rows": [], "removed_rows": []}
        return {
            "added_rows": _shown(self.new, self._indexes[1], self.counts.added_places),
            "removed_rows": _shown(self.old, self._indexes[0], self.counts.removed_places),
        }


def of(dataset: Dataset) -> QuerySet[Dataset]:
    return of_name(dataset, dataset.name)


def of_name(dataset: Dataset, name: str) -> QuerySet[Dataset]:
    """In the project of ``dataset``."""
    same: dict[str, Any] = {"project_id": dataset.project_id, "name": name}
    return Dataset.objects.filter(**same)


def before(dataset: Dataset) -> Dataset | None:
    """What it was made from, else the newest version that is older."""
    origin = dataset.metadata.get("repaired_from")
    others = of(dataset).exclude(pk=dataset.pk)
    made_from = others.filter(pk=origin).first() if isinstance(origin, str) else None
    return made_from or others.filter(created_at__lte=dataset.created_at).first()


def difference(old: Dataset, new: Dataset) -> Compared:
    indexes = index.read(verification.index_path(old)), index.read(verification.index_path(new))
    counts = None
    if indexes[0] is not None and indexes[1] is not None:
        counts = differences.between(indexes[0], indexes[1])
    return Compared(old, new, counts, indexes)


def _shown(dataset: Dataset, kept: index.Index | None, places: list[int]) -> list[dict[str, Any]]:
    if kept is None:
        return []
    layout = Layout(dataset.statistics.get("layout", ""), dataset.columns)
    found = differences.rows_at(Path(dataset.storage_path), kept, places, layout)
    return [{"where": where, "row": row} for where, row in found]
