"""Tensors of model and optimizer on disk, by name, whoever holds which part of them.

Written by `torch.distributed.checkpoint`: every rank its own part, no rank all of it. What is read
goes straight to where it belongs, however many ranks there are then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

MODEL = "model."
OPTIMIZER = "optimizer."


def of_model(model: nn.Module) -> dict[str, torch.Tensor]:
    """Weights and buffers, tied ones once."""
    tensors: dict[int, tuple[str, torch.Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        tensors.setdefault(id(tensor), (MODEL + name, tensor.detach()))
    return dict(tensors.values())


def of_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The states of each parameter, named after it: ``optimizer.<parameter>/exp_avg``. bitsandbytes
    counts its steps by a plain number."""
    return {
        f"{OPTIMIZER}{name}/{key}": torch.as_tensor(value)
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def save(tensors: dict[str, torch.Tensor], folder: Path, *, together: bool) -> None:
    """``together``: all ranks write, each what it holds; else this one holds and writes all."""
    writer = FileSystemWriter(str(folder), sync_files=False)  # whole_folder syncs in the end
    state_dict_saver.save(dict(tensors), storage_writer=writer, no_dist=not together)


def load(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, *, together: bool
) -> None:
    """Put everything found in ``folder`` into the model and the optimizer."""
    reader = FileSystemReader(str(folder))
    found = reader.read_metadata().state_dict_metadata
    tensors = {name: value for name, value in of_model(model).items() if name in found}
    states: dict[int, dict[str, Any]] = {}
    for index, (name, parameter) in enumerate(_in_order(model, optimizer)):
        prefix = f"{OPTIMIZER}{name}/"
        for key in [key for key in found if key.startswith(prefix)]:
            tensors[key] = _room_for(found[key], parameter)
            states.setdefault(index, {})[key.removeprefix(prefix)] = tensors[key]
    state_dict_loader.load(tensors, storage_reader=reader, no_dist=not together)
    for state in states.values():
        state.update({key: value.item() for key, value in state.items() if _was_plain(value)})
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def _in_order(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[tuple[str, nn.Parameter]]:
    """The parameters as the optimizer counts them, with their names."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [(names[p], p) for group in optimizer.param_groups for p in group["params"]]


def _was_plain(value: torch.Tensor) -> bool:
    """torch counts its own steps in floats."""
    return value.ndim == 0 and value.dtype == torch.int64


def _room_for(stored: Any, parameter: nn.Parameter) -> torch.Tensor:
    """An empty tensor for a state: laid out as the parameter is, or a number of its own."""
    assert isinstance(stored, TensorStorageMetadata)
    dtype = stored.properties.dtype
    if stored.size == parameter.shape:
        return torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
    return torch.zeros(stored.size, dtype=dtype)
