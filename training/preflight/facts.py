"""What a preflight is told: plain facts about the model, the data, the recipe and the machines.

None stands for "not known" everywhere; a check that needs an unknown fact stays silent, and an
estimate that needs one says so in its range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from training.preflight.lengths import Lengths
from training.trainer.spec import LoraSpec, TrainSpec, four_bit, uses_adapter

# Nothing that is counted here comes near it, and every number up to it goes into a float.
LARGEST = 10**18


def _forget_what_cannot_be(facts: Any, *names: str) -> None:
    """A count beyond belief is a slip of a file, and as good as not known."""
    for name in names:
        value = getattr(facts, name)
        if value is not None and abs(value) > LARGEST:
            object.__setattr__(facts, name, None)


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A base model. ``params`` is the exact count where the files were read, ``params_b`` the
    billions on its label; ``config`` is its Hugging Face config.json. ``problems`` are sentences
    about its files, each of which stands in the way. ``tokenizer_kind`` is "BPE", "Unigram", ... as
    its tokenizer.json has it, "" where nobody has looked."""

    name: str
    dtype: str = ""
    modality: str = "text"
    architecture: str = ""
    trainable: bool = True
    servable: bool = True
    quantized: bool = False
    quantization: str | None = None
    is_gguf: bool = False
    stage: str = ""
    status: str = ""
    context_length: int | None = None
    params: int | None = None
    params_b: float | None = None
    hidden_size: int | None = None
    num_layers: int | None = None
    vocab_size: int | None = None
    config: dict[str, Any] | None = None
    has_files: bool | None = None
    size_bytes: int | None = None
    has_tokenizer: bool | None = None
    has_chat_template: bool | None = None
    template_renders: bool | None = None
    tokenizer_kind: str = ""
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _forget_what_cannot_be(
            self, "params", "params_b", "size_bytes", "context_length",
            "hidden_size", "num_layers", "vocab_size",
        )  # fmt: skip

    @property
    def family(self) -> str:
        """The config's ``model_type``, "" where it says none."""
        said = (self.config or {}).get("model_type")
        return said if isinstance(said, str) else ""


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """A dataset. ``num_samples`` are rows; ``row_format`` is one of the kinds of rows in the
    trainer's METHODS; the token counts are per row, with the model's own tokenizer (of a row with
    two answers, those of the prompt with the longer one). ``lengths`` says the same of all rows to
    train on, ``held_out`` of those that are measured on; of a row with two answers each is one.
    ``columns`` is empty where they are not known. ``size_bytes`` are those of the files."""

    name: str
    modality: str = "text"
    num_samples: int | None = None
    splits: tuple[str, ...] = ()
    integrity_checked: bool = False
    integrity_passed: bool = False
    row_format: str | None = None
    columns: tuple[str, ...] = ()
    mean_tokens: float | None = None
    max_tokens: int | None = None
    lengths: Lengths | None = None
    held_out_rows: int | None = None
    held_out: Lengths | None = None
    has_files: bool | None = None
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        _forget_what_cannot_be(self, "num_samples", "held_out_rows", "max_tokens", "size_bytes")
        if self.mean_tokens is not None and not 0 < self.mean_tokens <= LARGEST:
            object.__setattr__(self, "mean_tokens", None)


@dataclass(frozen=True, kw_only=True)
class RecipeFacts:
    """A recipe under the name people see, such as 'Full Fine-Tune'."""

    name: str
    method: str
    supports_quantized: bool = False
    modality: str = "text"


