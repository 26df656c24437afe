"""What could be changed so that an experiment takes less memory or less time.

Whether a change helps, and whether it goes at all, is for `fixes` to find out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from training.preflight.batches import FLAT_ATTENTION, lies_flat
from training.preflight.estimate import Estimate
from training.preflight.facts import Experiment
from training.preflight.hardware import card_for, gpus_of
from training.trainer.spec import METHODS, WHOLE_TENSORS

SHORTEST_ROW_TOKENS = 128

# What an experiment would need, with everything that is known of estimates like it.
Needs = Callable[[Experiment], Estimate | None]


@dataclass(frozen=True, kw_only=True)
class Change:
    """``patch`` says in words what ``experiment`` is with the change. ``keeps_result``: the same
    mathematics, so the same model comes out."""

    title: str
    patch: dict[str, Any]
    experiment: Experiment
    keeps_result: bool = True


def _with_train(
    experiment: Experiment, title: str, *, keeps_result: bool = True, **train: Any
) -> Change:
    return Change(
        title=title,
        patch={"train": train},
        experiment=replace(experiment, train=replace(experiment.train, **train)),
        keeps_result=keeps_result,
    )


def smaller(e: Experiment, needs: Needs) -> Iterator[Change]:
    if not e.train.gradient_checkpointing:
        yield _with_train(e, "Turn on gradient checkpointing", gradient_checkpointing=True)
    if e.train.optim == "adamw_torch" and e.resources.gpus > 0:
        yield _with_train(e, "Use the fused AdamW", optim="adamw_torch_fused")
    if e.train.optim not in ("adamw_8bit", "sgd") and not _is_shared_out(e):
        yield _with_train(
            e, "Hold the optimizer's states in 8 bits", keeps_result=False, optim="adamw_8bit"
        )
    if e.train.attn_implementation == "eager":
        yield _with_train(e, "Use sdpa attention", attn_implementation="sdpa")
    yield from _accumulations(e, needs, "Raise grad_accum to")
    yield from _shared_out(e, needs)
    if not e.train.gradient_checkpointing:
        again = replace(e, train=replace(e.train, gradient_checkpointing=True))
        yield from _accumulations(
            again,
            needs,
            "Turn on gradient checkpointing and raise grad_accum to",
            gradient_checkpointing=True,
        )
    if e.train.dtype == "float32" and e.resources.gpus > 0:
        yield _with_train(e, "Load the weights in bfloat16", keeps_result=False, dtype="bfloat16")
    length = e.longest_row_tokens // 2
    if length >= SHORTEST_ROW_TOKENS:
        yield _with_train(e, f"Cut rows at {length} tokens", keeps_result=False, max_length=length)
    yield from _other_methods(e)
    yield from _other_cards(e)


def _is_shared_out(e: Experiment) -> bool:
    return e.resources.gpus > 1 and e.resources.strategy != "ddp"


def _shared_out(e: Experiment, needs: Needs) -> Iterator[Change]:
    """The first stage of ZeRO that fits, as each later one exchanges more; else the last."""
    goes = e.resources.mixed_precision != "fp16" and not e.model.quantized
    if e.resources.gpus < 2 or e.resources.strategy != "ddp" or not goes:
        return
    if e.train.optim in WHOLE_TENSORS:
        return
    for strategy in ("zero1", "zero2", "zero3"):
        then = replace(e, resources=replace(e.resources, strategy=strategy))
        shared = needs(then)
        if strategy == "zero3" or (shared is not None and shared.fits):
            yield Change(
                title=f"Share the model out over the {e.resources.gpus} GPUs with {strategy}",
                patch={"resources": {"strategy": strategy}},
                experiment=then,
            )
            return


def _fewest_rows(e: Experiment) -> int:
    """Of a micro batch: two where they are compared with each other."""
    return 2 if _compares_rows(e) else 1


def _compares_rows(e: Experiment) -> bool:
    method = METHODS.get(e.recipe.method)
    return method is not None and method.compares_rows


def _accumulations(e: Experiment, needs: Needs, title: str, **also: Any) -> Iterator[Change]:
    """The largest micro batch that fits, found by halving; else the smallest."""
    rows, smallest = e.micro_batch_size, None
    while rows > 1:
        rows = rows // 2 if rows % 2 == 0 else 1
        if rows < _fewest_rows(e):
            break
        accumulation = e.train.grad_accum * (e.micro_batch_size // rows)
        smallest = _with_train(
            e,
            f"{title} {accumulation}",
            keeps_result=not _compares_rows(e),
            grad_accum=accumulation,
            **also,
        )
        then = needs(smallest.experiment)
        if then is not None and then.fits:
            break
    if smallest is not None:
        yield smallest


def _other_methods(e: Experiment) -> Iterator[Change]:
    lighter = {"full": ("lora", "qlora"), "lora": ("qlora",)}.get(e.tuning, ())
    if e.model.quantized:
        lighter = ()
    names = {"lora": "LoRA", "qlora": "QLoRA"}
    rows = _fewest_rows(e) if e.micro_batch_size % _fewest_rows(e) == 0 else e.micro_batch_size
    for method in lighter:
        then, patch = _tuned(e, method)
        yield Change(
            title=f"Train with {names[method]}",
            patch=patch,
            experiment=then,
            keeps_result=False,
        )
        lightest: dict[str, Any] = {
            "gradient_checkpointing": True,
            "grad_accum": e.train.grad_accum * (e.micro_batch_size // rows),
        }
        yield Change(
            title=f"Train with {names[method]}, gradient checkpointing and micro batches of {rows}",
            patch=patch | {"train": patch.get("train", {}) | lightest},
            experiment=replace(then, train=replace(then.train, **lightest)),
            keeps_result=False,
        )


def _tuned(e: Experiment, tuning: str) -> tuple[Experiment, dict[str, Any]]:
    """The same with an adapter: by another method where the method is no more than that."""
    if e.recipe.method in ("full", "lora", "qlora"):
        return replace(e, recipe=replace(e.recipe, method=tuning)), {"recipe": {"method": tuning}}
    train: dict[str, Any] = {"use_peft": True}
    if tuning == "qlora":
        train["load_in_4bit"] = True
    return replace(e, train=replace(e.train, **train)), {"train": train}


def _other_cards(e: Experiment) -> Iterator[Change]:
    if e.resources.gpus < 1:
        return
    for gpu_type in dict.fromkeys(card.gpu_type for card in gpus_of(e.resources)):
        if gpu_type != e.resources.gpu_type:
            resources = replace(e.resources, gpu_type=gpu_type)
            yield Change(
                title=f"Run on {gpu_type}",
                patch={"resources": {"gpu_type": gpu_type}},
                experiment=replace(e, resources=resources),
            )


def faster(e: Experiment) -> Iterator[Change]:
    if e.train.gradient_checkpointing:
        yield _with_train(e, "Turn off gradient checkpointing", gradient_checkpointing=False)
    if e.train.grad_accum > 1:
        yield _with_train(
            e,
            "Set grad_accum to 1: one larger micro batch",
            keeps_result=not _compares_rows(e),
            grad_accum=1,
        )
    if e.train.attn_implementation == "eager":
        yield _with_train(e, "Use sdpa attention", attn_implementation="sdpa")
    yield from _in_bfloat16(e)
    yield from _packed(e)


def _in_bfloat16(e: Experiment) -> Iterator[Change]:
    """Where a card that has units for it computes in float32. Weights that are trained stay in
    float32, for small updates are lost on shorter ones."""
    computes_in_float32 = e.train.dtype == "float32" and e.resources.mixed_precision == "no"
    if not computes_in_float32 or e.resources.gpus < 1 or not card_for(e.resources).has_bf16:
        return
    yield Change(
        title="Compute in bfloat16 with mixed precision",
        patch={"resources": {"mixed_precision": "bf16"}},
        experiment=replace(e, resources=replace(e.resources, mixed_precision="bf16")),
        keeps_result=False,
    )
    if e.tuning != "full":
        yield _with_train(e, "Load the weights in bfloat16", keeps_result=False, dtype="bfloat16")


def _packed(e: Experiment) -> Iterator[Change]:
    """With as many packs in a step as hold about the rows that there were, and with the attention
    that needs no padding inside a pack. Of rows that nobody has looked at it is not known whether
    they are short."""
    method, lengths = METHODS.get(e.recipe.method), e.dataset.lengths
    if method is None or "packing" not in method.settings or e.train.packing or lengths is None:
        return
    settings: dict[str, Any] = {"packing": True}
    if e.train.attn_implementation != FLAT_ATTENTION:
        settings["attn_implementation"] = FLAT_ATTENTION
    packed = replace(e, train=replace(e.train, **settings))
    rows, packs = e.rows_an_epoch, packed.rows_an_epoch
    if not rows or not packs or packs >= rows or not lies_flat(packed):
        return
    devices, batch = max(e.resources.gpus, 1), e.train.global_batch_size
    each = max(round(batch * packs / rows / devices), 1)
    packs_a_step = "1 pack" if each * devices == 1 else f"{each * devices} packs"
    yield _with_train(
        e,
        f"Put short rows together: {packs_a_step} a step instead of {batch} rows",
        keeps_result=False,
        **settings,
        global_batch_size=each * devices,
        grad_accum=math.gcd(each, e.train.grad_accum),
    )
