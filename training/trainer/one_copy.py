"""A model that is going to be sharded is read by the first rank only: one copy in host memory.

The others make a hollow model: the same shapes in memory that nobody has written to, which takes no
room until somebody does. Once all have laid it out on their devices, the first sends each tensor to
where its parts belong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from training.trainer.distributed import Ranks
from training.trainer.spec import RunSpec


def is_wanted(spec: RunSpec) -> bool:
    """Weights in four bits are a quarter as large, and torch cannot send them: all ranks read
    those."""
    return spec.device.shards and not spec.four_bit


def hollow(path: str, auto_class: str, *, trust_remote_code: bool, **settings: Any) -> Any:
    """What ``from_pretrained(path)`` would return, with any weights. ``settings`` are arguments of
    from_pretrained. Raises what Transformers raises where it cannot read the configuration."""
    import transformers

    config, own = transformers.AutoConfig.from_pretrained(
        path,
        trust_remote_code=trust_remote_code,
        return_unused_kwargs=True,
        **{name: value for name, value in settings.items() if name not in ("dtype", "device_map")},
    )
    with torch.device("meta"):
        model = getattr(transformers, auto_class).from_config(
            config, dtype=settings["dtype"], trust_remote_code=trust_remote_code, **own
        )
    model.to_empty(device="cpu")
    model.tie_weights()
    if model.can_generate() and (Path(path) / "generation_config.json").is_file():
        model.generation_config = transformers.GenerationConfig.from_pretrained(path)
    return model


def share_rest(net: nn.Module, ranks: Ranks) -> None:
    """What no state holds: buffers that are computed and not learned (rotary frequencies, masks),
    and what a loss has found out by trying the weights."""
    for buffer in net.buffers():
        dist.broadcast(buffer, 0, group=ranks.words)
    for module in net.modules():
        if hasattr(module, "ways"):
            module.ways = ranks.all_of(module.ways)[0]


def share_weights(net: nn.Module, whole: dict[str, Any]) -> None:
    """Fill the sharded ``net`` of every rank; ``whole`` is the state of the first rank's model
    before it was sharded, and empty elsewhere."""
    set_model_state_dict(
        net, whole, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    )