@dataclass(frozen=True, kw_only=True)
class SuiteFacts:
    """A suite of lm-evaluation-harness. ``problem`` says why there is no such suite, ``lacks``
    names the data that is missing here and ``advice`` how to get it. ``writes_tokens`` is how much
    it lets the model write at most, 0 where the model only chooses."""

    name: str
    problem: str = ""
    lacks: tuple[str, ...] = ()
    advice: str = ""
    writes_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """One card that a ``worker`` of the partition has; ``gpu_type`` "cpu" is one without any.
    ``is_slice``: a part of a card (MIG). ``is_running``: whether its worker is, now."""

    gpu_type: str
    memory_mb: int | None = None
    worker: str = ""
    is_slice: bool = False
    is_running: bool = True


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Where the job should run. ``gpus`` 0 is the CPU with ``cpu_threads`` threads, which together
    reach ``cpu_gflops`` in float32 products where a worker has measured it. ``cards`` are
    those of the partition, one entry a card; empty means that nobody has reported them.
    ``idle_partition`` names it where none of its workers is running now.
    ``libraries`` are those for quantized models that are installed."""

    gpus: int = 1
    gpu_type: str | None = None
    strategy: str = "ddp"
    mixed_precision: str = "no"
    cards: tuple[CardFacts, ...] = ()
    idle_partition: str = ""
    cpu_threads: int = 1
    cpu_gflops: float | None = None
    host_memory_gb: float | None = None
    disk_free_mb: int | None = None
    libraries: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The software that trains, where it matters for memory and time; as it stands, our trainer.
    The accuracy benchmark describes other people's with it.

    ``loss`` names one of `losses.LOSSES`, ``optim`` one of `memory.OPTIMIZERS` that TrainSpec
    has not. ``steps_in_backward`` updates each weight as soon as its gradient is there.
    ``adapts_in_place`` is our way to add a LoRA adapter's part, in place of PEFT's.
    ``prepares_4bit`` says what else is float32 beside four-bit matrices: "all" as in PEFT's
    prepare_model_for_kbit_training, "norms" or "none". ``fsdp1`` is torch's first
    FullyShardedDataParallel; ``fsdp_casts`` lets it, not autocast, turn everything to 16 bits.
    ``compiled`` is torch.compile, ``fused`` hand-written kernels for norms, rotation and losses,
    ``first_flash`` the FlashAttention of 2022. ``selective`` checkpointing keeps every other matrix
    product. ``trains_embeddings`` is PEFT's modules_to_save. ``context_ranks`` cards share a row.

    ``keeps_gradients`` is torch before 2.0, whose zero_grad left them where they were.
    ``joins_heads`` is LitGPT's one matrix for queries, keys and values. ``keeps_4bit_inputs`` is an
    older bitsandbytes, ``double_quantization`` its scales in 8 bits, ``quantizes_head`` the head in
    4 bits as well. ``deepspeed`` keeps float32 copies of 16-bit weights, and its own buckets.
    """

    loss: str = "ours"
    optim: str | None = None
    steps_in_backward: bool = False
    adapter_bytes: int = 4
    adapts_in_place: bool = True
    prepares_4bit: str = "all"
    fsdp1: bool = False
    fsdp_casts: bool = False
    compiled: bool = False
    fused: bool = False
    first_flash: bool = False
    float8: bool = False
    offloads_activations: bool = False
    trains_embeddings: bool = False
    selective: bool = False
    context_ranks: int = 1
    keeps_gradients: bool = False
    joins_heads: bool = False
    keeps_4bit_inputs: bool = False
    double_quantization: bool = True
    quantizes_head: bool = False
    deepspeed: bool = False


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything a preflight judges together. ``missing_trackers`` are those of ``report_to`` whose
    library is not installed, ``missing_kernels`` the libraries of ``train`` that are not;
    ``suites`` are those of ``eval_suites`` that are not our own."""

    model: ModelFacts
    dataset: DatasetFacts
    recipe: RecipeFacts
    train: TrainSpec = field(default_factory=TrainSpec)
    lora: LoraSpec = field(default_factory=LoraSpec)
    columns: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    eval_suites: tuple[str, ...] = ()
    eval_interval: int | None = None
    suites: tuple[SuiteFacts, ...] = ()
    missing_trackers: tuple[str, ...] = ()
    missing_kernels: tuple[str, ...] = ()
    export: tuple[str, ...] = ("safetensors",)
    stack: Stack = field(default_factory=Stack)

    @cached_property
    def tuning(self) -> str:
        """Which weights are trained, and how the others are held, whatever is learned: "full",
        "lora" or "qlora"."""
        if not uses_adapter(self.recipe.method, self.train):
            return "full"
        return "qlora" if four_bit(self.recipe.method, self.train) else "lora"

    @property
    def sequences_per_row(self) -> int:
        """How many a forward pass keeps activations of: with each pair both answers."""
        return 2 if self.recipe.method in ("dpo", "orpo") else 1

    @property
    def work_per_row(self) -> float:
        """What a row costs in passes over one sequence. kto makes one more forward pass, a third of
        the work, over answers to other prompts."""
        return 4 / 3 if self.recipe.method == "kto" else float(self.sequences_per_row)

    @property
    def has_token_head(self) -> bool:
        """Whether scores of all tokens are computed, by far the widest layer."""
        return not self.recipe.method.endswith("classification")

    @property
    def rows_are_alike(self) -> bool:
        """Whether each row has the same length, known from the settings or the model alone."""
        return self.recipe.method in ("pretrain", "image_classification") or self.train.packing

    @cached_property
    def micro_batch_size(self) -> int:
        """Rows in one forward pass of one device, at least 1. A remainder is an error elsewhere."""
        share = max(self.train.grad_accum, 1) * max(self.resources.gpus, 1)
        return max(self.train.global_batch_size // share, 1)

    @cached_property
    def longest_row_tokens(self) -> int:
        """Tokens of the longest row that can reach the model."""
        if self.recipe.method == "image_classification":
            return image_tokens(self.model.config or {})
        longest = self.dataset.max_tokens
        if longest is None or longest < 1 or self.rows_are_alike:
            return self.train.max_length
        return min(self.train.max_length, longest)

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the whole run, None where neither they nor the rows are known.

        As many as the trainer will make: a last, unfilled batch counts."""
        if self.train.max_steps is not None:
            return self.train.max_steps
        rows, epochs = self.rows_an_epoch, self.train.num_train_epochs
        if rows is None or not 0 < rows <= 10**12 or not 0 < epochs <= 10**6:
            return None
        return max(1, math.ceil(epochs * rows / max(self.train.global_batch_size, 1)))

    @cached_property
    def left_out(self) -> float:
        """The share of the rows whose prompt alone fills ``max_length``: there is nothing to learn
        from the rest."""
        lengths = self.dataset.lengths
        asks = self.recipe.method in ("full", "lora", "qlora", "dpo", "orpo", "kto")
        if lengths is None or not asks or not self.train.completion_only_loss:
            return 0.0
        return lengths.left_out(self.train.max_length)

    @cached_property
    def rows_an_epoch(self) -> int | None:
        """What ``global_batch_size`` counts: rows of the dataset; of documents read on and on, the
        blocks that they fill; of rows in packs, the packs. A pair is two rows for kto."""
        rows, dataset = self.dataset.num_samples, self.dataset
        limit, lengths, mean = self.train.max_length, dataset.lengths, dataset.mean_tokens
        if rows is None or not (self.recipe.method == "pretrain" or self.train.packing):
            pairs = self.recipe.method == "kto" and dataset.row_format == "preference"
            if rows is None or rows < 1:
                return rows
            kept = round(rows * (1 - self.left_out))
            return max(kept, 1) * (2 if pairs else 1)
        if lengths is not None:
            share = rows / lengths.rows
            if self.recipe.method != "pretrain":
                learned = lengths.learned(limit) if self.left_out else lengths
                return math.ceil(learned.packs(limit) * share)
            mean = lengths.mean
        if mean is None or not 0 < mean < math.inf:
            return None
        tokens = rows * mean
        blocks = tokens // limit + (tokens % limit > 1)  # nothing predicts a first token
        return max(int(blocks), 1) if tokens < 10**18 else None


def image_tokens(config: dict[str, Any]) -> int:
    """Patches of an image and the one that stands for all of it, as a vision transformer counts
    them (Dosovitskiy et al. 2021): 197 where the config does not say otherwise."""
    size, patch = config.get("image_size"), config.get("patch_size")
    if not isinstance(size, int) or not isinstance(patch, int) or not 0 < patch <= size <= 10_000:
        size, patch = 224, 16
    return (size // patch) ** 2 + 1
