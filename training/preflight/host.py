"""What a run needs beside its cards: memory of the machine they are in, and files to be fetched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from training.preflight import exports
from training.preflight.facts import Experiment, ModelFacts
from training.preflight.hardware import GIB, MIB
from training.preflight.memory import MemoryEstimate, weight_bytes
from training.preflight.shape import Shape, shape_of

# What a process of the trainer takes itself: torch, Transformers and the host's side of CUDA.
PROCESS_BYTES = int(1.5 * GIB)
# Bytes a weight as files have it, by the word that stands in a config or on a label.
_STORED = {
    **dict.fromkeys(("float32", "fp32", "f32"), 4.0),
    **dict.fromkeys(("bfloat16", "bf16", "float16", "fp16", "f16"), 2.0),
    **dict.fromkeys(("int8", "fp8", "float8_e4m3fn", "q8_0"), 1.0),
    **dict.fromkeys(("int4", "nf4", "fp4", "q4_0"), 0.55),
}
_USUAL_BYTES = 2.0  # of what is published today


@dataclass(frozen=True, kw_only=True)
class HostMemory:
    """At the moment that needs most. ``loading_bytes``: a model that is going to be sharded, which
    the first process reads for all, or in four bits each for itself; ``gathering_bytes``: the first
    has all of it together again, twice."""

    processes_bytes: int
    loading_bytes: int
    gathering_bytes: int
    export_bytes: int
    training_bytes: int

    @property
    def without_exports(self) -> int:
        most = max(self.loading_bytes, self.gathering_bytes)
        return max(self.processes_bytes + most, self.training_bytes)

    @property
    def total_mb(self) -> int:
        return -(-max(self.without_exports, self.processes_bytes + self.export_bytes) // MIB)


def host_memory(e: Experiment, shape: Shape, memory: MemoryEstimate) -> HostMemory:
    """One card's machine is taken to hold all cards of the job."""
    ranks = max(e.resources.gpus, 1)
    whole = 0
    if is_sharded(e):
        whole = weight_bytes(e, shape)
    making = [exports.host_bytes(e, shape, memory, kind) for kind in dict.fromkeys(e.export)]
    return HostMemory(
        processes_bytes=0 if e.resources.gpus < 1 else ranks * PROCESS_BYTES,
        loading_bytes=ranks * whole if all_read(e) else whole,
        gathering_bytes=whole if e.tuning != "full" else 2 * whole,
        export_bytes=max(making, default=0),
        training_bytes=memory.total_mb * MIB if e.resources.gpus < 1 else 0,
    )


def is_sharded(e: Experiment) -> bool:
    return e.resources.gpus > 1 and e.resources.strategy not in ("ddp", "")


def all_read(e: Experiment) -> bool:
    """Whether each process reads the model (`training.trainer.one_copy`)."""
    return is_sharded(e) and e.tuning == "qlora"


def lacks_host_memory(e: Experiment, needs: HostMemory) -> Iterator[str]:
    """On the CPU the estimate of memory says it already, and each export speaks for itself."""
    has = e.resources.host_memory_gb
    required = needs.without_exports / GIB
    if has is None or e.resources.gpus < 1 or not required > has:
        return
    gpus = e.resources.gpus
    who = "the process of the job needs" if gpus == 1 else f"{gpus} processes need"
    sentence = f"Not enough host memory: {who} {required:.1f} GB"
    if all_read(e):
        sentence += f", as with {e.resources.strategy} each loads the whole model first"
    elif is_sharded(e):
        sentence += f", as with {e.resources.strategy} the first has the whole model before "
        sentence += "and after training"
    yield f"{sentence}; the machines here have {max(has, 0):.1f} GB. {_way_out(e)}"


def _way_out(e: Experiment) -> str:
    if e.resources.gpus == 1:
        return "Choose a partition whose machines have more."
    if not is_sharded(e):
        return "Set fewer gpus."
    instead = ", or fewer gpus" if all_read(e) else ""
    return f"Use ddp, which loads straight to the cards{instead}."


def download_bytes(e: Experiment) -> int:
    """Of the model's and the dataset's files, where they are known not to be here."""
    total = 0
    if e.model.has_files is False:
        total += model_bytes(e.model) or 0
    if e.dataset.has_files is False:
        total += max(e.dataset.size_bytes or 0, 0)
    return total


def model_bytes(model: ModelFacts) -> int | None:
    """Of the weights in their files; None where nothing is known of the model's size."""
    if model.size_bytes is not None and model.size_bytes > 0:
        return model.size_bytes
    shape = shape_of(model)
    if shape is None:
        return None
    config = model.config or {}
    words = [config.get("dtype"), config.get("torch_dtype")]
    if model.quantized or model.is_gguf:
        words = [model.quantization, model.dtype]
    elif not any(isinstance(word, str) for word in words):
        words = [model.dtype]
    stored = (_STORED.get(word.lower()) for word in words if isinstance(word, str))
    each = next((one for one in stored if one is not None), None)
    if each is None:
        each = _STORED["int4"] if model.quantized else _USUAL_BYTES
    return round(shape.total_params * each)
