"""What the numbers and the machines allow: ranges, batches, cards, partitions, strategies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from training.preflight.compatibility import LARGEST_RATE
from training.preflight.facts import CardFacts, Experiment
from training.preflight.findings import Finding, Rule, error, listed, shortage, warning
from training.preflight.hardware import (
    REFERENCE_CARD,
    card_for,
    find_card,
    gpus_of,
    known_cards,
    same_card,
)
from training.trainer.spec import MIXED_PRECISION, STRATEGIES, WHOLE_TENSORS

FLASH_ATTENTION_CAPABILITY = 8.0
# As pip calls them.
FLASH_ATTENTION, LIGER = "flash-attn", "liger-kernel"

# TrainSpec and LoraSpec refuse what is too small; beyond these a number is a slip of the hand.
LARGEST: dict[str, int] = {
    "max_steps": 10**9,
    "num_train_epochs": 10**6,
    "global_batch_size": 10**6,
    "grad_accum": 10**6,
    "learning_rate": LARGEST_RATE,
    "warmup_steps": 10**9,
    "max_length": 10**7,
    "checkpoint_interval": 10**9,
    "save_total_limit": 10**6,
}
LARGEST_RANK = 10**5
MOST_TARGETS = 1000
LARGEST_GPUS = 10**5


def numbers_are_too_large(e: Experiment) -> Iterator[Finding]:
    for name, largest in LARGEST.items():
        value = getattr(e.train, name)
        if value is not None and value > largest:
            yield error(f"{name} must be at most {largest}; it is {value}.")
    if not 0 <= e.resources.gpus <= LARGEST_GPUS:
        yield error(f"gpus must be between 0 and {LARGEST_GPUS}; it is {e.resources.gpus}.")
    if e.tuning != "full" and e.lora.r > LARGEST_RANK:
        yield error(f"lora r must be at most {LARGEST_RANK}; it is {e.lora.r}.")
    targets = e.lora.target_modules
    if e.tuning != "full" and not isinstance(targets, str) and len(targets) > MOST_TARGETS:
        yield error(
            f"lora target_modules may be at most {MOST_TARGETS} names; there are {len(targets)}."
        )


def words_are_not_known(e: Experiment) -> Iterator[Finding]:
    for name, value, known in (
        ("mixed_precision", e.resources.mixed_precision, MIXED_PRECISION),
        ("strategy", e.resources.strategy, STRATEGIES),
    ):
        if value not in known:
            yield error(f"{name} '{value}' is not known. Known: {listed(known)}.")


def batch_does_not_divide(e: Experiment) -> Iterator[Finding]:
    batch, accumulation, devices = (
        e.train.global_batch_size,
        e.train.grad_accum,
        max(e.resources.gpus, 1),
    )
    if batch >= 1 and accumulation >= 1 and batch % (accumulation * devices):
        yield error(
            "micro batch = global_batch_size / (grad_accum × gpus) must be a whole number: "
            f"{batch} / ({accumulation} × {devices}) is not. Set global_batch_size to "
            f"{_multiples(batch, accumulation * devices)}."
        )


def _multiples(batch: int, of: int) -> str:
    below = batch // of * of
    return f"{below} or {below + of}" if below else str(of)


def batch_is_larger_than_the_dataset(e: Experiment) -> Iterator[Finding]:
    rows = e.dataset.num_samples
    if rows is not None and 0 < rows < e.train.global_batch_size:
        yield warning(
            f"global_batch_size {e.train.global_batch_size} is more than the dataset's {rows} "
            "rows: every step sees some of them twice. Set it to that or less."
        )


def warm_up_never_ends(e: Experiment) -> Iterator[Finding]:
    steps = e.steps
    if steps is not None and steps >= 1 and e.train.warmup_steps >= steps:
        yield warning(
            f"warmup_steps {e.train.warmup_steps} is not less than the run's {steps} steps: the "
            f"learning rate never reaches its value. Set it below that; a tenth of them is "
            "usual."
        )


def strategy_does_not_fit(e: Experiment) -> Iterator[Finding]:
    gpus, strategy = e.resources.gpus, e.resources.strategy
    if strategy in ("ddp", "") or strategy not in STRATEGIES:
        return
    if gpus < 2:
        device = "one GPU" if gpus == 1 else "the CPU"
        yield warning(f"Strategy {strategy} has nothing to shard on {device} and is ignored.")
        return
    if e.resources.mixed_precision == "fp16":
        yield error(f"Mixed precision fp16 does not go with strategy {strategy}. Use bf16, or ddp.")
    if e.train.optim in WHOLE_TENSORS:
        yield error(
            f"optim {e.train.optim} goes over whole tensors, and strategy {strategy} leaves each "
            "GPU a share of them. Use adamw_torch_fused, or ddp."
        )
    if e.model.quantized:
        yield error(
            f"Strategy {strategy} cannot share out the weights of model '{e.model.name}', which "
            "are quantized already. Use ddp, or QLoRA on the model they were made from."
        )


def gpu_type_is_not_known(e: Experiment) -> Iterator[Finding]:
    wanted = e.resources.gpu_type
    if e.resources.gpus < 1:
        return
    if not wanted:
        if not gpus_of(e.resources):
            yield warning(
                "No gpu_type is given, so whether the job fits is not known; times are those of "
                "an a100-80gb."
            )
    elif find_card(wanted) is None and not any(
        same_card(card.gpu_type, wanted) for card in e.resources.cards
    ):
        yield error(f"GPU type '{wanted}' is not known. Known: {listed(known_cards())}.")


def card_is_not_in_the_catalogue(e: Experiment) -> Iterator[Finding]:
    card = card_for(e.resources)
    if card.is_guessed and not card.is_cpu:
        yield warning(
            f"Nothing is known of the card {card.slug} but its memory: times are those of an "
            f"{REFERENCE_CARD}, and whether it has bfloat16 units is not known. A probe measures "
            "both."
        )


def partition_lacks_the_cards(e: Experiment) -> Iterator[Finding]:
    gpus, wanted = e.resources.gpus, e.resources.gpu_type
    if gpus < 1 or not e.resources.cards:
        return
    cards = gpus_of(e.resources)
    alike = [card for card in cards if not wanted or same_card(card.gpu_type, wanted)]
    usable = [card for card in alike if gpus == 1 or not card.is_slice]
    asked = f"{gpus} × {wanted or 'GPU'}"
    most = _most_of_one_worker(usable)
    if most >= gpus:
        if _most_of_one_worker([card for card in usable if card.is_running]) < gpus:
            yield from _waits_for(asked, e)
        return
    reason = f"it asks for {asked}, and there is {_described(cards)}"
    if len(alike) >= gpus > len(usable):
        reason += ", of which slices of a card (MIG) cannot work together"
    elif len(usable) >= gpus:
        reason = f"it asks for {asked} in one machine, and no worker has more than {most}"
    yield shortage(
        f"This job can never run here: {reason}. Choose gpus and gpu_type of what is there, or "
        "another partition."
    )


def _most_of_one_worker(cards: list[CardFacts]) -> int:
    """All cards of a job have to be in one machine."""
    return max(Counter(card.worker for card in cards).values(), default=0)


def _waits_for(asked: str, e: Experiment) -> Iterator[Finding]:
    if not e.resources.idle_partition:
        yield warning(
            f"No worker that is running now has {asked}: the job will wait until one comes."
        )


def nobody_is_running_there(e: Experiment) -> Iterator[Finding]:
    if e.resources.idle_partition:
        yield warning(
            f"No worker of partition '{e.resources.idle_partition}' is running now: the job will "
            "wait until one comes."
        )


def _described(cards: tuple[CardFacts, ...]) -> str:
    counts = Counter(card.gpu_type for card in cards)
    return listed(tuple(f"{n} × {name}" for name, n in counts.items())) or "no GPU"


def card_lacks_a_type(e: Experiment) -> Iterator[Finding]:
    card = card_for(e.resources)
    if card.is_cpu:
        return
    bf16 = "bf16" if e.resources.mixed_precision == "bf16" else None
    wanted = bf16 or ("bfloat16" if e.train.dtype == "bfloat16" else None)
    if wanted and not card.has_bf16:
        yield error(
            f"{wanted} needs a card with bfloat16 units, which {card.slug} has not. "
            "Use float32 weights with mixed precision fp16."
        )


def half_precision_does_not_train(e: Experiment) -> Iterator[Finding]:
    if e.tuning != "full" or e.train.dtype != "float16":
        return
    if e.resources.mixed_precision == "fp16":
        yield error(
            "Mixed precision fp16 needs trained weights in float32, not in float16. "
            "Set dtype to float32."
        )
    else:
        yield warning(
            "Weights in float16 lose small updates and often diverge. bfloat16 is safer, float32 "
            "with mixed precision safest."
        )


def attention_does_not_run_there(e: Experiment) -> Iterator[Finding]:
    if e.train.attn_implementation != "flash_attention_2":
        return
    card = card_for(e.resources)
    too_old = (card.compute_capability or math.inf) < FLASH_ATTENTION_CAPABILITY
    if card.is_cpu or too_old:
        device = "the CPU" if card.is_cpu else f"{card.slug}, which is older"
        yield error(
            "attn_implementation flash_attention_2 needs a GPU of the Ampere generation or newer; "
            f"the job runs on {device}. Use sdpa."
        )
    elif FLASH_ATTENTION in e.missing_kernels:
        yield shortage(
            f"attn_implementation flash_attention_2 needs the library {FLASH_ATTENTION}, which is "
            f"not installed here: pip install {FLASH_ATTENTION}. Or use sdpa."
        )


def kernels_do_not_run_there(e: Experiment) -> Iterator[Finding]:
    if not e.train.use_liger_kernel:
        return
    if card_for(e.resources).is_cpu:
        yield error(
            "use_liger_kernel needs a GPU; the job runs on the CPU. Leave it out, or set gpus."
        )
    elif LIGER in e.missing_kernels:
        yield shortage(
            f"use_liger_kernel needs the library {LIGER}, which is not installed here: "
            f"pip install {LIGER}. Or leave it out."
        )


RULES: tuple[Rule, ...] = (
    numbers_are_too_large,
    words_are_not_known,
    batch_does_not_divide,
    batch_is_larger_than_the_dataset,
    warm_up_never_ends,
    strategy_does_not_fit,
    gpu_type_is_not_known,
    card_is_not_in_the_catalogue,
    partition_lacks_the_cards,
    nobody_is_running_there,
    card_lacks_a_type,
    half_precision_does_not_train,
    attention_does_not_run_there,
    kernels_do_not_run_there,
)
