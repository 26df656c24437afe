"""Checkpoints: ``RUN_DIR/checkpoints/step-000050/``.

Each holds everything that the next step depends on, and is there completely or not at all:

- the weights in a folder that Transformers (or PEFT) loads as it is. Only those of a whole model
  that is sharded over ranks stay in shards: no rank has the room to hold all of them.
- ``shards/``: the optimizer's states, and such weights, by the names of the parameters, as
  `torch.distributed.checkpoint` writes them, each rank its own.
- ``trainer_state.pt``: the step, the gradient scaler, and the random states of all ranks.

Nothing in it depends on the number of ranks or on their strategy, so a run may go on with others.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training.trainer import durable, model, sharding, shards
from training.trainer.distributed import Ranks

logger = logging.getLogger(__name__)

STATE = "trainer_state.pt"
SHARDS = "shards"
LABELS = "id2label.json"
SLACK_BYTES = 8 * 1024**2  # tokenizer, configuration, file system


def path_of(run_dir: Path, step: int) -> Path:
    return run_dir / "checkpoints" / f"step-{step:06d}"


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def existing(run_dir: Path) -> list[Path]:
    """The complete checkpoints, oldest first."""
    return sorted((run_dir / "checkpoints").glob("step-*[0-9]"), key=step_of)


def steps(run_dir: Path) -> list[int]:
    """Of the complete checkpoints, in order."""
    return [step_of(path) for path in existing(run_dir)]


class Checkpoints:
    """Saves and restores the parts of one run. All ranks call it together."""

    def __init__(
        self,
        run_dir: Path,
        *,
        model: nn.Module,
        processor: Any,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        ranks: Ranks,
        device: torch.device,
        keep: int,
    ) -> None:
        self.run_dir = run_dir
        self.model = model
        self.processor = processor
        self.optimizer = optimizer
        self.scaler = scaler
        self.ranks = ranks
        self.device = device
        self.keep = keep
        self.is_sharded = sharding.is_sharded(model)

    def save(self, step: int, log_sync: Callable[[], None], *, spare: int | None) -> Path:
        """Write the checkpoint of ``step``, and call ``log_sync`` before it appears: a checkpoint
        must never be younger than what was said before it. Of the older ones the newest are kept,
        and that of the step ``spare``. Raises DiskFull."""
        final = path_of(self.run_dir, step)
        what = f"the checkpoint of step {step}"
        needs_bytes = self._needs_bytes()
        with self.ranks.whole_folder(final, what=what, needs_bytes=needs_bytes) as folder:
            self._save_weights(folder)
            random_states = self.ranks.all_of(random_state(self.device))
            if self.is_sharded or self.ranks.is_first:
                shards.save(self._tensors(), folder / SHARDS, together=self.is_sharded)
            if self.ranks.is_first:
                state = {"step": step, "scaler": self.scaler.state_dict(), "random": random_states}
                with open(folder / STATE, "wb") as file:
                    torch.save(state, file)
                log_sync()
        if self.ranks.is_first:
            for old in existing(self.run_dir)[: -self.keep]:
                if step_of(old) != spare:
                    durable.remove(old)
        return final

    def restore(self, checkpoint: Path) -> int:
        """Everything but the weights that `model.load_model` has read. Returns the step."""
        shards.load(checkpoint / SHARDS, self.model, self.optimizer, together=self.is_sharded)
        state = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
        self.scaler.load_state_dict(state["scaler"])
        if self.ranks.rank < len(state["random"]):
            set_random_state(state["random"][self.ranks.rank], self.device)
        return int(state["step"])

    @property
    def _in_shards(self) -> bool:
        """Whether the weights are too many for one rank."""
        return self.is_sharded and not hasattr(self.model, "peft_config")

    def _save_weights(self, folder: Path) -> None:
        weights = None
        if self.is_sharded and not self._in_shards:
            weights = sharding.whole_weights(self.model, trained_only=True)
        if self.ranks.is_first and not self._in_shards:
            save_weights(self.model, self.processor, folder, weights)

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = shards.of_optimizer(self.model, self.optimizer)
        return tensors | shards.of_model(self.model) if self._in_shards else tensors

    def _needs_bytes(self) -> int:
        moments = sum(
            value.numel() * value.element_size()
            for state in self.optimizer.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        )
        return model.saved_bytes(self.model) + moments + SLACK_BYTES


def with_weights(checkpoint: Path | None) -> Path | None:
    """The checkpoint, if a model or adapter can be loaded from its folder."""
    if checkpoint is None or not any(checkpoint.glob("*.safetensors")):
        return None
    return checkpoint


def save_weights(
    model: Any, processor: Any, folder: Path, weights: dict[str, torch.Tensor] | None = None
) -> None:
    """The model, or the adapter alone, in its own dtype and as safetensors; and the processor.
    ``weights`` are taken where they are given, those of the model else."""
    if hasattr(model, "peft_config"):
        for config in model.peft_config.values():
            if isinstance(config.target_modules, set):  # in another order in every process
                config.target_modules = sorted(config.target_modules)
        # Embeddings are never resized here; "auto" would ask the hub about it.
        model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=weights)
        if model.peft_config["default"].modules_to_save:
            # A head of its own; whoever loads it has to know which label each number is. Not a
            # config.json: Transformers would look for a whole model beside it.
            labels = json.dumps(model.get_base_model().config.id2label, indent=2)
            (folder / LABELS).write_text(labels, encoding="utf-8")
    else:
        model.save_pretrained(str(folder), state_dict=weights)
    processor.save_pretrained(str(folder))


def random_state(device: torch.device) -> dict[str, Any]:
    """Of Python, NumPy and torch, as values that torch loads without unpickling code."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
