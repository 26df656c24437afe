"""Rows behind one another, without padding, and attention that keeps them apart.

Nearly all of a model treats every token on its own. So the rows of a batch are laid one behind the
other, (1, tokens), and only attention, which looks from token to token, takes them apart again.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from training.trainer.data.loader import to_device

# Rows attend together where the shortest has this share of the longest: fewer and larger
# operations, for at most so much padding in attention alone.
LEAST_SHARE = 0.75


@dataclass(frozen=True)
class Groups:
    """Rows of about the same length, padded on the right: as causal attention looks to the left
    only, nothing sees the padding. ``gather`` holds for each group an index (rows * length,) into
    the tokens, ``scatter`` (tokens,) where to find each token in what all groups give together."""

    shapes: tuple[tuple[int, int], ...]
    gather: tuple[torch.Tensor, ...]
    scatter: torch.Tensor


@dataclass(frozen=True)
class Layout:
    """Rows of ``lengths`` (in tokens) behind one another, and perhaps a filler behind them that is
    not part of any."""

    lengths: tuple[int, ...]
    groups: Groups
    device: torch.device

    @classmethod
    def of(cls, lengths: Sequence[int], filler: int, device: torch.device) -> Layout:
        """The filler counts as the end of the last row, which does not see it."""
        filled = [*lengths[:-1], lengths[-1] + filler]
        groups = _grouped(filled, device, least_share=LEAST_SHARE)
        return cls(tuple(lengths), groups, device)

    @property
    def longest(self) -> int:
        return max(self.lengths)

    @functools.cached_property
    def padded(self) -> Groups:
        """All rows in one group, without the filler."""
        return _grouped(self.lengths, self.device, least_share=0.0)


def _grouped(lengths: Sequence[int], device: torch.device, *, least_share: float) -> Groups:
    starts = np.cumsum([0, *lengths])
    by_length = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    scatter = np.empty(starts[-1], np.int64)
    shapes: list[tuple[int, int]] = []
    gather = []
    done = first = 0
    while first < len(by_length):
        longest = lengths[by_length[first]]
        last = first
        while last < len(by_length) and lengths[by_length[last]] >= least_share * longest:
            last += 1
        rows = by_length[first:last]
        index = starts[rows][:, None] + np.arange(longest)
        for number, row in enumerate(rows):
            place = done + number * longest
            scatter[starts[row] : starts[row] + lengths[row]] = place + np.arange(lengths[row])
        gather.append(to_device(np.minimum(index, starts[-1] - 1).ravel(), device))
        shapes.append((len(rows), longest))
        done += index.size
        first = last
    return Groups(tuple(shapes), tuple(gather), to_device(scatter, device))


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    row_layout: Layout | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """What Transformers calls for ``sdpa``: its own function, but where the model was given a
    ``row_layout``. Then the mask plays no part. ``query`` (1, heads, tokens, width of a head)."""
    if row_layout is None:
        output: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return output
    return _attend_in_groups(query, key, value, row_layout.groups, dropout, scaling), None


@torch.compiler.disable  # the groups of every batch have other sizes
def _attend_in_groups(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    groups: Groups,
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    """Of shape (1, tokens, heads, width of a head)."""
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    outputs = []
    for (rows, length), index in zip(groups.shapes, groups.gather, strict=True):
        q, k, v = (
            states.index_select(0, index).view(rows, length, *states.shape[1:]).transpose(1, 2)
            for states in (query, key, value)
        )
        attended = torch.nn.functional.scaled_dot_product_attention(
            q,
            k,
            v,
            dropout_p=dropout,
            is_causal=True,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        outputs.append(attended.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs).index_select(0, groups.scatter)[None]


AttentionInterface.register("sdpa", attend)
