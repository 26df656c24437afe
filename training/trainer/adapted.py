"""LoRA layers, computed faster: the same numbers but for the last digits.

An adapter adds its part in place and in few operations; PEFT's own forward makes three tensors as
wide as the layer on the way. Apart from `linear` because PEFT takes two seconds to import, which a
run without adapters does not have to wait for.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners import lora
from torch import nn

from training.trainer.linear import is_plain, product


def speed_up(model: nn.Module) -> None:
    """Change the classes of the layers, in place. Names, weights and what is saved stay."""
    for module in model.modules():
        if type(module) is lora.Linear:
            module.__class__ = Adapted


class Adapted(lora.Linear):
    """A LoRA layer. Whatever is special about it is left to PEFT."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        name, base = self._only_adapter(), self.base_layer
        if args or kwargs or name is None or not isinstance(base, nn.Linear):
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        a, b, dropout = self.lora_A[name].weight, self.lora_B[name].weight, self.lora_dropout[name]
        if base.weight.requires_grad or not (is_plain(x, a) and is_plain(x, base.weight)):
            return super().forward(x)  # type: ignore[no-any-return]
        dropped = None if isinstance(dropout, nn.Identity) else dropout(x)
        return _AdaptedProduct.apply(  # type: ignore[no-any-return,no-untyped-call]
            x, dropped, base.weight, base.bias, a, b, self.scaling[name]
        )

    def _only_adapter(self) -> str | None:
        """The name of the adapter where there is one alone, plain, and at work."""
        active = self.active_adapters
        if self.disable_adapters or self.merged or len(active) != 1:
            return None
        (name,) = active
        special = name not in self.lora_A or name in self.lora_variant or self.lora_bias[name]
        return None if special else name


class _AdaptedProduct(torch.autograd.Function):
    """``input @ weight.T + bias``, both frozen, ``+ scaling * dropped @ a.T @ b.T``, where
    ``dropped`` is what dropout has left of the input (None: all of it)."""

    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        dropped: torch.Tensor | None,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        adapter_input = (input if dropped is None else dropped).reshape(-1, input.shape[-1])
        low = nn.functional.linear(adapter_input, a)
        ctx.save_for_backward(adapter_input, weight, a, b, low)
        ctx.scaling = scaling
        output = product(input, weight)
        if bias is not None:
            output += bias
        output.view(-1, output.shape[-1]).addmm_(low, b.t(), alpha=scaling)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads
        adapter_input, weight, a, b, low = ctx.saved_tensors
        needs_input, needs_dropped, *_ = ctx.needs_input_grad
        flat = grad.reshape(-1, grad.shape[-1])
        low_grad = torch.mm(flat, b).mul_(ctx.scaling)
        input_grad = dropped_grad = None
        if needs_input:
            input_grad = product(flat, weight.t())
        if needs_dropped:
            dropped_grad = torch.mm(low_grad, a).view(*grad.shape[:-1], -1)
        elif input_grad is not None:
            input_grad.addmm_(low_grad, a)
        return (
            None if input_grad is None else input_grad.view(*grad.shape[:-1], -1),
            dropped_grad,
            None,
            None,
            torch.mm(low_grad.t(), adapter_input),
            torch.mm(flat.t(), low).mul_(ctx.scaling),
            None,
        )
