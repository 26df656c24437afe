"""The finished model in the forms in which others load it.

`safetensors`, the weights as they were trained, is always there. The other forms are made from it,
one after the other and without a GPU; one that cannot be made is told and left out, and the run is
none the worse for it. Each is loaded again and compared with the trained model before it gets its
name. Exporting again replaces what is there by the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.trainer import durable, events
from training.trainer.checkpoint import SLACK_BYTES, save_weights
from training.trainer.events import EventLog
from training.trainer.exports import gguf, onnx, reload, room
from training.trainer.exports.card import Facts, describe
from training.trainer.exports.compare import TOLERANCES, Comparison, Probe, asking
from training.trainer.exports.failure import ExportFailed
from training.trainer.failures import DiskFull
from training.trainer.model import base_of, count_parameters, saved_bytes
from training.trainer.objectives import Objective
from training.trainer.own_code import may_run
from training.trainer.spec import BadSpec, RunSpec

__all__ = ["Facts", "check", "export_all"]

logger = logging.getLogger(__name__)

# Bytes on disk for each parameter: f16 and q8_0 (34 bytes for 32 values) together.
GGUF_BYTES = 2 + 34 / 32

Comparisons = dict[str, Comparison]


def check(spec: RunSpec, objective: Objective[Any, Any], model: nn.Module) -> None:
    """Raises BadSpec where an export cannot be made of this model, before hours are spent on it."""
    if "gguf" not in spec.exports:
        return
    try:
        if objective.pipeline_tag != "text-generation":
            raise ExportFailed("gguf is written for models that write text")
        gguf.check(base_of(model).config, objective.processor, Path(spec.base_model.path))
    except ExportFailed as error:
        raise BadSpec(f"export: {error}") from error


def export_all(
    spec: RunSpec,
    objective: Objective[Any, Any],
    model: nn.Module,
    example: Any,
    facts: Facts,
    log: EventLog,
) -> dict[str, str]:
    """The kinds that were made and their folders. ``example`` is a row to compare by. Raises
    DiskFull where there is no room for the weights themselves."""
    probe = Probe.of(model, objective, example)
    work = _Work(spec, objective, model, probe, facts)
    made = {"safetensors": work.safetensors(log)}
    for kind in spec.exports[1:]:
        try:
            made[kind] = work.further(kind, log)
        except ExportFailed as error:
            _give_up(log, kind, f"{error}.")
        except DiskFull as error:
            _give_up(log, kind, f"{error} {error.advice}")
        except Exception as error:
            logger.exception("The export %s ended with an error nobody foresaw.", kind)
            _give_up(log, kind, f"{type(error).__name__}: {error}")
    return {kind: str(folder) for kind, folder in made.items()}


def _give_up(log: EventLog, kind: str, message: str) -> None:
    log.emit(events.EXPORT_FAILED, kind=kind, message=message)
    logger.info("There will be no %s: %s", kind, message)


@dataclass(frozen=True)
class _Work:
    """What every export needs."""

    spec: RunSpec
    objective: Objective[Any, Any]
    model: nn.Module
    probe: Probe
    facts: Facts

    def safetensors(self, log: EventLog) -> Path:
        """The full model, or the adapter. It stays whatever the comparison says."""

        def fill(folder: Path) -> tuple[Comparisons, str]:
            save_weights(self.model, self.objective.processor, folder)
            try:
                room.require(self._memory_bytes(), "Loading the weights again")
                again = reload.as_trained(self.spec, self.objective, folder)
                found = self.probe.compare(asking(again), self._share())
            except Exception as error:  # the weights are there; only their proof is not
                logger.info("The weights were not compared: %s", error)
                return {}, str(error)
            if not found.is_close:
                logger.warning("Loaded again, the weights answer otherwise: %s.", found)
            return {"": found}, ""

        return self._folder("safetensors", saved_bytes(self.model), fill, log)

    def further(self, kind: str, log: EventLog) -> Path:
        """Raises ExportFailed, DiskFull."""
        parameters, _ = count_parameters(self.model)
        makers: dict[str, tuple[int, Callable[[Path], Comparisons]]] = {
            "merged": (parameters * self._dtype.itemsize, self._merged),
            "onnx": (parameters * torch.float32.itemsize, self._onnx),
            "gguf": (int(parameters * GGUF_BYTES), self._gguf),
        }
        needs_bytes, make = makers[kind]

        def fill(folder: Path) -> tuple[Comparisons, str]:
            found = make(folder)
            for name, comparison in found.items():
                if not comparison.is_close:
                    raise ExportFailed(f"{name or kind} answers otherwise: {comparison}")
            return found, ""

        return self._folder(kind, needs_bytes, fill, log)

    def _merged(self, folder: Path) -> Comparisons:
        self._save_plain(folder)
        room.require(self._memory_bytes(), "Loading merged again")
        import transformers

        loader = getattr(transformers, self.objective.auto_class)
        trusts = may_run(self.spec.base_model, str(folder))
        again = loader.from_pretrained(
            str(folder), dtype=self._dtype, trust_remote_code=trusts
        ).eval()
        return {"": self.probe.compare(asking(again), self._share())}

    def _save_plain(self, folder: Path) -> None:
        room.require(self._memory_bytes(), "Merging")
        plain = reload.plain(self.spec, self.objective, self._weights)
        save_weights(plain, self.objective.processor, folder)

    def _onnx(self, folder: Path) -> Comparisons:
        # The model, and the graph that holds it once more while it is written.
        room.require(2 * self._memory_bytes(torch.float32), "Writing onnx")
        plain = reload.plain(self.spec, self.objective, self._weights, attention="eager").float()
        onnx.write(plain, self.probe.inputs, folder)
        del plain
        self.objective.processor.save_pretrained(str(folder))
        return {"": self.probe.compare(onnx.asking(folder), self._share())}

    def _gguf(self, folder: Path) -> Comparisons:
        room.require(self._memory_bytes(torch.float32), "Writing gguf")
        plain = reload.plain(self.spec, self.objective, self._weights)
        config = plain.config
        processor = self.objective.processor
        gguf.write(plain, processor, self._weights, folder, self.spec.name)
        del plain
        return gguf.compare(folder, config, self.probe)

    def _folder(
        self,
        kind: str,
        needs_bytes: int,
        fill: Callable[[Path], tuple[Comparisons, str]],
        log: EventLog,
    ) -> Path:
        final = Path(self.spec.export_dir) / kind
        what = "the export" if kind == "safetensors" else f"the export {kind}"
        with durable.whole_folder(
            final, what=what, needs_bytes=needs_bytes + SLACK_BYTES
        ) as folder:
            found, unchecked = fill(folder)
            tag = self.objective.pipeline_tag
            describe(folder, self.spec, kind, tag, self.facts, found, unchecked)
        worst = max(found.values(), key=lambda one: one.max_logit_difference, default=None)
        told = worst.as_dict() if worst else {"unchecked": unchecked}
        size = durable.size_bytes(final)
        log.emit(events.EXPORT, kind=kind, path=str(final), size_bytes=size, **told)
        proof = f" ({worst})" if worst else ""
        logger.info("Exported to %s%s.", final, proof)
        return final

    @property
    def _weights(self) -> Path:
        """What the further exports begin with."""
        return Path(self.spec.export_dir) / "safetensors"

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.spec.train.dtype)
        return dtype

    def _share(self) -> float:
        """Of the tolerances, the one that fits. Products on a card may keep fewer bits (TF32)."""
        on_card = self.spec.device.gpus > 0
        return TOLERANCES[
            torch.float16 if on_card and self._dtype == torch.float32 else self._dtype
        ]

    def _memory_bytes(self, dtype: torch.dtype | None = None) -> int:
        """For the whole model."""
        parameters, _ = count_parameters(self.model)
        return int(parameters) * (dtype or self._dtype).itemsize
