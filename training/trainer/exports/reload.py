"""The model from its exported files, in host memory: as it was trained, or as one plain model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.trainer import model
from training.trainer.objectives import Objective
from training.trainer.spec import DeviceSpec, RunSpec

HOST = torch.device("cpu")


def as_trained(spec: RunSpec, objective: Objective[Any, Any], folder: Path) -> nn.Module:
    """From ``folder`` alone or, where it holds an adapter, with the base model that it names."""
    return model.load_model(
        _on_host(spec, "sdpa"),
        HOST,
        folder,
        auto_class=objective.auto_class,
        task_type=objective.task_type,
        makes_head=objective.makes_head,
        **objective.model_settings(),
    ).eval()


def plain(
    spec: RunSpec, objective: Objective[Any, Any], folder: Path, *, attention: str = "sdpa"
) -> Any:
    """Without an adapter: merged into the base model, as far as that is one in four bits into the
    very weights that these stood for while it was trained."""
    spec = _on_host(spec, attention)
    if not spec.uses_adapter:
        return model.load_model(
            spec,
            HOST,
            folder,
            auto_class=objective.auto_class,
            makes_head=objective.makes_head,
            **objective.model_settings(),
        ).eval()
    from peft import PeftModel

    base = model.load_base(
        spec,
        HOST,
        auto_class=objective.auto_class,
        makes_head=objective.makes_head,
        **objective.model_settings(),
    )
    if spec.four_bit:
        base = base.dequantize()
    return PeftModel.from_pretrained(base, str(folder)).merge_and_unload().eval()


def _on_host(spec: RunSpec, attention: str) -> RunSpec:
    train = replace(spec.train, attn_implementation=attention, gradient_checkpointing=False)
    return replace(spec, train=train, device=DeviceSpec(num_threads=spec.device.num_threads))
