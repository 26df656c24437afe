"""Base models that were quantized before, and those that a run quantizes itself."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.trainer.failures import BadModel
from training.trainer.spec import QUANTIZATION_LIBRARIES, BadSpec, RunSpec


def check(path: str, spec: RunSpec) -> bool:
    """Whether the base model is quantized. Raises BadSpec where it cannot be trained like this,
    BadModel where what it needs is not installed."""
    config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    found = config.get("quantization_config")
    if not isinstance(found, dict):
        return False
    scheme = str(found.get("quant_method") or "bitsandbytes")
    if not spec.uses_adapter:
        raise BadSpec(
            f"method: the base model is quantized ({scheme}), and such weights are not trained "
            "themselves; train an adapter (lora, or use_peft)"
        )
    if spec.four_bit:
        raise BadSpec(
            f"method: the base model is quantized already ({scheme}); take lora instead of qlora, "
            "without load_in_4bit"
        )
    if spec.device.shards:
        raise BadSpec(
            f"strategy: {spec.device.strategy} cannot share out weights that are quantized already "
            f"({scheme}); take ddp"
        )
    needed = QUANTIZATION_LIBRARIES.get(scheme)
    if needed is None:
        known = ", ".join(QUANTIZATION_LIBRARIES)
        raise BadModel(
            f"The base model is quantized by {scheme}; adapters can be trained on {known}.",
            advice="Choose another variant of this model.",
        )
    lacking = [name for name in needed if importlib.util.find_spec(name) is None]
    if lacking:
        raise BadModel(
            f"A base model quantized by {scheme} needs {' and '.join(lacking)}, not there as yet.",
            advice=f"Install it beside Trainyard (pip install {' '.join(lacking)}).",
        )
    return True


def four_bit_config(compute: torch.dtype) -> Any:
    """How base models are held in four bits here."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def trainable_config(path: str, *, trust_remote_code: bool) -> Any:
    """The model's own, by which GPTQModel takes none of its kernels that have no gradient."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    if config.quantization_config.get("quant_method") in ("gptq", "awq"):
        config.quantization_config["backend"] = "auto_trainable"
    return config


def leave_unpacked(model: nn.Module) -> None:
    """When they are first used without a gradient, bitsandbytes (on processors with AVX512-BF16)
    and GPTQModel (on all) pack four-bit weights another way, and from then on no gradient passes
    through them, without a word."""
    module: Any
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    for module in packed_layers(model):
        if hasattr(module, "linear_mode"):
            module.linear_mode = "train"


def packed_layers(model: nn.Module) -> Iterator[Any]:
    """GPTQModel's, of GPTQ and AWQ models."""
    return (module for module in model.modules() if _is_packed(module))


def all_linear(model: Any, head_modules: list[str]) -> list[str]:
    """The names of all linear layers but the head's. What PEFT means by ``all-linear`` is those of
    torch, which leaves out GPTQModel's."""
    head = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if (_is_packed(module) or isinstance(module, nn.Linear))
        and module is not head
        and set(head_modules).isdisjoint(name.split("."))
    ]


def _is_packed(module: nn.Module) -> bool:
    return hasattr(module, "qweight") and hasattr(module, "in_features")
