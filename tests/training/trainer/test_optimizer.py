"""Schedules and weight decay are those of Transformers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.optimization import get_scheduler

from training.trainer.optimizer import build_optimizer, learning_rate
from training.trainer.spec import OPTIMIZERS, SCHEDULES, TrainSpec


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup_steps", [0, 5])
def test_the_learning_rate_is_that_of_transformers(schedule: str, warmup_steps: int) -> None:
    train = TrainSpec(lr_scheduler_type=schedule, warmup_steps=warmup_steps, learning_rate=0.5)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = get_scheduler(schedule, optimizer, warmup_steps, 20)
    for step in range(20):
        expected = pytest.approx(theirs.get_last_lr()[0])
        assert learning_rate(step, 20, train) == expected, step
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_biases_and_norms_do_not_decay(optim: str) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    optimizer = build_optimizer(net, TrainSpec(optim=optim, weight_decay=0.1))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decay[id(net[0].weight)] == 0.1
    assert [decay[id(p)] for p in (net[0].bias, net[1].weight, net[1].bias)] == [0.0] * 3


def test_frozen_weights_are_left_alone() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    net[0].requires_grad_(False)
    optimizer = build_optimizer(net, TrainSpec())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2


def test_eight_bits_hold_the_states_of_matrices_alone() -> None:
    """An embedding's stay in 32, as `transformers.Trainer` has it; a vector's always do."""
    net = nn.Sequential(nn.Embedding(100, 64), nn.Linear(64, 128))
    optimizer = build_optimizer(net, TrainSpec(optim="adamw_8bit"))
    net(torch.arange(8)).square().sum().backward()
    optimizer.step()
    kept = {name: optimizer.state[p]["state1"].dtype for name, p in net.named_parameters()}
    assert kept == {
        "0.weight": torch.float32,
        "1.weight": torch.uint8,
        "1.bias": torch.float32,
    }


def test_eight_bit_steps_are_those_of_bitsandbytes() -> None:
    from bitsandbytes.optim import AdamW8bit

    torch.manual_seed(0)
    ours, theirs = nn.Linear(64, 128), nn.Linear(64, 128)
    theirs.load_state_dict(ours.state_dict())
    train = TrainSpec(optim="adamw_8bit", learning_rate=1e-2, weight_decay=0.0)
    steppers = build_optimizer(ours, train), AdamW8bit(theirs.parameters(), 1e-2, weight_decay=0.0)
    for seed in range(5):
        rows = torch.randn(4, 64, generator=torch.Generator().manual_seed(seed))
        for net, stepper in zip((ours, theirs), steppers, strict=True):
            net(rows).square().sum().backward()
            stepper.step()
            stepper.zero_grad()
    assert torch.equal(ours.weight, theirs.weight)
