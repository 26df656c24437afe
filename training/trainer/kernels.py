"""Faster kernels that a run may ask for: TF32, Liger's, and those that torch.compile writes."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import nn

from training.trainer.failures import BadModel
from training.trainer.model import base_of
from training.trainer.spec import BadSpec, RunSpec


def allow_tf32(spec: RunSpec) -> None:
    """Float32 products on the tensor cores of an Ampere GPU or newer: several times as fast, with
    10 bits of mantissa. The CPU knows nothing of it."""
    torch.set_float32_matmul_precision("high" if spec.train.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = spec.train.tf32


def use_liger(model: nn.Module, device: torch.device) -> None:
    """Liger's norms, rotation and gated activation, in place, where it has them for this
    architecture. The loss stays ours, which is chunked too. Raises BadSpec, BadModel."""
    if device.type != "cuda":
        raise BadSpec("use_liger_kernel: its kernels need a GPU, and the run has none")
    if importlib.util.find_spec("liger_kernel") is None:
        raise BadModel(
            "use_liger_kernel needs liger-kernel, which is not there as yet.",
            advice="Install it beside Trainyard (pip install liger-kernel).",
        )
    from transformers.integrations.liger import apply_liger_kernel

    losses: dict[str, Any] = {"cross_entropy": False, "fused_linear_cross_entropy": False}
    apply_liger_kernel(base_of(model), losses)


def compile_layers(model: nn.Module) -> None:
    """Each of the repeated layers, in place, when it is first used: they are alike, so one of them
    is compiled for all, whatever the number of tokens. Attention stays outside."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.compile(dynamic=True)
