"""Settings that go together on paper only: what would be done in vain, or not as it was meant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from training.preflight import batches
from training.preflight.compatibility import HOLD_OUT
from training.preflight.facts import Experiment
from training.preflight.findings import Finding, Rule, error, listed, warning
from training.preflight.hardware import card_for
from training.trainer.spec import HELD_OUT_SPLITS

# Families (``model_type``) of which Transformers as it is pinned has no such attention; the tests
# compare. Every family has eager.
WITHOUT: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("attention.json").read_text(encoding="utf-8")
)
MANY_CUT = 0.01  # of the rows
FLOAT8 = ("fp8", "float8")
ADA = 8.9  # compute capability


def attention_is_not_in_the_family(e: Experiment) -> Iterator[Finding]:
    family, wanted = e.model.family, e.train.attn_implementation
    if family in WITHOUT.get(wanted, ()):
        others = [name for name in ("sdpa", "eager") if family not in WITHOUT.get(name, ())]
        yield error(
            f"attn_implementation {wanted} is not made for models of the family {family}, as "
            f"'{e.model.name}' is. Use {' or '.join(others)}."
        )


def card_lacks_float8(e: Experiment) -> Iterator[Finding]:
    words = (e.model.quantization or "", e.model.dtype)
    card = card_for(e.resources)
    if not any(word.lower().startswith(FLOAT8) for word in words):
        return
    if card.is_cpu or (card.compute_capability or ADA) < ADA:
        device = "the CPU has not" if card.is_cpu else f"{card.slug} has not"
        yield error(
            f"Model '{e.model.name}' is held in float8, which needs a card with such units (Ada, "
            f"Hopper or newer) that {device}. Choose the model in bfloat16."
        )


def many_rows_are_cut(e: Experiment) -> Iterator[Finding]:
    """Few are told of by the longest of them alone."""
    limit, lengths, context = e.train.max_length, e.dataset.lengths, e.model.context_length
    share = batches.cut_rows(e)
    if lengths is None or share < MANY_CUT:
        longest = e.dataset.max_tokens
        if longest is not None and longest > limit and not e.rows_are_alike:
            yield warning(
                f"The longest row has {longest} tokens; rows are cut at max_length {limit}. "
                + _to_keep_whole(longest, context)
            )
        return
    lost = 1 - lengths.cut(limit).tokens / lengths.tokens
    enough = round(lengths.at(1 - MANY_CUT))
    way_out = f"With max_length {enough} it would be at most 1 %."
    if context is not None and enough > context:
        way_out = _split(context)
    about = "About " if lengths.basis != "counted" else ""
    yield warning(
        f"{about}{_percent(share)} of the rows are longer than max_length {limit} and are cut, and "
        f"{_percent(lost)} of all tokens are lost. {way_out}"
    )


def _to_keep_whole(longest: int, context: int | None) -> str:
    if context is not None and longest > context:
        return _split(context)
    return f"To keep all of it, set max_length to {longest}."


def _split(context: int) -> str:
    return f"The model reads {context} at most: split long rows."


def rows_have_nothing_to_learn(e: Experiment) -> Iterator[Finding]:
    lengths, limit = e.dataset.lengths, e.train.max_length
    if lengths is None or not e.left_out:
        return
    longest = lengths.begins[-1][0]
    way_out = f"The longest prompt has {longest} tokens: raise max_length, or shorten prompts."
    if e.left_out == 1:
        yield error(
            f"Nothing is left to learn: the prompt of every row fills max_length {limit}. {way_out}"
        )
    else:
        yield warning(
            f"{_percent(e.left_out)} of the rows are left out, as their prompts fill max_length "
            f"{limit} and nothing of the answer is left. {way_out}"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0095 else "less than 1 %"


def packing_saves_nothing(e: Experiment) -> Iterator[Finding]:
    if e.train.packing and not batches.lies_flat(e):
        reason = f"With attn_implementation {e.train.attn_implementation}"
        way_out = "Use sdpa, or leave packing out."
        if e.train.attn_implementation == batches.FLAT_ATTENTION:
            reason, way_out = "In models of this family", "Leave packing out."
        yield warning(
            f"{reason} the rows of a pack are padded to the longest of them, so packing saves "
            f"nothing. {way_out}"
        )


def nothing_is_measured(e: Experiment) -> Iterator[Finding]:
    if not e.eval_interval or e.train.load_best_model_at_end:
        return
    if e.dataset.splits and not set(e.dataset.splits) & set(HELD_OUT_SPLITS):
        yield warning(
            f"eval.interval {e.eval_interval} measures nothing without a validation split. "
            f"The splits of dataset '{e.dataset.name}': {listed(e.dataset.splits)}. {HOLD_OUT}"
        )


def suites_take_time_that_nobody_knows(e: Experiment) -> Iterator[Finding]:
    if e.suites:
        names = listed(tuple(suite.name for suite in e.suites))
        yield warning(
            f"How long the evaluation suites ({names}) take is not known, so the total time is "
            "without them."
        )


RULES: tuple[Rule, ...] = (
    attention_is_not_in_the_family,
    card_lacks_float8,
    many_rows_are_cut,
    rows_have_nothing_to_learn,
    packing_saves_nothing,
    nothing_is_measured,
    suites_take_time_that_nobody_knows,
)
