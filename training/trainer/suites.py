"""What lm-evaluation-harness measures, on the model that is in memory anyway.

Measuring changes nothing (no gradient, no dropout, no random number), uses no network, and stops
between two batches when the run is to stop. The data of a task is fetched once, where there is a
network, by ``python -m training.trainer.suites NAME...``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.trainer import checkpoint, harness
from training.trainer.model import base_of
from training.trainer.quiet import without_progress_bars
from training.trainer.spec import BadSpec, EvalSpec
from training.trainer.stopping import Stop

logger = logging.getLogger(__name__)

FEWSHOT_SEED = 1234  # the harness's own default
BOOTSTRAP_ITERS = 100  # for metrics whose standard error is in no formula
FOLDER = "suites"  # in the run's folder: all that the harness says, of every task


@dataclass(frozen=True)
class Suites:
    """Tasks with their data, ready to be put to a model."""

    spec: EvalSpec
    names: tuple[str, ...]  # as the run calls them
    tasks: Any  # as the harness's TaskManager has loaded them

    @classmethod
    def prepare(cls, spec: EvalSpec) -> Suites | None:
        """None where the run asks for none. Raises BadSpec where there is no such task, or its data
        is not on this machine: now, and not after hours of training."""
        names = spec.harness_suites
        if not names:
            return None
        try:
            tasks = load(names, spec.include_path)
        except harness.NoSuchTask as error:
            raise BadSpec(f"suites: lm-evaluation-harness has no task {error}") from error
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), repr(error))
            if lacking := [name for name in names if not all_here(name, spec.include_path)]:
                raise BadSpec(
                    f"suites: the data of {', '.join(lacking)} is not on this machine ({reason}); "
                    f"fetch it with: {harness.fetch_command(lacking)}"
                ) from error
            raise BadSpec(f"suites: {', '.join(names)} cannot be read ({reason})") from error
        for task in tasks["tasks"].values():
            own = task.get_config("num_fewshot")
            if own != 0:  # a task that says 0 has its examples in the prompt
                wanted = own if spec.num_fewshot is None else spec.num_fewshot
                task.set_config(key="num_fewshot", value=wanted or 0)
            task.set_fewshot_seed(seed=FEWSHOT_SEED)
        return cls(spec, names, tasks)

    def check_fit(self, model: Any) -> None:
        """Raises BadSpec where a task is to write more than the model has room for."""
        room = _context_of(model)
        for name, task in self.tasks["tasks"].items():
            asked = (task.get_config(key) for key in ("output_type", "generation_kwargs"))
            if room is not None and (wanted := harness.tokens_written(*asked)) >= room:
                raise BadSpec(
                    f"suites: {name} lets the model write up to {wanted} tokens, and this one has "
                    f"room for {room}, the question included; choose other suites"
                )

    def measure(
        self, model: Any, tokenizer: Any, *, batch_size: int, stop: Stop, keep_in: Path
    ) -> dict[str, float]:
        """A number for each metric of each suite, as ``mmlu_acc``, and its standard error, as
        ``mmlu_acc_stderr``. All that was measured goes to the file ``keep_in``. Raises
        StopRequested."""
        from lm_eval.evaluator import evaluate
        from lm_eval.models.huggingface import HFLM

        # The harness wants a Transformers model; an adapter works inside of it.
        inner = base_of(model)
        listening = inner.register_forward_pre_hook(lambda *_: stop.check())
        try:
            with (
                _random_states_kept(inner.device),
                _beside(self.spec.include_path),
                without_progress_bars(),
            ):
                _sow()
                harness_model = HFLM(
                    pretrained=inner,
                    tokenizer=tokenizer,
                    batch_size=batch_size,
                    max_length=_context_of(model),
                    backend="causal",
                )
                found = evaluate(
                    harness_model,
                    self.tasks,
                    limit=self.spec.limit,
                    bootstrap_iters=BOOTSTRAP_ITERS,
                    log_samples=False,
                )
        finally:
            listening.remove()
        if found is None:  # the harness speaks to the first rank alone
            return {}
        results = {name: _plain(numbers) for name, numbers in found["results"].items()}
        keep_in.parent.mkdir(exist_ok=True)
        keep_in.write_text(json.dumps(results, indent=2), encoding="utf-8")
        return dict(self._named(results, found.get("group_subtasks") or {}))

    def _named(
        self, results: dict[str, dict[str, Any]], members: dict[str, list[str]]
    ) -> Iterator[tuple[str, float]]:
        """The suite's own numbers; of a tag, which has none, those of its tasks."""
        for name in self.names:
            known = harness.harness_name(name)
            own = {metric for metric in results.get(known, {}) if metric != "alias"}
            parts = {name: results[known]} if own else self._of_tag(known, results, members)
            for title, numbers in parts.items():
                for metric, value in numbers.items():
                    if (
                        metric != "sample_len"
                        and isinstance(value, float | int)
                        and not isinstance(value, bool)
                    ):
                        yield f"{title}_{_metric(metric)}", float(value)

    def _of_tag(
        self, name: str, results: dict[str, dict[str, Any]], members: dict[str, list[str]]
    ) -> dict[str, dict[str, Any]]:
        tasks = members.get(name) or harness.members(name, self.spec.include_path)
        return {task: results[task] for task in tasks if task in results}


def load(names: tuple[str, ...], include_path: str) -> Any:
    """The tasks with their data, as the harness reads them. Raises NoSuchTask, and whatever
    `datasets` raises where data is missing."""
    _speak_softly()
    folders = harness.folders(names, include_path)
    from lm_eval.tasks import TaskManager

    with _beside(include_path):
        manager = TaskManager(include_path=list(folders), include_defaults=False)
        return manager.load([harness.harness_name(name) for name in names])


def _context_of(model: Any) -> int | None:
    """How many tokens it can look at; None where it does not say."""
    found: int | None = getattr(base_of(model).config, "max_position_embeddings", None)
    return found


def all_here(name: str, include_path: str) -> bool:
    return all(harness.is_here(data, include_path) for data in harness.needs(name, include_path))


@contextlib.contextmanager
def _random_states_kept(device: torch.device) -> Iterator[None]:
    """What is drawn here is not missing elsewhere."""
    before = checkpoint.random_state(device)
    try:
        yield
    finally:
        checkpoint.set_random_state(before, device)


@contextlib.contextmanager
def _beside(include_path: str) -> Iterator[None]:
    """Tasks of one's own name their files as they lie beside the description."""
    with contextlib.chdir(include_path or os.curdir):
        yield


def _speak_softly() -> None:
    os.environ.setdefault("LMEVAL_LOG_LEVEL", "ERROR")
    os.environ.setdefault("DISABLE_MULTIPROC", "1")  # a process with torch's threads must not fork
    import datasets

    datasets.disable_progress_bars()
    for name in ("lm_eval", "datasets", "lm-eval", "httpx2"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _sow() -> None:
    """The same draws before and after, of tasks that draw."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    """Without NumPy's types, which JSON does not know."""
    return {
        key: value.item() if hasattr(value, "item") else value for key, value in numbers.items()
    }


def _metric(name: str) -> str:
    """The harness writes acc,none and acc_stderr,strict-match."""
    metric, _, chosen = name.partition(",")
    return metric if chosen in ("", "none") else f"{metric}_{chosen.replace('-', '_')}"


def fetch(names: list[str]) -> None:
    """Load the data of these tasks into the cache of `datasets`, over the network."""
    load(tuple(names), "")
    logger.info("The data of %s is here now.", ", ".join(names))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) < 2:
        sys.exit("usage: python -m training.trainer.suites NAME...")
    fetch(sys.argv[1:])
