"""The settings of a run, part by part: its model, its data, how it trains, on what.

Names are those of Transformers' TrainingArguments, TRL's SFTConfig and PEFT's LoraConfig where they
have one; ``global_batch_size``, ``grad_accum`` and ``checkpoint_interval`` are the API's own words.
`spec` puts the parts together; everybody else takes them from there. Standard library only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

STRATEGIES = ("ddp", "fsdp", "zero1", "zero2", "zero3")
DTYPES = ("float32", "bfloat16", "float16")
MIXED_PRECISION = ("no", "bf16", "fp16")
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "adamw_8bit", "sgd")
WHOLE_TENSORS = ("adamw_8bit",)  # optimizers that cannot go over a rank's share of a tensor
LOSS_TYPES = ("sigmoid", "hinge", "ipo")
ROW_FIELDS = (
    "prompt", "completion", "messages", "tools", "text", "chosen", "rejected", "label", "image",
)  # fmt: skip
EXACT_MATCH = "exact_match"
ATTENTION = ("sdpa", "eager", "flash_attention_2")
REPORTERS = ("tensorboard", "mlflow", "wandb")


class BadSpec(ValueError):
    """run.json is missing, is not JSON, or holds a setting that cannot be."""


@dataclass(frozen=True, kw_only=True)
class BaseModelSpec:
    """The model to start from: a folder as ``save_pretrained`` writes it. ``code`` has the SHA-256
    of each Python file in it that may run, by name; without any, none is."""

    path: str
    name: str = ""
    id: str = ""
    code: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Files of rows (.jsonl, .json, .csv, .parquet) with some of the fields ROW_FIELDS, or folders
    of images. ``columns`` names the column that a field stands in, where it has another name.
    Without ``validation`` files nothing is held out."""

    train: tuple[str, ...]
    validation: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    name: str = ""
    id: str = ""
    checksum: str = ""

    def __post_init__(self) -> None:
        for name, column in self.columns.items():
            one_of("columns", name, ROW_FIELDS)
            if not isinstance(column, str) or not column:
                raise BadSpec(f"columns: {name} must be the name of a column, not {column!r}")


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """How to train. ``max_steps`` wins over ``num_train_epochs`` where both are given.

    ``use_peft`` trains a LoRA adapter and ``load_in_4bit`` holds the base model in four bits, by
    methods whose name does not say so already. ``group_by_length`` lets rows of about the same
    length come together; ``packing`` makes of short rows packs of up to ``max_length`` tokens, and
    a pack is what ``global_batch_size`` counts; ``dataset_num_proc`` processes tokenize what is
    large (None: as many as the device has threads). With ``auto_find_batch_size`` a run that is out
    of memory goes on with smaller micro batches and as much more accumulation. Which methods have
    ``beta`` and the settings below it stands in METHODS. ``report_to`` names trackers that hear of
    every logged step too. With ``load_best_model_at_end`` the result is the checkpoint whose
    evaluation was best; it is kept beside the newest ``save_total_limit``.
    """

    max_steps: int | None = None
    num_train_epochs: float = 3.0
    global_batch_size: int = 8
    grad_accum: int = 1
    learning_rate: float = 2e-5
    lr_scheduler_type: str = "linear"
    warmup_steps: int = 0
    optim: str = "adamw_torch_fused"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_length: int = 1024
    completion_only_loss: bool = True
    dtype: str = "float32"
    gradient_checkpointing: bool = False
    attn_implementation: str = "sdpa"
    tf32: bool = True
    torch_compile: bool = False
    use_liger_kernel: bool = False
    seed: int = 42
    logging_steps: int = 1
    checkpoint_interval: int = 100
    save_total_limit: int = 2
    load_best_model_at_end: bool = False
    metric_for_best_model: str = "eval_loss"
    greater_is_better: bool | None = None
    packing: bool = False
    group_by_length: bool = False
    dataset_num_proc: int | None = None
    auto_find_batch_size: bool = True
    report_to: tuple[str, ...] = ()
    use_peft: bool = False
    load_in_4bit: bool = False
    beta: float = 0.1
    loss_type: str = "sigmoid"
    label_smoothing: float = 0.0
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    def __post_init__(self) -> None:
        whole(self, 1, "global_batch_size", "grad_accum", "logging_steps", "checkpoint_interval")
        whole(self, 1, "save_total_limit")
        whole(self, 2, "max_length")
        whole(self, 0, "warmup_steps", "seed")
        if self.max_steps is not None:
            whole(self, 1, "max_steps")
        if self.dataset_num_proc is not None:
            whole(self, 1, "dataset_num_proc")
        number(self, "num_train_epochs", "learning_rate", "weight_decay", "max_grad_norm")
        if self.max_steps is None and self.num_train_epochs == 0:
            raise BadSpec("num_train_epochs: must be more than 0 where max_steps is not given")
        one_of("lr_scheduler_type", self.lr_scheduler_type, SCHEDULES)
        one_of("optim", self.optim, OPTIMIZERS)
        one_of("dtype", self.dtype, DTYPES)
        one_of("attn_implementation", self.attn_implementation, ATTENTION)
        one_of("loss_type", self.loss_type, LOSS_TYPES)
        for reporter in self.report_to:
            one_of("report_to", reporter, REPORTERS)
        number(self, "beta", "label_smoothing", "desirable_weight", "undesirable_weight")
        if self.beta == 0:
            raise BadSpec("beta: must be more than 0")
        if self.label_smoothing >= 0.5:
            raise BadSpec(f"label_smoothing: must be less than 0.5, not {self.label_smoothing}")

    @property
    def best_metric(self) -> str:
        """``metric_for_best_model`` as the evaluation names it."""
        return f"eval_{self.metric_for_best_model.removeprefix('eval_')}"

    @property
    def greatest_is_best(self) -> bool:
        """``greater_is_better``; where it is not given, of everything but a loss."""
        if self.greater_is_better is None:
            return not self.best_metric.endswith("loss")
        return self.greater_is_better

    def micro_batch_size(self, ranks: int) -> int:
        """Rows in one forward pass of one process. Raises BadSpec where it does not divide."""
        size, rest = divmod(self.global_batch_size, self.grad_accum * ranks)
        if rest or size == 0:
            raise BadSpec(
                f"global_batch_size {self.global_batch_size} does not divide by grad_accum "
                f"{self.grad_accum} x gpus {ranks}"
            )
        return size


