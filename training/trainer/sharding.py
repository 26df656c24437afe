"""How the model lies on the ranks, and how their gradients come together.

| strategy      | between steps, a rank holds          | while it computes, it also holds        |
| ------------- | ------------------------------------ | --------------------------------------- |
| ddp           | everything                           | its own gradients, summed once a step   |
| zero1         | its share of weights and optimizer   | all weights, all gradients until summed |
| zero2         | the same                             | all weights, its share of the gradients |
| zero3 or fsdp | the same                             | the weights of a layer or two at a time |

`ddp` is DistributedDataParallel. The others are the stages of ZeRO (Rajbhandari et al. 2020) by one
mechanism, FSDP2's `fully_shard`: it differs only when weights are gathered and given up, and when
gradients are summed. `fsdp` and `zero3` are two names of one thing.

Gradients are summed, not averaged: the loss is divided by the weight of the whole global batch.
"""

# No `from __future__ import annotations`: DistributedDataParallel reads those of its hook.
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch._C._distributed_c10d import GradBucket
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from training.trainer import one_copy
from training.trainer.distributed import Ranks
from training.trainer.spec import RunSpec


@dataclass(frozen=True)
class Placement:
    """``learner`` makes of a batch what the head makes of it, and its backward pass brings the
    gradients of all ranks together."""

    learner: nn.Module
    strategy: str

    @contextlib.contextmanager
    def micro_batch(self, *, is_last: bool) -> Iterator[None]:
        """Around forward and backward of one micro batch; the last one completes the gradients."""
        learner = self.learner
        if isinstance(learner, FSDPModule):
            learner.set_is_last_backward(is_last)
            learner.set_requires_gradient_sync(is_last or self.strategy != "zero1")
            learner.set_reshard_after_backward(is_last or self.strategy not in ("zero1", "zero2"))
            yield
        elif isinstance(learner, DistributedDataParallel) and not is_last:
            with learner.no_sync():
                yield
        else:
            yield


def place(head: nn.Module, spec: RunSpec, device: torch.device, ranks: Ranks) -> Placement:
    """Lay the head, and the model in it, on the ranks. Before this every rank has all of it, or
    where it is sharded its shape at least (`one_copy`)."""
    strategy = spec.device.strategy
    if spec.device.ranks == 1:
        return Placement(head, strategy)
    if strategy == "ddp":
        return Placement(_replicate(head), strategy)
    if not one_copy.is_wanted(spec):
        _shard(head, spec, device)
        return Placement(head, strategy)
    one_copy.share_rest(head, ranks)
    whole = {name: tensor.detach() for name, tensor in head.state_dict().items()}
    _shard(head, spec, device)
    one_copy.share_weights(head, whole if ranks.is_first else {})
    return Placement(head, strategy)


def _replicate(head: nn.Module) -> nn.Module:
    # Some models have weights that some batches, or this objective, never use; looking for them
    # takes milliseconds a step, and not to look fails at the second step.
    replica = DistributedDataParallel(
        head, find_unused_parameters=True, gradient_as_bucket_view=True, broadcast_buffers=False
    )
    replica.register_comm_hook(None, _sum_bucket)
    return replica


def _sum_bucket(_state: None, bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    summed: torch.futures.Future[list[torch.Tensor]] = work.get_future()
    return summed.then(lambda future: future.value()[0])


def _shard(head: nn.Module, spec: RunSpec, device: torch.device) -> None:
    """Each repeated layer is a unit, gathered and given up as one; the head holds the rest."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    mesh = init_device_mesh(device.type, (spec.device.ranks,))
    keep = spec.device.strategy in ("zero1", "zero2")
    for layer in [m for m in head.modules() if isinstance(m, GradientCheckpointingLayer)]:
        fully_shard(
            layer, mesh=mesh, reshard_after_forward=not keep, mp_policy=_layer_precision(spec)
        )
    fully_shard(head, mesh=mesh, reshard_after_forward=False)
    for unit in units(head):
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)


def _layer_precision(spec: RunSpec) -> MixedPrecisionPolicy:
    """What autocast would cast anyway travels in 16 bits: half the traffic, the same numbers. The
    hidden states stay as autocast has them."""
    if spec.device.mixed_precision == "bf16" and spec.train.dtype == "float32":
        return MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
    return MixedPrecisionPolicy()


def units(net: nn.Module) -> list[FSDPModule]:
    """The parts that are gathered as one; none where nothing is sharded."""
    return [module for module in net.modules() if isinstance(module, FSDPModule)]


@contextlib.contextmanager
def gathered(head: nn.Module) -> Iterator[None]:
    """Inside, the model can be called past the head (to generate, say), by all ranks alike."""
    if isinstance(head, FSDPModule):
        # What runs first becomes the root, and a layer must not.
        head._get_fsdp_state()._lazy_init()
        head.unshard()
    try:
        yield
    finally:
        for unit in units(head):
            unit.reshard()  # what is gathered next has what was loaded or learned since


def is_sharded(net: nn.Module) -> bool:
    return any(isinstance(parameter, DTensor) for parameter in net.parameters())


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> torch.Tensor:
    """`nn.utils.clip_grad_norm_` by the norm over all ranks, which it returns."""
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    nn.utils.clip_grads_with_norm_(trained, max_norm, norm)
    return norm


def whole_weights(net: nn.Module, *, trained_only: bool) -> dict[str, Any]:
    """The weights by name, whole and in host memory, on the first rank; the others help and get
    nothing."""
    first = dist.get_rank() == 0
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    whole: dict[int, torch.Tensor] = {}  # tied weights stay tied
    weights = {}
    for name, value in net.state_dict(keep_vars=True).items():
        if not isinstance(value, torch.Tensor) or (trained_only and name not in trained):
            continue
        if id(value) not in whole:
            tensor = value.detach()
            tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            whole[id(value)] = tensor.cpu() if first else torch.empty(0)
        weights[name] = whole[id(value)]
    return weights if first else {}
