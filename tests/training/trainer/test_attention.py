"""Attention over rows behind one another: what each row alone would give, and its gradients."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.trainer.attention import Layout, attend

HEADS, KEY_HEADS, WIDTH = 4, 2, 8


def states_of(tokens: int) -> list[torch.Tensor]:
    """Query, key and value."""
    torch.manual_seed(tokens)
    return [
        torch.randn(1, heads, tokens, WIDTH, dtype=torch.float64, requires_grad=True)
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    ]


def of_each_row(states: list[torch.Tensor], lengths: list[int]) -> torch.Tensor:
    parts = [state.split(lengths, dim=2) for state in states]
    rows = [
        torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(rows, dim=2).transpose(1, 2)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(0, 5))
def test_every_row_is_attended_to_as_if_alone(lengths: list[int], filler: int) -> None:
    tokens = sum(lengths)
    layout = Layout.of(lengths, filler, torch.device("cpu"))
    states = states_of(tokens + filler)
    query, key, value = states
    out, _ = attend(torch.nn.Module(), query, key, value, None, row_layout=layout)
    expected = of_each_row(states, [*lengths[:-1], lengths[-1] + filler])
    torch.testing.assert_close(out, expected)

    weight = torch.randn_like(out)
    weight[:, tokens:] = 0  # the filler carries no loss
    ours = torch.autograd.grad((out * weight).sum(), states, retain_graph=True)
    theirs = torch.autograd.grad((expected * weight).sum(), states)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)
