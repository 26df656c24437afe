"""What a training process is told to do: the content of ``RUN_DIR/run.json``.

Standard library only: the platform builds these objects too, and it never imports torch.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.trainer.settings import (
    ATTENTION,
    DTYPES,
    EXACT_MATCH,
    LOSS_TYPES,
    MIXED_PRECISION,
    OPTIMIZERS,
    REPORTERS,
    ROW_FIELDS,
    SCHEDULES,
    STRATEGIES,
    WHOLE_TENSORS,
    BadSpec,
    BaseModelSpec,
    DatasetSpec,
    DeviceSpec,
    EvalSpec,
    LoraSpec,
    TrainSpec,
    number,
    one_of,
    whole,
)

__all__ = [
    "ATTENTION",
    "DTYPES",
    "EXACT_MATCH",
    "EXPORTS",
    "GGUF_MODEL_TYPES",
    "GGUF_ROPE_TYPES",
    "HELD_OUT_SPLITS",
    "LOSS_TYPES",
    "METHODS",
    "MIXED_PRECISION",
    "OPTIMIZERS",
    "QUANTIZATION_LIBRARIES",
    "REPORTERS",
    "ROW_FIELDS",
    "SCHEDULES",
    "STRATEGIES",
    "WHOLE_TENSORS",
    "BadSpec",
    "BaseModelSpec",
    "DatasetSpec",
    "DeviceSpec",
    "EvalSpec",
    "LoraSpec",
    "MethodSpec",
    "RunSpec",
    "TrainSpec",
    "four_bit",
    "method_problem",
    "uses_adapter",
]

# As the dataset doctor names them; rows of the first that there is are held out.
HELD_OUT_SPLITS = ("validation", "test")
# How a base model may be quantized to train an adapter on it, and what Transformers loads it by.
QUANTIZATION_LIBRARIES = {
    "bitsandbytes": ("bitsandbytes",),
    "gptq": ("gptqmodel", "optimum"),
    "awq": ("gptqmodel",),
}
EXPORTS = ("safetensors", "merged", "onnx", "gguf")
# The model types of config.json that can be written for llama.cpp.
GGUF_MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
GGUF_ROPE_TYPES = ("default", "llama3", "linear")  # how their rotary positions may be scaled


@dataclass(frozen=True)
class MethodSpec:
    """``rows`` are the kinds of rows that it learns from, as `data.read` and the dataset doctor
    name them; ``settings`` those of TrainSpec that some methods have and others have not. One that
    ``compares_rows`` of a micro batch with each other depends on its size."""

    rows: tuple[str, ...]
    modality: str = "text"
    settings: tuple[str, ...] = ()
    compares_rows: bool = False


_NEXT_TOKEN = ("prompt_completion", "conversation", "messages", "text", "labelled")
_PEFT = ("use_peft", "load_in_4bit")
METHODS: dict[str, MethodSpec] = {
    "full": MethodSpec(_NEXT_TOKEN, settings=("completion_only_loss", "packing")),
    "lora": MethodSpec(_NEXT_TOKEN, settings=("completion_only_loss", "packing", "use_peft")),
    "qlora": MethodSpec(_NEXT_TOKEN, settings=("completion_only_loss", "packing", *_PEFT)),
    "pretrain": MethodSpec(("text", "labelled"), settings=_PEFT),
    "dpo": MethodSpec(("preference",), settings=(*_PEFT, "beta", "loss_type", "label_smoothing")),
    "orpo": MethodSpec(("preference",), settings=("completion_only_loss", *_PEFT, "beta")),
    "kto": MethodSpec(
        ("unpaired_preference", "preference"),
        settings=(*_PEFT, "beta", "desirable_weight", "undesirable_weight"),
        compares_rows=True,
    ),
    "text_classification": MethodSpec(("labelled",), settings=_PEFT),
    "image_classification": MethodSpec(("labelled_image",), modality="image", settings=_PEFT),
}


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """All of run.json. ``export_dir`` receives one folder per entry of `exports`. Tokenized rows
    are kept in ``cache_dir`` ("": nowhere) for other runs, up to ``cache_limit_gb`` in all. With
    ``probe_steps`` it only measures what the run would take, in so many steps (`trainer.probe`)."""

    run_id: str
    name: str
    method: str
    base_model: BaseModelSpec
    dataset: DatasetSpec
    export_dir: str
    train: TrainSpec = field(default_factory=TrainSpec)
    lora: LoraSpec = field(default_factory=LoraSpec)
    eval: EvalSpec = field(default_factory=EvalSpec)
    device: DeviceSpec = field(default_factory=DeviceSpec)
    export: tuple[str, ...] = ("safetensors",)
    cache_dir: str = ""
    cache_limit_gb: float = 50.0
    probe_steps: int = 0

    def __post_init__(self) -> None:
        one_of("method", self.method, tuple(METHODS))
        if problem := method_problem(self.method, self.train):
            raise BadSpec(problem)
        for kind in self.export:
            one_of("export", kind, EXPORTS)
        self.train.micro_batch_size(self.device.ranks)  # raises where it does not divide
        if self.device.shards and self.train.optim in WHOLE_TENSORS:
            raise BadSpec(
                f"optim: {self.train.optim} needs strategy ddp; with {self.device.strategy} use "
                "adamw_torch_fused"
            )
        if not self.dataset.train:
            raise BadSpec("dataset: train names no file")
        if self.train.load_best_model_at_end and not self.dataset.validation:
            raise BadSpec("load_best_model_at_end: without validation rows no checkpoint is best")
        if self.train.load_best_model_at_end and not self.eval.interval:
            raise BadSpec("load_best_model_at_end: needs an eval.interval, to compare checkpoints")
        number(self, "cache_limit_gb")
        whole(self, 0, "probe_steps")

    @property
    def exports(self) -> tuple[str, ...]:
        """What is made of ``export``, in this order. The weights as they were trained are always
        there, and merged is something else only where they are an adapter."""
        wanted = {"safetensors", *self.export} - (set() if self.uses_adapter else {"merged"})
        return tuple(kind for kind in EXPORTS if kind in wanted)

    @property
    def uses_adapter(self) -> bool:
        """Whether the run trains a small addition (PEFT) and leaves the base model as it is."""
        return uses_adapter(self.method, self.train)

    @property
    def four_bit(self) -> bool:
        """Whether the base model is held in four bits."""
        return four_bit(self.method, self.train)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> RunSpec:
        """Build from plain JSON values. Raises BadSpec naming the unknown or missing setting."""
        parts: dict[str, type[Any]] = {
            "base_model": BaseModelSpec,
            "dataset": DatasetSpec,
            "train": TrainSpec,
            "lora": LoraSpec,
            "eval": EvalSpec,
            "device": DeviceSpec,
        }
        values = {
            key: _build(parts[key], value, key) if key in parts else value
            for key, value in raw.items()
        }
        spec: RunSpec = _build(cls, values, "run")
        return spec

    @classmethod
    def read(cls, run_dir: Path) -> RunSpec:
        """Read ``run_dir/run.json``. Raises BadSpec."""
        try:
            raw = json.loads((run_dir / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadSpec(f"cannot read {run_dir / 'run.json'}: {error}") from error
        return cls.from_dict(raw)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def uses_adapter(method: str, train: TrainSpec) -> bool:
    """Whether a small addition (PEFT) is trained, and the base model stays as it is."""
    return method in ("lora", "qlora") or train.use_peft


def four_bit(method: str, train: TrainSpec) -> bool:
    """Whether the base model is held in four bits."""
    return method == "qlora" or train.load_in_4bit


def method_problem(method: str, train: TrainSpec) -> str:
    """Why these settings cannot be under this method, "" where they can."""
    of_some = dict.fromkeys(name for one in METHODS.values() for name in one.settings)
    for name in of_some:
        if name not in METHODS[method].settings and _is_set(train, name):
            having = ", ".join(one for one, facts in METHODS.items() if name in facts.settings)
            return f"{name}: the method {method} has no such setting; it is one of {having}"
    if four_bit(method, train) and not uses_adapter(method, train):
        return "load_in_4bit: weights in four bits are not trained themselves; set use_peft too"
    if train.label_smoothing and train.loss_type != "sigmoid":
        return f"label_smoothing: loss_type {train.loss_type} has none, only sigmoid has"
    return ""


def _is_set(train: TrainSpec, name: str) -> bool:
    return bool(getattr(train, name) != getattr(TrainSpec, name))


def _build(cls: type[Any], raw: Any, where: str) -> Any:
    if dataclasses.is_dataclass(raw):
        return raw
    if not isinstance(raw, dict):
        raise BadSpec(f"{where}: expected an object, got {type(raw).__name__}")
    known = {f.name for f in dataclasses.fields(cls)}
    if unknown := sorted(set(raw) - known):
        raise BadSpec(f"{where}: unknown setting {', '.join(unknown)}")
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in raw.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise BadSpec(f"{where}: {error}") from error
