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
    only, nothing sees the padding. Each of the ``shapes`` (rows, length) is a group. All their
    places lie behind one another: ``gather`` (places,) is the token at each place, and ``scatter``
    (tokens,) the place of each token. ``is_own`` (places,) is False where a place is padding."""

    shapes: tuple[tuple[int, int], ...]
    gather: torch.Tensor
    scatter: torch.Tensor
    is_own: torch.Tensor

    @property
    def sizes(self) -> list[int]:
        return [rows * length for rows, length in self.shapes]


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
        gather.append(np.minimum(index, starts[-1] - 1).ravel())
        shapes.append((len(rows), longest))
        done += index.size
        first = last
    is_own = np.zeros(done, np.bool_)
    is_own[scatter] = True
    places = (np.concatenate(gather), scatter, is_own)
    return Groups(tuple(shapes), *(to_device(place, device) for place in places))


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
    taken = [
        _TakeApart.apply(states[0].transpose(0, 1), groups).split(groups.sizes)  # type: ignore[no-untyped-call]
        for states in (query, key, value)
    ]
    outputs = []
    for shape, *states in zip(groups.shapes, *taken, strict=True):
        q, k, v = (part.view(*shape, *part.shape[1:]).transpose(1, 2) for part in states)
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
    together: torch.Tensor = _PutTogether.apply(torch.cat(outputs), groups)  # type: ignore[no-untyped-call]
    return together[None]


# The gradients of both by reading, as forwards. Autograd would add up what comes to each token,
# padding too: slower, and on a GPU that is to repeat its sums exactly, very much so.


class _TakeApart(torch.autograd.Function):
    """(tokens, ...) to (places, ...). Nothing comes back from padding, which nobody sees."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, groups: Groups) -> torch.Tensor:
        ctx.groups = groups
        return states.index_select(0, groups.gather)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0].index_select(0, ctx.groups.scatter), None


class _PutTogether(torch.autograd.Function):
    """(places, ...) to (tokens, ...), without the padding."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, groups: Groups) -> torch.Tensor:
        ctx.groups = groups
        return states.index_select(0, groups.scatter)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        groups: Groups = ctx.groups
        at_places = grads[0].index_select(0, groups.gather)
        own = groups.is_own.view(-1, *[1] * (at_places.ndim - 1))
        return at_places.mul_(own), None


AttentionInterface.register("sdpa", attend)
