"""What the untouched base model says of the rows: log probabilities, worked out before training."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from training.trainer import sharding
from training.trainer.data.examples import lengths_of
from training.trainer.data.preferences import Pair
from training.trainer.distributed import Ranks
from training.trainer.failures import BadData

if TYPE_CHECKING:
    from training.trainer.objectives.preference import PairHead, Preference

FILE_NAME = "reference.npy"
NEWS_EVERY_S = 10.0
PAIRS_AT_ONCE = 8

logger = logging.getLogger(__name__)


def work_out(
    objective: Preference,
    head: PairHead,
    pairs: Sequence[Pair],
    keep_in: Path,
    ranks: Ranks,
    *,
    resumed: bool,
) -> None:
    """Give every pair its ``reference``, from the file in ``keep_in`` or from the model.

    Raises BadData where the file does not fit the pairs, and where it is gone although the weights
    are no longer those of the base model.
    """
    path = keep_in / FILE_NAME
    found = _read(path, pairs)
    if found is None:
        if resumed and not hasattr(head.model, "disable_adapter"):
            raise BadData(
                f"{path.name}, with what the base model said before training, is gone from the "
                "run's folder.",
                advice="Start a new job: this one cannot go on without it.",
            )
        found = _ask(objective, head, pairs, ranks)
        if ranks.is_first:
            _write(path, found)
    for pair, log_probs in zip(pairs, found, strict=True):
        pair.reference[:] = log_probs


def _read(path: Path, pairs: Sequence[Pair]) -> npt.NDArray[np.float32] | None:
    if not path.exists():
        return None
    found: npt.NDArray[np.float32] = np.load(path)
    if found.shape != (len(pairs), 2):
        raise BadData(
            f"The run began with {len(found)} rows, and there are {len(pairs)} now.",
            advice="Start a new job with the dataset as it is now.",
        )
    return found


def _write(path: Path, found: npt.NDArray[np.float32]) -> None:
    """All of it or nothing, and on disk: a checkpoint must never be older."""
    half = path.with_suffix(".tmp")
    with open(half, "wb") as file:
        np.save(file, found)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half, path)


@torch.no_grad()
def _ask(
    objective: Preference, head: PairHead, pairs: Sequence[Pair], ranks: Ranks
) -> npt.NDArray[np.float32]:
    """Of shape (pairs, 2). The ranks take turns, and all go as often through the model."""
    model: Any = head.model
    device = next(model.parameters()).device
    without_adapter = getattr(model, "disable_adapter", contextlib.nullcontext)
    found = torch.zeros((len(pairs), 2), device=device)
    by_length = np.argsort(lengths_of(pairs), kind="stable").tolist()
    starts = range(0, len(pairs), PAIRS_AT_ONCE)
    last_news = time.monotonic()
    head.eval()
    with without_adapter(), sharding.gathered(head):
        for first in range(0, len(starts), ranks.world_size):
            own = first + ranks.rank
            start = starts[min(own, len(starts) - 1)]
            chosen = by_length[start : start + PAIRS_AT_ONCE]
            asked = [pairs[index] for index in chosen]
            rows = [pair.first for pair in asked] + [pair.second for pair in asked]
            log_probs = head.log_probs(objective.answers(rows, device))
            if own < len(starts):
                found[chosen] = log_probs.float().view(2, -1).T
            if time.monotonic() - last_news > NEWS_EVERY_S:
                last_news = time.monotonic()
                logger.info("Asked the base model about %d of %d rows.", start, len(pairs))
    head.train()
    return ranks.sum(found).cpu().numpy()
