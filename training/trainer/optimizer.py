"""The optimizer, and the learning rate of every step."""

from __future__ import annotations

import math

import torch
from torch import nn

from training.trainer.spec import TrainSpec


def build_optimizer(net: nn.Module, train: TrainSpec) -> torch.optim.Optimizer:
    """Biases and norms, which are vectors, do not decay."""
    trained = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": train.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    if train.optim == "sgd":
        return torch.optim.SGD(groups, lr=train.learning_rate)
    if train.optim == "adamw_8bit":
        from training.trainer import adamw_8bit  # seconds, and few want it

        return adamw_8bit.build(net, groups, train.learning_rate)
    fused = True if train.optim == "adamw_torch_fused" else None
    return torch.optim.AdamW(groups, lr=train.learning_rate, fused=fused)


def learning_rate(step: int, max_steps: int, train: TrainSpec) -> float:
    """The rate of the step after ``step`` finished ones, by the schedules of Transformers."""
    schedule, warmup = train.lr_scheduler_type, train.warmup_steps
    if schedule == "constant":
        return train.learning_rate
    if step < warmup:
        return train.learning_rate * step / warmup
    if schedule == "constant_with_warmup":
        return train.learning_rate
    progress = (step - warmup) / max(1, max_steps - warmup)
    if schedule == "cosine":
        return train.learning_rate * max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
    return train.learning_rate * max(0.0, 1.0 - progress)
