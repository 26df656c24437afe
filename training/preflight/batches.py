"""How rows come together in the batches of our trainer, and what a row then costs.

The trainer lays the rows of a micro batch one behind the other where the model allows it
(`trainer.attention`), so that nothing is padded; else each is padded to the longest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from training.preflight.facts import Experiment
from training.preflight.lengths import Lengths

# Where nobody has counted tokens, rows are taken to be half as long as they may be, and those of
# one dataset to spread around their mean by about half of it.
UNKNOWN_LENGTH_SHARE = 0.5
LENGTH_SPREAD = 0.5
# `trainer.objectives.language`: a flat batch is filled up to a multiple of it.
ROUND_TOKENS = 16
MEGA_BATCH_STEPS = 50  # `trainer.data.order`
# Families that look from row to row in other places than attention, or take positions otherwise:
# their rows are padded. The trainer tries it out (`trainer.objectives`); the tests compare.
NOT_FLAT = frozenset(
    {
        *("bamba", "bloom", "deepseek_v2", "falcon_h1", "falcon_mamba", "granitemoehybrid"),
        *("jamba", "mamba", "mamba2", "minimax", "mpt", "nemotron", "nemotron_h", "qwen3_next"),
        *("recurrent_gemma", "rwkv", "stablelm", "xlstm", "zamba", "zamba2"),
    }
)
# Attention masks that the trainer does not make itself.
FLAT_ATTENTION = "sdpa"


@dataclass(frozen=True, kw_only=True)
class Batches:
    """What the rows of an experiment are once they are cut, packed and put into batches.

    ``row_tokens`` are those of what ``global_batch_size`` counts, a row or a pack, on average;
    ``padded_tokens`` what it costs. ``micro_batch_tokens`` is the largest micro batch that can
    come. ``cut_rows`` and ``left_out`` are shares of all rows, ``lost_tokens`` of all tokens.
    """

    row_tokens: float
    padded_tokens: float
    micro_batch_tokens: int
    cut_rows: float
    lost_tokens: float
    left_out: float
    rows_an_epoch: int | None
    steps: int | None
    basis: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "basis": self.basis,
            "mean_tokens": round(self.row_tokens, 1),
            "padded_tokens": round(self.padded_tokens, 1),
            "largest_micro_batch_tokens": self.micro_batch_tokens,
            "truncated_percent": round(100 * self.cut_rows, 2),
            "left_out_percent": round(100 * self.left_out, 2),
            "lost_tokens_percent": round(100 * self.lost_tokens, 2),
            "rows_per_epoch": self.rows_an_epoch,
            "steps": self.steps,
        }


def batches_of(e: Experiment) -> Batches:
    row = mean_row_tokens(e)
    lengths = e.dataset.lengths
    looked_at = lengths if lengths is not None and not _has_no_rows(e) else None
    return Batches(
        row_tokens=row,
        padded_tokens=padded_row_tokens(e, row),
        micro_batch_tokens=largest_micro_batch_tokens(e),
        cut_rows=cut_rows(e),
        lost_tokens=0.0 if looked_at is None else _lost(looked_at, e.train.max_length),
        left_out=e.left_out,
        rows_an_epoch=e.rows_an_epoch,
        steps=e.steps,
        basis=_basis(e),
    )


def _basis(e: Experiment) -> str:
    if e.dataset.lengths is not None:
        return e.dataset.lengths.basis
    if e.rows_are_alike:
        return "settings"
    return "unknown" if e.dataset.mean_tokens is None else "guessed"


def _has_no_rows(e: Experiment) -> bool:
    """Whether what stands in the dataset is no row of its own: an image, or text read on and on."""
    return e.recipe.method in ("image_classification", "pretrain")


def kept(e: Experiment) -> Lengths | None:
    """The rows of the dataset as the model gets to see them: each cut to ``max_length``, and
    without those that have nothing to learn from then."""
    lengths = e.dataset.lengths
    if lengths is None or _has_no_rows(e):
        return None
    limit = e.train.max_length
    return lengths.learned(limit) if e.left_out else lengths.cut(limit)


def cut_rows(e: Experiment) -> float:
    """The share of the rows that is longer than ``max_length``."""
    lengths = e.dataset.lengths
    if lengths is None or _has_no_rows(e):
        return 0.0
    return lengths.longer_than(e.train.max_length) / lengths.rows


def _lost(lengths: Lengths, limit: int) -> float:
    return 1 - lengths.cut(limit).tokens / lengths.tokens


def mean_row_tokens(e: Experiment) -> float:
    """Tokens of a row on average, as far as known, after the cut at ``max_length``; of a pack or a
    block, what is in it."""
    longest = float(max(e.longest_row_tokens, 1))
    rows = kept(e)
    if e.recipe.method == "pretrain" and e.dataset.lengths is not None:
        return min(longest, float(e.dataset.lengths.tokens))  # of blocks only the last is not full
    if rows is not None:
        return rows.tokens / rows.packs(e.train.max_length) if e.train.packing else rows.mean
    if e.rows_are_alike:
        return longest
    mean = e.dataset.mean_tokens
    if mean is None or not mean > 0:
        return max(longest * UNKNOWN_LENGTH_SHARE, 1.0)
    return max(1.0, min(mean, longest))


def counted_per_row(e: Experiment) -> float:
    """Tokens that the trainer counts for a row: of a pair those of both answers."""
    both = e.recipe.method in ("dpo", "orpo", "kto")
    return mean_row_tokens(e) * (2 if both else 1)


def padded_row_tokens(e: Experiment, mean: float) -> float:
    """What a row costs that has ``mean`` tokens on average, padding included."""
    rows = kept(e)
    if rows is None:
        return _padded_by_rule(e, mean)
    known = mean_row_tokens(e)
    flat = _share_of_flat(e, rows)
    found = flat * _flat(e, known)
    if flat < 1:
        found += (1 - flat) * _padded(e, rows)
    if known == mean:
        return max(found, mean)
    return max(min(found * mean / known, float(max(e.longest_row_tokens, 1))), mean)


def _flat(e: Experiment, mean: float) -> float:
    """Its own tokens, and its share of what fills the micro batch up."""
    return mean + (ROUND_TOKENS - 1) / 2 / e.micro_batch_size


def _padded(e: Experiment, rows: Lengths) -> float:
    """Rows are sorted within a step, or within many steps, before they are cut into micro batches.
    Those of a pack are padded each for itself."""
    sequences = e.sequences_per_row
    if e.train.packing:
        in_pack = rows.rows / rows.packs(e.train.max_length)
        return in_pack * rows.largest_of(max(round(in_pack * e.micro_batch_size), 1))
    pool = max(e.train.global_batch_size, 1)
    if e.train.group_by_length:
        steps = min(max((e.dataset.num_samples or 0) // (4 * pool), 1), MEGA_BATCH_STEPS)
        pool *= steps
    return rows.padded(pool * sequences, e.micro_batch_size * sequences)


def _share_of_flat(e: Experiment, rows: Lengths) -> float:
    """The share of the micro batches whose rows lie one behind the other. Where attention is a
    window, a longer row would look further."""
    if not lies_flat(e):
        return 0.0
    window = _window(e.model.config or {})
    if window == math.inf:
        return 1.0
    return rows.none_longer(window, e.micro_batch_size * e.sequences_per_row)


def lies_flat(e: Experiment) -> bool:
    """Whether batches are without padding, as far as the model's family says."""
    if e.train.attn_implementation != FLAT_ATTENTION or not e.has_token_head:
        return False
    return e.model.family not in NOT_FLAT


