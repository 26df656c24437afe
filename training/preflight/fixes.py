"""What to change so that it fits, or is faster: each change is tried, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from training.preflight.estimate import Estimate
from training.preflight.facts import Experiment
from training.preflight.hardware import gpus_of
from training.trainer.spec import WHOLE_TENSORS

MOST_FIXES = 5
SHORTEST_ROW_TOKENS = 128
# A gain below this is within the doubt of the estimate and not worth a person's attention.
WORTHWHILE_SPEEDUP = 1.1


@dataclass(frozen=True, kw_only=True)
class Fix:
    """A change in the words of the API, and what the experiment would then need.

    ``keeps_result``: the same mathematics, so the same model comes out.
    """

    title: str
    patch: dict[str, Any]
    keeps_result: bool
    estimated_vram_mb: int
    time_per_step_ms: float
    fits: bool | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "patch": self.patch,
            "keeps_result": self.keeps_result,
            "estimated_vram_mb": self.estimated_vram_mb,
            "time_per_step_ms": round(self.time_per_step_ms, 1),
            "fits": self.fits,
        }


@dataclass(frozen=True, kw_only=True)
class _Change:
    title: str
    patch: dict[str, Any]
    experiment: Experiment
    keeps_result: bool = True


# What an experiment would need, with everything that is known of estimates like it.
Needs = Callable[[Experiment], Estimate | None]


def find_fixes(
    experiment: Experiment, now: Estimate, needs: Needs, *, ran_out: bool = False
) -> tuple[Fix, ...]:
    """Best first: what fits, before what does not; what leaves the result alone, before what
    changes it; the faster before the slower. Where it fits already: only what makes it faster,
    unless it ``ran_out`` of memory all the same."""
    too_large = now.fits is False or ran_out
    asked = _once(needs)
    changes = _smaller(experiment, asked) if too_large else _faster(experiment)
    found = []
    for change in changes:
        then = asked(change.experiment)
        if then is not None and _helps(now, then, too_large):
            found.append(_fix(change, then))
    if any(fix.fits for fix in found):
        found = [fix for fix in found if fix.fits]
    if not any(fix.fits for fix in found):
        found.sort(key=lambda fix: fix.estimated_vram_mb)
    else:
        found.sort(key=lambda fix: (not fix.keeps_result, fix.time_per_step_ms))
    return tuple(found[:MOST_FIXES])


def _once(needs: Needs) -> Needs:
    """What a search has asked is asked again of what it has found."""
    known: dict[int, tuple[Experiment, Estimate | None]] = {}

    def asked(experiment: Experiment) -> Estimate | None:
        if id(experiment) not in known:
            known[id(experiment)] = (experiment, needs(experiment))
        return known[id(experiment)][1]

    return asked


def _helps(now: Estimate, then: Estimate, too_large: bool) -> bool:
    if too_large:
        gains = then.memory.total_mb < now.memory.total_mb
        return gains or (then.fits is True and now.fits is False)
    gain = now.speed.time_per_step_ms / then.speed.time_per_step_ms
    return then.fits is True and gain > WORTHWHILE_SPEEDUP


def _fix(change: _Change, then: Estimate) -> Fix:
    return Fix(
        title=change.title,
        patch=change.patch,
        keeps_result=change.keeps_result,
        estimated_vram_mb=then.memory.total_mb,
        time_per_step_ms=then.speed.time_per_step_ms,
        fits=then.fits,
    )


def _with_train(
    experiment: Experiment, title: str, *, keeps_result: bool = True, **train: Any
) -> _Change:
    return _Change(
        title=title,
        patch={"train": train},
        experiment=replace(experiment, train=replace(experiment.train, **train)),
        keeps_result=keeps_result,
    )


def _smaller(e: Experiment, needs: Needs) -> Iterator[_Change]:
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


def _shared_out(e: Experiment, needs: Needs) -> Iterator[_Change]:
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
            yield _Change(
                title=f"Share the model out over the {e.resources.gpus} GPUs with {strategy}",
                patch={"resources": {"strategy": strategy}},
                experiment=then,
            )
            return


def _accumulations(e: Experiment, needs: Needs, title: str, **also: Any) -> Iterator[_Change]:
    """The largest micro batch that fits, found by halving; else single rows."""
    rows = e.micro_batch_size
    while rows > 1:
        rows = rows // 2 if rows % 2 == 0 else 1
        accumulation = e.train.grad_accum * (e.micro_batch_size // rows)
        change = _with_train(e, f"{title} {accumulation}", grad_accum=accumulation, **also)
        then = needs(change.experiment)
        if rows == 1 or (then is not None and then.fits):
            yield change
            return


def _other_methods(e: Experiment) -> Iterator[_Change]:
    lighter = {"full": ("lora", "qlora"), "lora": ("qlora",)}.get(e.tuning, ())
    if e.model.quantized:
        lighter = ()
    names = {"lora": "LoRA", "qlora": "QLoRA"}
    for method in lighter:
        then, patch = _tuned(e, method)
        lightest = replace(
            then.train,
            gradient_checkpointing=True,
            grad_accum=e.train.grad_accum * e.micro_batch_size,
        )
        yield _Change(
            title=f"Train with {names[method]}",
            patch=patch,
            experiment=then,
            keeps_result=False,
        )
        yield _Change(
            title=f"Train with {names[method]}, gradient checkpointing and micro batches of 1",
            patch=patch
            | {
                "train": {
                    **patch.get("train", {}),
                    "gradient_checkpointing": True,
                    "grad_accum": lightest.grad_accum,
                }
            },
            experiment=replace(then, train=lightest),
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


def _other_cards(e: Experiment) -> Iterator[_Change]:
    if e.resources.gpus < 1:
        return
    for gpu_type in dict.fromkeys(card.gpu_type for card in gpus_of(e.resources)):
        if gpu_type != e.resources.gpu_type:
            resources = replace(e.resources, gpu_type=gpu_type)
            yield _Change(
                title=f"Run on {gpu_type}",
                patch={"resources": {"gpu_type": gpu_type}},
                experiment=replace(e, resources=resources),
            )


def _faster(e: Experiment) -> Iterator[_Change]:
    if e.train.gradient_checkpointing:
        yield _with_train(e, "Turn off gradient checkpointing", gradient_checkpointing=False)
    if e.train.grad_accum > 1:
        yield _with_train(e, "Set grad_accum to 1: one larger micro batch", grad_accum=1)
