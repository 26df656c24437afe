"""What comes before the first step: random states, rows, the model."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training.trainer import best, checkpoint, events, kernels, model, one_copy, sharding
from training.trainer.checkpoint import Checkpoints
from training.trainer.data.files import RowFiles
from training.trainer.distributed import Ranks
from training.trainer.evaluate import Question, questions_of
from training.trainer.events import EventLog
from training.trainer.failures import BadData
from training.trainer.objectives import Objective
from training.trainer.spec import RunSpec, TrainSpec

QUIET_S = 3.0  # of reading, before it is told how far it is
TOLD_PERCENT = 5

logger = logging.getLogger(__name__)


def make_repeatable(spec: RunSpec) -> None:
    """Fix what makes two CPU runs differ. CUDA keeps its fast kernels."""
    torch.set_num_threads(spec.device.num_threads)
    kernels.allow_tf32(spec)
    if spec.device.gpus == 0:
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Only costs time: nothing here reads memory that it has not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def load_data(
    spec: RunSpec, objective: Objective[Any, Any], log: EventLog
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Training rows and held-out rows. Raises BadData where nothing can be learned from them."""
    files = row_files(spec, log)
    train, held_out = (objective.load(part) for part in files)
    log.emit(
        events.DATA,
        train_rows=len(train.rows),
        eval_rows=len(held_out.rows),
        train_tokens=train.tokens,
        truncated_rows=train.truncated,
        dropped_rows=train.dropped,
    )
    logger.info(
        "%d rows to train on with %d tokens (%d rows cut to %d tokens, %d left out because nothing "
        "in them carries loss), %d rows held out.",
        len(train.rows),
        train.tokens,
        train.truncated,
        spec.train.max_length,
        train.dropped,
        len(held_out.rows),
    )
    for rows, part in zip((train, held_out), files, strict=True):
        if part.paths and not rows.rows:
            names = ", ".join(Path(path).name for path in part.paths)
            raise BadData(
                f"No row of {names} can be used ({rows.dropped} rows without anything to learn).",
                advice="Check that the completions are not empty, and that max_length "
                f"{spec.train.max_length} leaves room for them behind the prompts.",
            )
    return train.rows, held_out.rows


def row_files(spec: RunSpec, log: EventLog) -> tuple[RowFiles, RowFiles]:
    """Those to train on and those held out. What takes long to read tells how far it is."""
    began = time.monotonic()
    dataset = spec.dataset
    parts = [RowFiles(paths, dataset.columns) for paths in (dataset.train, dataset.validation)]
    total_bytes = sum(part.size_bytes for part in parts)

    def told(read_before: int) -> Callable[[int, int], None]:
        def tell(rows: int, read_bytes: int) -> None:
            if time.monotonic() - began > QUIET_S:
                percent = 100 * (read_before + read_bytes) // total_bytes
                log.emit(
                    events.DATA_PROGRESS, rows=rows, percent=percent // TOLD_PERCENT * TOLD_PERCENT
                )

        return tell

    train, held_out = parts
    return (
        replace(train, progress=told(0)),
        replace(held_out, progress=told(train.size_bytes)),
    )


def questions(spec: RunSpec, objective: Objective[Any, Any]) -> list[Question]:
    """What exact_match asks, where the run wants it. Raises BadData."""
    if "exact_match" not in spec.eval.suites:
        return []
    limit = spec.eval.exact_match_rows
    files = RowFiles(spec.dataset.validation, spec.dataset.columns)
    return questions_of(files, objective.processor, limit=limit)


def seed_all(seed: int) -> None:
    for sow in (random.seed, np.random.seed, torch.manual_seed):
        sow(seed)


def load_model(
    spec: RunSpec,
    objective: Objective[Any, Any],
    device: torch.device,
    resume_from: Path | None,
    ranks: Ranks,
    log: EventLog,
) -> nn.Module:
    """The same on every rank and on its device; where it will be sharded in host memory, and
    hollow but on the first rank."""
    seed_all(spec.train.seed)
    place = torch.device("cpu") if spec.device.shards else device
    is_hollow = one_copy.is_wanted(spec) and not ranks.is_first
    weights = checkpoint.with_weights(resume_from)
    net = _loaded(spec, objective, place, weights, is_hollow=is_hollow)
    if spec.train.use_liger_kernel:
        kernels.use_liger(net, device)
    parameters, trainable = model.count_parameters(net)
    log.emit(
        events.MODEL,
        parameters=parameters,
        trainable_parameters=trainable,
        dtype=spec.train.dtype,
        device=str(device),
    )
    counts = f"{parameters:,} parameters, {trainable:,} of them trained"
    logger.info("The model is loaded on %s: %s.", device, counts)
    return net


def _loaded(
    spec: RunSpec,
    objective: Objective[Any, Any],
    device: torch.device,
    resume_from: Path | None,
    *,
    is_hollow: bool = False,
) -> nn.Module:
    return model.load_model(
        spec,
        device,
        resume_from,
        is_hollow=is_hollow,
        auto_class=objective.auto_class,
        task_type=objective.task_type,
        makes_head=objective.makes_head,
        **objective.model_settings(),
    )


def take_back(
    spec: RunSpec,
    objective: Objective[Any, Any],
    net: nn.Module,
    checkpoints: Checkpoints,
    step: int,
) -> None:
    """Give ``net`` the weights that it had after ``step``. All ranks call this together."""
    folder = checkpoint.path_of(checkpoints.run_dir, step)
    if checkpoint.with_weights(folder) is None:  # they stayed in shards
        checkpoints.restore(folder)
    else:
        best.take_over(net, _loaded(spec, objective, torch.device("cpu"), folder))


def whole(spec: RunSpec, objective: Objective[Any, Any], net: nn.Module, ranks: Ranks) -> nn.Module:
    """The trained model as one process can use it: on the first rank in host memory, where it was
    sharded. All ranks call this together; what the others get is of no use."""
    if not spec.device.shards:
        return net
    weights = sharding.whole_weights(net, trained_only=spec.uses_adapter)
    if not ranks.is_first:
        return net
    alone = _loaded(spec, objective, torch.device("cpu"), None)
    alone.load_state_dict(weights, strict=False)
    return alone


def resolve_max_steps(train: TrainSpec, rows: int) -> int:
    if train.max_steps is not None:
        return train.max_steps
    return max(1, math.ceil(train.num_train_epochs * rows / train.global_batch_size))