def _window(config: dict[str, Any]) -> float:
    text = config.get("text_config")
    found = [config, text] if isinstance(text, dict) else [config]
    if any(one.get("use_sliding_window") is False for one in found):
        return math.inf
    names = ("sliding_window", "attention_chunk_size")
    widths = [one.get(name) for one in found for name in names]
    return min((w for w in widths if isinstance(w, int) and w > 0), default=math.inf)


def _padded_by_rule(e: Experiment, mean: float) -> float:
    """Of rows nobody has looked at: the expected largest of n draws is H(n) means for exponential
    lengths; rows spread by LENGTH_SPREAD of that."""
    harmonic = sum(1 / n for n in range(1, min(e.micro_batch_size, 1000) + 1))
    longest = mean * (1 + LENGTH_SPREAD * (harmonic - 1))
    return min(longest, float(max(e.longest_row_tokens, 1)))


def attended_tokens(e: Experiment, length: float) -> float:
    """How far attention looks, for rows that cost ``length``: the row that a token is in."""
    rows = kept(e)
    return length if rows is None or not lies_flat(e) else rows.attended


def largest_micro_batch_tokens(e: Experiment) -> int:
    """Of the largest micro batch that can come, padding included: all rows as long as the longest,
    or, flat and with every row counted, the longest rows there are."""
    rows = kept(e)
    sequences = e.micro_batch_size * e.sequences_per_row
    most = sequences * e.longest_row_tokens
    if rows is None or rows.basis != "counted" or e.train.packing or not lies_flat(e):
        return most
    if e.longest_row_tokens > _window(e.model.config or {}):
        return most
    return min(most, rows.sum_of_longest(sequences))
