"""The faster layers compute what PyTorch's and PEFT's own do, and leave to them what is special."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from training.trainer import adapted, linear


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(24, 40, bias=False)
        self.second = nn.Linear(40, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.second(torch.tanh(self.first(x)))
        return output


def with_adapter(**settings: Any) -> Any:
    """With an adapter that does something: PEFT's begins as nothing."""
    torch.manual_seed(1)
    config = {"target_modules": ["first", "second"], "r": 4, "lora_alpha": 12} | settings
    model = get_peft_model(Net(), LoraConfig(**config))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return model


def speed_up(model: nn.Module) -> None:
    adapted.speed_up(model)
    linear.speed_up(model)


def outcome(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The output and all gradients, with the random numbers of dropout always the same."""
    torch.manual_seed(2)
    x = x.clone().requires_grad_()
    model.zero_grad()
    output = model(x)
    output.square().sum().backward()
    assert x.grad is not None
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {"output": output.detach(), "input": x.grad, **gradients}


def assert_alike(model: nn.Module, shape: tuple[int, ...] = (2, 5, 24)) -> None:
    faster = copy.deepcopy(model)
    speed_up(faster)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    expected, found = outcome(model, x), outcome(faster, x)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = float(value.abs().max())
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("shape", [(24,), (7, 24), (2, 5, 24)])
def test_a_layer_gives_the_same_output_and_gradients(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = Net()
    assert_alike(net, shape)
    net.first.weight.requires_grad_(False)
    assert_alike(net, shape)


@pytest.mark.parametrize(
    "settings",
    [{}, {"lora_dropout": 0.3}, {"use_rslora": True}, {"use_dora": True}, {"lora_bias": True}],
    ids=lambda settings: " ".join(settings) or "plain",
)
def test_an_adapter_gives_the_same_output_and_gradients(settings: dict[str, Any]) -> None:
    if "lora_bias" in settings:
        settings |= {"target_modules": ["second"]}  # PEFT wants a bias beside it
    assert_alike(with_adapter(**settings))


def test_an_adapter_that_is_off_or_merged_is_left_to_peft() -> None:
    model = with_adapter()
    plain = copy.deepcopy(model)
    speed_up(model)
    x = torch.randn(3, 24)
    with model.disable_adapter(), plain.disable_adapter():
        torch.testing.assert_close(model(x), plain(x))
    expected = plain(x)
    model.merge_adapter()
    torch.testing.assert_close(model(x), expected)
    model.unmerge_adapter()
    torch.testing.assert_close(model.merge_and_unload()(x), expected)


def test_the_faster_layers_are_those_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the comparisons above would say nothing."""
    calls: list[int] = []
    product = linear.product

    def counted(input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return product(input, weight)

    for module in (linear, adapted):
        monkeypatch.setattr(module, "product", counted)
    for model, products in ((Net(), 5), (with_adapter(), 3)):
        speed_up(model)
        calls.clear()
        model(torch.randn(3, 24)).sum().backward()
        assert len(calls) == products  # two forward; back: inputs but the first, trained weights


def test_autocast_is_heeded() -> None:
    for model in (Net(), with_adapter()):
        expected = copy.deepcopy(model)
        speed_up(model)
        x = torch.randn(3, 24)
        with torch.autocast("cpu", torch.bfloat16):
            found, theirs = model(x), expected(x)
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, theirs)


def test_what_is_saved_stays_the_same() -> None:
    model = with_adapter()
    before = list(model.state_dict())
    speed_up(model)
    assert list(model.state_dict()) == before
    assert isinstance(model.base_model.model.first, adapted.Adapted)
