"""The rows of a dataset as a model sees them: some in full, and how long all of them are."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import doctor
from registry.models import BaseModel, Dataset, Modality
from registry.storage import BadPath
from training import outside, token_counts
from training.preflight.lengths import Lengths

log = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "training.trainer.previewing"]
# Lengths that people choose from; the model's own is added.
LIMITS = (128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768)
METHOD_OF = {
    "preference": "dpo",
    "unpaired_preference": "kto",
    "labelled": "text_classification",
}


@dataclass(frozen=True)
class Limit:
    """What becomes of the rows at ``max_length``, as shares."""

    max_length: int
    truncated: float
    tokens_lost: float
    nothing_to_learn: float


def preview(
    dataset: Dataset,
    model: BaseModel | None,
    *,
    split: str = "train",
    first: int = 0,
    count: int = 5,
    max_length: int | None = None,
) -> dict[str, Any]:
    """``rows`` (as `training.trainer.previewing.Shown`) and ``problem``, "" where there is none."""
    files = files_of(dataset, split)
    if not files:
        return {"rows": [], "problem": f"The dataset has no rows of text in a {split} split."}
    if dataset.statistics.get("layout") in doctor.NEED_COPY:
        return {"rows": [], "problem": "No training reads rows like these: make a repaired copy."}
    order = {
        "files": files,
        "model": model.storage_path if model else "",
        "columns": dataset.columns,
        "first": first,
        "count": count,
        "max_length": max_length,
    }
    try:
        return outside.ask(COMMAND, order)
    except outside.NoAnswer as error:
        log.warning("the rows of %s cannot be shown: %s", dataset, error)
        return {"rows": [], "problem": "The rows could not be read in time."}


def files_of(dataset: Dataset, split: str) -> list[str]:
    if not dataset.storage_path or dataset.modality != Modality.TEXT:
        return []
    try:
        found = doctor.split_files(Path(dataset.storage_path))
    except BadPath:
        return []
    return [str(path) for path in found.get(split, [])]


def lengths(dataset: Dataset, model: BaseModel) -> Lengths | None:
    """In tokens, of the rows to train on; None where nobody can say."""
    method = METHOD_OF.get(dataset.statistics.get("row_format", ""), "lora")
    found = token_counts.lengths_of(model, dataset, method=method, columns=dataset.columns)
    return found.train


def limits(found: Lengths, model: BaseModel, asked: int | None = None) -> list[Limit]:
    """The first at which nothing is cut any more is the last; and the one that is ``asked`` for."""
    candidates = sorted({*LIMITS, *(one for one in (model.context_length, asked) if one)})
    told: list[Limit] = []
    for limit in candidates:
        is_enough = bool(told) and not told[-1].truncated
        if is_enough and limit != asked:
            continue
        truncated = found.longer_than(limit) / found.rows
        lost = 1 - found.cut(limit).tokens / found.tokens
        told.append(Limit(limit, truncated, lost, found.left_out(limit)))
    return told
