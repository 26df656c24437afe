"""A graph for onnxruntime, with any number of rows of any length. Always in float32: not every
operator has kernels for half types on the CPU."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.trainer.exports.compare import Ask, Inputs

FILE = "model.onnx"
# A file of this format can hold 2 GB; beyond that the weights go to a file beside it.
ONE_FILE_BYTES = 1_500_000_000


class _Logits(nn.Module):
    """The model as a function from its inputs to its logits."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        cached = {"use_cache": False} if "input_ids" in self.names else {}
        named = dict(zip(self.names, inputs, strict=True))
        logits: torch.Tensor = self.model(**named, **cached).logits
        return logits


def write(model: Any, inputs: Inputs, folder: Path) -> None:
    """``model`` computes attention eagerly; ``inputs`` are an example of what it reads."""
    inputs = _with_mask(inputs)
    names = list(inputs)
    batch = torch.export.Dim.DYNAMIC
    shapes = tuple(
        {0: batch, 1: batch} if tensor.ndim == 2 else {0: batch} for tensor in inputs.values()
    )
    # Two rows: a size of one would be taken for a constant.
    example = tuple(tensor.repeat(2, *[1] * (tensor.ndim - 1)) for tensor in inputs.values())
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    # It tells which libraries it would know, too.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Logits(model, names).eval(),
            example,
            folder / FILE,
            input_names=names,
            output_names=["logits"],
            dynamo=True,
            dynamic_shapes=(shapes,),
            external_data=size > ONE_FILE_BYTES,
            verbose=False,
        )
    model.config.save_pretrained(str(folder))


def asking(folder: Path) -> Ask:
    """onnxruntime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(folder / FILE), options, providers=["CPUExecutionProvider"]
    )

    def ask(inputs: Inputs) -> torch.Tensor:
        feed = {name: tensor.numpy() for name, tensor in _with_mask(inputs).items()}
        logits = torch.from_numpy(session.run(["logits"], feed)[0])[0]
        return logits.reshape(-1, logits.shape[-1])

    return ask


def _with_mask(inputs: Inputs) -> Inputs:
    if "input_ids" not in inputs:
        return inputs
    return {"attention_mask": torch.ones_like(inputs["input_ids"]), **inputs}
