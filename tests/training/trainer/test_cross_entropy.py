"""The loss by chunks is that of PyTorch, and so are its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.trainer import cross_entropy as module
from training.trainer import linear
from training.trainer.cross_entropy import cross_entropy

VOCABULARY = 50


def made(
    *, bias: bool = True, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, nn.Linear, torch.Tensor]:
    torch.manual_seed(0)
    head = nn.Linear(12, VOCABULARY, bias=bias).to(dtype)
    hidden = torch.randn(43, 12).to(dtype).requires_grad_()
    return hidden, head, torch.randint(0, VOCABULARY, (43,))


def gradients(loss: torch.Tensor, hidden: torch.Tensor, head: nn.Linear) -> list[torch.Tensor]:
    wanted = [t for t in (hidden, *head.parameters()) if t.requires_grad]
    return list(torch.autograd.grad(loss / 7, wanted))


@pytest.mark.parametrize("chunk_rows", [16, 1000])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("trained", [True, False])
def test_loss_and_gradients_are_those_of_pytorch(
    monkeypatch: pytest.MonkeyPatch, chunk_rows: int, bias: bool, trained: bool
) -> None:
    monkeypatch.setattr(module, "CHUNK_LOGITS", chunk_rows * VOCABULARY)
    hidden, head, targets = made(bias=bias)
    head.requires_grad_(trained)
    logits = head(hidden)
    expected = nn.functional.cross_entropy(logits, targets, reduction="sum")
    loss, right = cross_entropy(hidden, head, targets, count_right=True)
    torch.testing.assert_close(loss, expected)
    assert right == (logits.argmax(-1) == targets).sum()
    theirs = gradients(expected, hidden, head)
    for found, wanted in zip(gradients(loss, hidden, head), theirs, strict=True):
        torch.testing.assert_close(found, wanted)


def test_the_logits_are_never_there_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_LOGITS", 16 * VOCABULARY)
    sizes = []

    def seen(input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        output = linear.product(input, weight)
        sizes.append(tuple(output.shape))
        return output

    monkeypatch.setattr(module, "product", seen)
    hidden, head, targets = made()
    with torch.no_grad():
        cross_entropy(hidden, head, targets, count_right=False)
    assert sizes == [(16, VOCABULARY)] * 3  # and no gradients where none are wanted


def test_autocast_and_16_bits_come_close() -> None:
    hidden, head, targets = made()
    expected = nn.functional.cross_entropy(head(hidden), targets, reduction="sum")
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = cross_entropy(hidden, head, targets, count_right=False)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-2, atol=0)
    for found in gradients(loss, hidden, head):
        assert found.dtype == torch.float32
    hidden, head, targets = made(dtype=torch.bfloat16)
    loss, _ = cross_entropy(hidden, head, targets, count_right=False)
    torch.testing.assert_close(loss, expected, rtol=1e-2, atol=0)
    assert gradients(loss, hidden, head)[0].dtype == torch.bfloat16


def test_gradients_in_16_bits_do_not_lose_what_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many chunks, each of which adds little."""
    monkeypatch.setattr(module, "CHUNK_LOGITS", 16 * VOCABULARY)
    torch.manual_seed(0)
    head = nn.Linear(12, VOCABULARY, bias=False).to(torch.bfloat16)
    hidden = torch.ones(16 * 600, 12, dtype=torch.bfloat16)
    targets = torch.zeros(len(hidden), dtype=torch.int64)
    loss, _ = cross_entropy(hidden, head, targets, count_right=False)
    (found,) = torch.autograd.grad(loss, [head.weight])
    exact = head.weight.detach().double().requires_grad_()
    logits = hidden.double() @ exact.T
    expected = torch.autograd.grad(
        nn.functional.cross_entropy(logits, targets, reduction="sum"), [exact]
    )[0]
    assert (found.double() - expected).abs().max() < 0.02 * expected.abs().max()
