"""AdamW that holds its states in eight bits, as bitsandbytes has it (Dettmers et al. 2022)."""

from __future__ import annotations

from typing import Any

from bitsandbytes.optim import AdamW8bit
from torch import nn


class EightBitAdamW(AdamW8bit):
    """The states of embeddings stay in 32 bits, as Transformers has them: a rare token's gradient
    is far above those beside it. bitsandbytes would keep those of small tensors so by itself, and
    hear of embeddings by a list that holds every model of the process for good."""

    def get_config(self, gindex: int, pindex: int, group: dict[str, Any]) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config(gindex, pindex, group)
        return config | {"optim_bits": group["optim_bits"]}


def build(net: nn.Module, groups: list[dict[str, Any]], learning_rate: float) -> EightBitAdamW:
    """Over ``groups`` of the parameters of ``net``, of each what is an embedding apart."""
    embeddings = {id(m.weight) for m in net.modules() if isinstance(m, nn.Embedding)}
    apart = []
    for group in groups:
        for bits in (8, 32):
            of_these = [p for p in group["params"] if (id(p) in embeddings) == (bits == 32)]
            apart.append(group | {"params": of_these, "optim_bits": bits})
    return EightBitAdamW(apart, lr=learning_rate)
