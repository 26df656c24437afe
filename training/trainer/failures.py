"""Why a run cannot go on: errors in plain words, and the way from any exception to them.

Standard library only.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

from training.trainer.result import Failure
from training.trainer.spec import BadSpec

FREE_THE_DISK = "Free some disk space and start again; the run goes on from its last checkpoint."

logger = logging.getLogger(__name__)


class TrainingFailed(Exception):
    """A foreseen failure: a kind (see `result.FAILURE_KINDS`), its cause, and what can be done."""

    kind: str

    def __init__(self, message: str, *, advice: str) -> None:
        super().__init__(message)
        self.advice = advice

    def __reduce__(self) -> Any:  # how it comes over from a process that helps to read data
        return partial(type(self), advice=self.advice), self.args


class BadData(TrainingFailed):
    kind = "bad_data"


class BadModel(TrainingFailed):
    kind = "bad_model"


class Diverged(TrainingFailed):
    kind = "diverged"


class DiskFull(TrainingFailed):
    kind = "disk_full"


def explain(error: BaseException) -> Failure:
    """The failure behind an exception. What nobody foresaw is logged with its traceback."""
    if isinstance(error, TrainingFailed):
        return Failure(kind=error.kind, message=str(error), advice=error.advice)
    if isinstance(error, BadSpec):
        return Failure(
            kind="bad_settings", message=str(error), advice="Change this setting and start again."
        )
    if is_disk_full(error):
        return Failure(
            kind="disk_full",
            message=f"The disk is full: {error}",
            advice=FREE_THE_DISK,
        )
    if is_gpu_out_of_memory(error):
        return Failure(
            kind="out_of_memory",
            message=f"The GPU ran out of memory: {_first_sentence(error)}",
            advice="Raise grad_accum, lower max_length, or switch gradient_checkpointing on.",
        )
    if is_host_out_of_memory(error):
        return Failure(
            kind="host_memory",
            message=f"The machine ran out of memory: {_first_sentence(error)}",
            advice="Raise grad_accum, lower max_length, or take a smaller model or a machine with "
            "more memory.",
        )
    logger.error("The run ended with an error nobody foresaw.", exc_info=error)
    return Failure(
        kind="bug",
        message=f"{type(error).__name__}: {_first_sentence(error)}",
        advice="Look at the end of the log, and report it together with the settings of this run.",
    )


def is_disk_full(error: BaseException) -> bool:
    return any(
        (isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT))
        or "No space left on device" in str(e)  # safetensors passes the message on, not the number
        for e in _chain(error)
    )


def is_gpu_out_of_memory(error: BaseException) -> bool:
    # By name, because torch may not even have been imported.
    return any(
        type(e).__name__ == "OutOfMemoryError" or "CUDA out of memory" in str(e)
        for e in _chain(error)
    )


def is_host_out_of_memory(error: BaseException) -> bool:
    # PyTorch's own words, and those of the libraries that compute for it.
    words = ("DefaultCPUAllocator: can't allocate memory", "std::bad_alloc")
    return any(
        isinstance(e, MemoryError) or any(said in str(e) for said in words) for e in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_sentence(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text.partition(". ")[0][:300] or "no message"
