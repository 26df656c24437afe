"""How long the rows of a dataset are in the tokens of a model: counted once, then remembered.

The first preflight of a model with a dataset waits for the count, some tenths of a second; every
later one asks the database. Where nothing can be counted, characters are divided by four.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import changes
from api import remembered
from registry import doctor
from registry.models import BaseModel, Dataset
from registry.storage import BadPath
from training import outside
from training.models import TokenCount
from training.preflight.lengths import Lengths
from training.preflight.token_rate import GUESSED, TokenRate, rate_of
from training.trainer.spec import HELD_OUT_SPLITS

log = logging.getLogger(__name__)

VERSION = 1  # to be raised when the same rows would be counted otherwise
COMMAND = [sys.executable, "-m", "training.trainer.counting"]
# What could not be counted may have been a moment's trouble.
TRY_AGAIN = timedelta(minutes=10)
KINDS = {
    **dict.fromkeys(("full", "lora", "qlora", "pretrain"), "language"),
    **dict.fromkeys(("dpo", "orpo", "kto"), "preference"),
    "text_classification": "labelled",
}


@dataclass(frozen=True, kw_only=True)
class RowLengths:
    """Of the rows to train on and of those held out; None where nobody can say."""

    train: Lengths | None = None
    held_out: Lengths | None = None


def lengths_of(
    model: BaseModel, dataset: Dataset, *, method: str, columns: dict[str, str] | None = None
) -> RowLengths:
    """Two queries the first time, later one."""
    if method not in KINDS:
        return RowLengths()
    found = _remembered(model, dataset, KINDS[method], columns or {})
    rate = TokenRate(**found["rate"]) if found.get("rate") else GUESSED
    # Under other columns the doctor has counted other characters.
    counted = {} if columns and columns != dataset.columns else dataset.statistics
    characters, most = counted.get("lengths", {}), counted.get("max_characters")

    def guessed(split: str) -> Lengths | None:
        return rate.lengths(_pairs(characters.get(split, ())), most)

    if found.get("complete"):
        train = Lengths.of(_pairs(found["lengths"]), begins=_pairs(found["begins"]))
    else:
        train = guessed("train")
        if train is None and found.get("lengths"):
            rows = dataset.statistics.get("rows", {}).get("train", 0)
            train = Lengths.of(_scaled(_pairs(found["lengths"]), rows), basis="sampled")
    held_out = next((guessed(split) for split in HELD_OUT_SPLITS if split in characters), None)
    return RowLengths(train=train, held_out=held_out)


def _pairs(rows: Any) -> list[tuple[int, int]]:
    return [(int(length), int(count)) for length, count in rows]


def _scaled(counts: list[tuple[int, int]], rows: int) -> list[tuple[int, int]]:
    """As if there were so many rows."""
    share = rows / max(sum(count for _, count in counts), 1)
    return counts if share <= 1 else [(n, max(round(count * share), 1)) for n, count in counts]


def _remembered(
    model: BaseModel, dataset: Dataset, kind: str, columns: dict[str, str]
) -> dict[str, Any]:
    """The count as the database has it; where it has none and the files are here, a new one."""
    if not _are_here(model, dataset):
        return {}
    parts = [VERSION, *_identity(model), *_identity(dataset), kind, columns]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    known: TokenCount | None = remembered.value(
        lambda: TokenCount.objects.filter(pk=key).first(),
        asked=("token_count", key),
        state_now=lambda: changes.state(TokenCount._meta.db_table),
        bytes_of=_bytes_of,
    )
    if known is not None:
        found: dict[str, Any] = known.found
        if not found.get("problem") or timezone.now() - known.counted_at < TRY_AGAIN:
            return found
    files = _files(dataset)
    if not files:
        return {}
    found = _count(model, files, kind, columns)
    values = {"base_model": model, "dataset": dataset, "found": found}
    try:
        with transaction.atomic():
            TokenCount.objects.update_or_create(key=key, defaults=values)
    except IntegrityError:
        log.info("%s or %s is gone; its tokens were counted in vain", model, dataset)
    return found


def _bytes_of(known: TokenCount | None) -> int:
    """In memory: a row of the database, and a list of two numbers for each length."""
    pairs = 0
    if known is not None:
        pairs = len(known.found.get("lengths", ())) + len(known.found.get("begins", ()))
    return 4096 + 150 * pairs


def _identity(entry: BaseModel | Dataset) -> tuple[str, str, str]:
    return str(entry.pk), entry.checksum, entry.storage_path


def _are_here(model: BaseModel, dataset: Dataset) -> bool:
    """Whether tokenizer and rows are on this machine."""
    if not model.storage_path or not dataset.storage_path:
        return False
    tokenizer = Path(model.storage_path) / "tokenizer.json"
    return tokenizer.is_file() and Path(dataset.storage_path).exists()


def _files(dataset: Dataset) -> list[str]:
    """Those with the rows to train on."""
    try:
        files = doctor.split_files(Path(dataset.storage_path))
    except BadPath:
        return []
    return [str(path) for path in files.get("train", [])]


def _count(
    model: BaseModel, files: list[str], kind: str, columns: dict[str, str]
) -> dict[str, Any]:
    order = {"model": model.storage_path, "files": files, "kind": kind, "columns": columns}
    try:
        answer = outside.ask(COMMAND, order)
    except outside.NoAnswer as error:
        log.warning("the tokens of %s for %s cannot be counted: %s", files[0], model, error)
        return {"problem": str(error)[:500]}
    if answer["problem"]:
        log.info("the tokens of %s for %s are not counted: %s", files[0], model, answer["problem"])
        return {"problem": answer["problem"][:500]}
    rate = rate_of([(characters, tokens) for characters, tokens in answer["rows"]])
    return {
        "complete": answer["complete"],
        "lengths": answer["lengths"],
        "begins": answer["begins"],
        "rate": asdict(rate),
    }