@dataclass(frozen=True, kw_only=True)
class LoraSpec:
    """PEFT's LoraConfig, as far as a run may set it. ``target_modules`` may be "all-linear".
    ``use_rslora`` scales by alpha / √r, ``use_dora`` trains magnitude and direction apart."""

    r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] | str = "all-linear"
    use_rslora: bool = False
    use_dora: bool = False

    def __post_init__(self) -> None:
        whole(self, 1, "r", "lora_alpha")
        number(self, "lora_dropout")
        if self.lora_dropout >= 1:
            raise BadSpec(f"lora_dropout: must be less than 1, not {self.lora_dropout}")


@dataclass(frozen=True, kw_only=True)
class EvalSpec:
    """``interval``: steps between evaluations of the held-out loss, None: only before and after.

    ``suites`` are measured on the base model before and on the result after: exact_match is ours,
    the others are tasks of lm-evaluation-harness, whose words ``limit`` (rows of a task),
    ``num_fewshot`` and ``include_path`` (a folder with further tasks) are.
    """

    interval: int | None = None
    suites: tuple[str, ...] = ()
    exact_match_rows: int = 200
    limit: int | None = None
    num_fewshot: int | None = None
    include_path: str = ""

    def __post_init__(self) -> None:
        if self.interval is not None:
            whole(self, 1, "interval")
        whole(self, 1, "exact_match_rows")
        if self.limit is not None:
            whole(self, 1, "limit")
        if self.num_fewshot is not None:
            whole(self, 0, "num_fewshot")

    @property
    def harness_suites(self) -> tuple[str, ...]:
        """Those that lm-evaluation-harness measures, each once."""
        return tuple(dict.fromkeys(suite for suite in self.suites if suite != EXACT_MATCH))


@dataclass(frozen=True, kw_only=True)
class DeviceSpec:
    """``gpus`` 0 trains on the CPU, then with ``cpu_ranks`` processes; with GPUs there is one for
    each. ``strategy`` says what of the model each of several processes holds (`trainer.sharding`).
    ``num_threads`` (of each process) is fixed, so a CPU run repeats bit for bit."""

    gpus: int = 0
    cpu_ranks: int = 1
    strategy: str = "ddp"
    mixed_precision: str = "no"
    num_threads: int = 1

    def __post_init__(self) -> None:
        whole(self, 0, "gpus")
        whole(self, 1, "cpu_ranks", "num_threads")
        one_of("strategy", self.strategy, STRATEGIES)
        one_of("mixed_precision", self.mixed_precision, MIXED_PRECISION)
        if self.shards and self.mixed_precision == "fp16":
            raise BadSpec(
                f"mixed_precision: fp16 needs strategy ddp; with {self.strategy} use bf16"
            )

    @property
    def shards(self) -> bool:
        """Whether no process holds the whole model."""
        return self.ranks > 1 and self.strategy != "ddp"

    @property
    def ranks(self) -> int:
        """Processes that train together."""
        return self.gpus or self.cpu_ranks


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise BadSpec(f"{name}: must be one of {', '.join(choices)}, not {value!r}")


def whole(part: Any, least: int, *names: str) -> None:
    for name in names:
        value = getattr(part, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise BadSpec(f"{name}: must be a whole number from {least} up, not {value!r}")


def number(part: Any, *names: str) -> None:
    for name in names:
        value = getattr(part, name)
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if not known or not 0 <= value < math.inf:
            raise BadSpec(f"{name}: must be a number from 0 up, not {value!r}")
