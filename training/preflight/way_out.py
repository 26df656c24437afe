"""Of an experiment that does not fit: what makes it fit, or the least that it comes to and the
cards that would hold that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from training.preflight.changes import Needs
from training.preflight.estimate import Estimate
from training.preflight.facts import Experiment
from training.preflight.fixes import Fix
from training.preflight.hardware import MIB, Card, find_card, known_cards
from training.preflight.rules import errors_by_rules
from training.trainer.spec import WHOLE_TENSORS

MOST_CARDS = 64


def way_out(experiment: Experiment, now: Estimate, fixes: tuple[Fix, ...], needs: Needs) -> str:
    """A sentence or two. ``fixes`` come with the best first."""
    best = fixes[0] if fixes else None
    if best is not None and best.fits:
        return f"{best.title}: {best.estimated_vram_mb / 1024:.1f} GB."
    least, said = experiment, "Nothing makes it smaller."
    if best is not None and best.estimated_vram_mb < now.memory.total_mb:
        least = best.experiment
        said = f"The least is {best.estimated_vram_mb / 1024:.1f} GB: {_lower(best.title)}."
    cards = next(_that_hold(least, needs), None)
    return f"{said} That would fit on {cards}." if cards else said


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]


def _that_hold(e: Experiment, needs: Needs) -> Iterator[str]:
    """The smallest card of the catalogue first, then numbers of the largest."""
    by_size = sorted(
        (card for slug in known_cards() if (card := find_card(slug)) and card.memory_bytes),
        key=lambda card: (card.memory_bytes or 0, card.slug),
    )
    alone = needs(_on(e, by_size[-1], max(e.resources.gpus, 1)))
    if alone is None:
        return
    here = errors_by_rules(e)
    for card in by_size:
        # What is told is tried on the card itself; the others are too small whatever they are.
        large_enough = (card.memory_bytes or 0) >= alone.memory.total_mb * MIB
        if large_enough and _holds(_on(e, card, max(e.resources.gpus, 1)), needs, here):
            count = f"{e.resources.gpus} × " if e.resources.gpus > 1 else ""
            yield f"{count}{card.slug}, the smallest card of the catalogue that is large enough"
    gpus = 2
    while gpus <= MOST_CARDS:
        if gpus > e.resources.gpus and _holds(_shared(e, by_size[-1], gpus), needs, here):
            yield f"{gpus} × {by_size[-1].slug} with zero3"
        gpus *= 2


def _on(e: Experiment, card: Card, gpus: int) -> Experiment:
    """Somewhere else: nothing is known of the machine but its cards."""
    resources = replace(
        e.resources, gpus=gpus, gpu_type=card.slug, cards=(), host_memory_gb=None, disk_free_mb=None
    )
    return replace(e, resources=resources)


def _shared(e: Experiment, card: Card, gpus: int) -> Experiment:
    """With as many rows on each card as now."""
    there = _on(e, card, gpus)
    optim = "adamw_torch_fused" if e.train.optim in WHOLE_TENSORS else e.train.optim
    train = replace(e.train, global_batch_size=e.micro_batch_size * gpus, grad_accum=1, optim=optim)
    return replace(there, train=train, resources=replace(there.resources, strategy="zero3"))


def _holds(e: Experiment, needs: Needs, objections: set[str]) -> bool:
    then = needs(e)
    return then is not None and then.fits is True and errors_by_rules(e) <= objections
