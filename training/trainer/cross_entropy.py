"""The loss behind the widest layer, without its logits ever being there all at once.

The gradient is worked out on the way forward, as Liger does (Hsu et al. 2024): what the logits of
a chunk are needed for is done before the next chunk, so that nothing is kept and nothing is
computed twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from training.trainer.linear import product

CHUNK_LOGITS = 2**24  # 64 MB in float32
ROUND_ROWS = 16  # oneDNN prepares itself anew for every number of rows; so they are few


def cross_entropy(
    hidden: torch.Tensor, head: nn.Linear, targets: torch.Tensor, *, count_right: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """``hidden`` (n, width), ``targets`` (n,): the sum of the losses in float32, and how many
    targets are the likeliest token (0 unless ``count_right``). Autocast is heeded."""
    weight: torch.Tensor = head.weight
    bias: torch.Tensor | None = head.bias
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    if not torch.is_grad_enabled():
        hidden, weight = hidden.detach(), weight.detach()
        bias = None if bias is None else bias.detach()
    with torch.autocast(device, enabled=False):
        return _CrossEntropy.apply(  # type: ignore[no-untyped-call, no-any-return]
            hidden, weight, bias, targets, count_right
        )


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        count_right: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        needs_hidden, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        hidden_grad = torch.empty_like(hidden) if needs_hidden else None
        weight_grad = bias_grad = None
        loss = torch.zeros((), device=hidden.device)
        right = torch.zeros((), dtype=torch.int64, device=hidden.device)
        size = max(CHUNK_LOGITS // len(weight) // ROUND_ROWS, 1) * ROUND_ROWS
        for start in range(0, len(hidden), size):
            rows, aims = hidden[start : start + size], targets[start : start + size]
            count = len(rows)
            rows = nn.functional.pad(rows, (0, 0, 0, -count % ROUND_ROWS))
            logits = product(rows, weight)
            if bias is not None:
                logits += bias
            logits = logits.float()
            log_sums = logits[:count].logsumexp(-1, keepdim=True)
            loss += (log_sums - logits[:count].gather(1, aims[:, None])).sum()
            if count_right:
                right += (logits[:count].argmax(-1) == aims).sum()
            if not (needs_hidden or needs_weight or needs_bias):
                continue
            grad = logits  # from here on: the probabilities, less one at the target
            grad[:count].sub_(log_sums).exp_()
            grad[:count].scatter_add_(1, aims[:, None], grad.new_full((count, 1), -1.0))
            grad[count:] = 0
            if needs_bias:
                bias_grad = _plus(bias_grad, grad.sum(0))
            grad = grad.to(hidden.dtype)
            if hidden_grad is not None:
                hidden_grad[start : start + size] = product(grad, weight.t())[:count]
            if needs_weight:
                weight_grad = _plus(weight_grad, product(grad.t(), rows.t()))
        ctx.mark_non_differentiable(right)
        if weight_grad is not None:
            weight_grad = weight_grad.to(weight.dtype)
        ctx.save_for_backward(hidden_grad, weight_grad, bias_grad)
        return loss, right

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        scale, _ = grads
        scaled = [None if grad is None else grad.mul_(scale) for grad in ctx.saved_tensors]
        return (*scaled, None, None)


def _plus(total: torch.Tensor | None, part: torch.Tensor) -> torch.Tensor:
    """Several parts in float32: in 16 bits what comes late would be too small to count."""
    return part if total is None else total.float().add_(part)
