"""Activations against autograd and PyTorch's own profiler: real modules, small, on the CPU."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import pytest

from tests.training.preflight.experiments import FULL, make_experiment
from training.preflight import Experiment, ModelFacts, Stack, TrainSpec, losses
from training.preflight.activations import (
    _eager_backward_bytes,
    _eager_bytes,
    _mlp_bytes,
    eager_evaluation_bytes,
    numerics_of,
    saved_bytes_per_token,
    working_bytes_per_token,
)
from training.preflight.losses import loss_bytes, loss_bytes_per_token
from training.preflight.shape import Shape, shape_of

pytestmark = pytest.mark.filterwarnings("ignore")  # optional accelerators that PEFT looks for

ROWS, LENGTH = 2, 64
TINY: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 256,
    "intermediate_size": 896,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def as_experiment(
    dtype: str, targets: Any, *, autocast: bool = False, checkpointing: bool = False
) -> Experiment:
    return make_experiment(
        recipe=FULL if targets is None else {"method": "lora"},
        train={"dtype": dtype, "gradient_checkpointing": checkpointing},
        lora={"r": 4, "target_modules": targets or ()},
        resources={"mixed_precision": "bf16" if autocast else "no"},
    )


def shape(model_type: str, **config: Any) -> Shape:
    facts = {"model_type": model_type, "num_hidden_layers": 2, **TINY, **config}
    found = shape_of(ModelFacts(name="tiny", config=facts))
    assert found is not None
    return found


def build(model_type: str, layers: int, dtype: str, targets: Any, extra: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {**TINY, **extra}
    config = AutoConfig.for_model(model_type, num_hidden_layers=layers, **settings)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    if targets:
        from peft import LoraConfig, get_peft_model

        get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
        model.enable_input_require_grads()
    return model.train()


def saved_per_layer_and_token(model_type: str, dtype: str, targets: Any, extra: Any) -> float:
    """What the second layer adds to what autograd keeps, weights not counted."""
    import torch

    def saved(layers: int) -> int:
        model = build(model_type, layers, dtype, targets, extra)
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        kept: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        ids = torch.randint(0, 64, (ROWS, LENGTH))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = model.base_model(ids, use_cache=False)
        del output
        return sum(
            tensor.untyped_storage().nbytes() for at, tensor in kept.items() if at not in weights
        )

    return (saved(2) - saved(1)) / (ROWS * LENGTH)


@pytest.mark.parametrize("targets", [None, ("q_proj", "v_proj"), "all-linear"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("family", "extra"), [("llama", {}), ("qwen3", {"head_dim": 32})])
def test_a_layer_keeps_what_autograd_keeps(
    family: str, extra: dict[str, Any], dtype: str, targets: Any
) -> None:
    experiment = as_experiment(dtype, targets)
    predicted = saved_bytes_per_token(experiment, shape(family, **extra), numerics_of(experiment))
    assert predicted == saved_per_layer_and_token(family, dtype, targets, extra)


def peak_per_token(
    layers: int, dtype: str, targets: Any, *, autocast: bool, extra: Any, with_loss: bool = False
) -> float:
    """The height of a checkpointed forward and backward pass as the allocator sees it: by how much
    it grows with every token, so that weights and their gradients drop out."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    def peak(length: int) -> int:
        model = build("llama", layers, dtype, targets, extra)
        model.gradient_checkpointing_enable({"use_reentrant": False})
        ids = torch.zeros(1, length, dtype=torch.long)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                if with_loss:
                    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
                else:
                    loss = model.base_model(input_ids=ids, use_cache=False)[0].sum()
            loss.backward()
        now = highest = 0
        for event in seen.profiler.kineto_results.events():
            if event.name() == "[memory]":
                now += event.nbytes()
                highest = max(highest, now)
        return highest

    return (peak(256) - peak(128)) / 128


@pytest.mark.parametrize("autocast", [False, True], ids=["as it is", "autocast"])
@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ATTENTION, "all-linear"])
def test_a_layer_computed_again_takes_what_the_profiler_sees(targets: Any, autocast: bool) -> None:
    layers = 4
    experiment = as_experiment("bfloat16", targets, autocast=autocast, checkpointing=True)
    numerics, llama = numerics_of(experiment), shape("llama")
    predicted = layers * 2 * 256
    predicted += saved_bytes_per_token(experiment, llama, numerics)
    predicted += working_bytes_per_token(experiment, llama, numerics)
    measured = peak_per_token(layers, "bfloat16", targets, autocast=autocast, extra={})
    assert predicted == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize(("dtype", "autocast"), [("bfloat16", False), ("float32", True)])
def test_the_loss_of_transformers_takes_what_the_profiler_sees(dtype: str, autocast: bool) -> None:
    layers, vocab = 2, 8192
    experiment = as_experiment(dtype, ("q_proj",), autocast=autocast, checkpointing=True)
    experiment = replace(experiment, stack=Stack(loss="transformers"))
    numerics, llama = numerics_of(experiment), shape("llama", vocab_size=vocab)
    predicted = layers * numerics.stream * 256 + loss_bytes_per_token(experiment, llama, numerics)
    measured = peak_per_token(
        layers,
        dtype,
        ("q_proj",),
        autocast=autocast,
        extra={"vocab_size": vocab},
        with_loss=True,
    )
    assert predicted == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_eager_attention_takes_what_the_profiler_sees(dtype: str) -> None:
    """Of scores alone, which are far more here than what else there is."""
    from types import SimpleNamespace

    import torch
    from torch.profiler import ProfilerActivity, profile
    from transformers.models.llama.modeling_llama import eager_attention_forward

    heads, length, width = 8, 512, 16
    kind = getattr(torch, dtype)

    def per_score(*, learns: bool) -> float:
        module = SimpleNamespace(num_key_value_groups=1, training=learns)
        three = [torch.zeros(1, heads, length, width, dtype=kind) for _ in range(3)]
        mask = torch.zeros(1, 1, length, length, dtype=kind)
        gc.collect()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            with torch.set_grad_enabled(learns):
                states = [one.requires_grad_(learns) for one in three]
                out = eager_attention_forward(module, *states, mask, scaling=0.1)[0]
            if learns:
                out.sum().backward()
        now = highest = 0
        for event in seen.profiler.kineto_results.events():
            if event.name() == "[memory]":
                now += event.nbytes()
                highest = max(highest, now)
        return highest / (heads * length * length)

    eager = replace(
        as_experiment(dtype, None),
        train=TrainSpec(dtype=dtype, attn_implementation="eager", max_length=length),
    )
    llama, compute = shape("llama"), numerics_of(eager).compute
    scores = llama.num_heads * length
    assert eager_evaluation_bytes(eager, llama, compute) / scores == pytest.approx(
        per_score(learns=False), rel=0.05
    )
    kept = _eager_bytes(eager, llama, compute) - 2 * compute * (llama.query_size - llama.kv_size)
    gradients = _eager_backward_bytes(eager, llama, compute) + _mlp_bytes(eager, llama, compute)
    assert (kept + gradients) / scores == pytest.approx(per_score(learns=True), rel=0.05)


def peak_of_our_loss(tokens: int, width: int, vocab: int, dtype: str, *, trained: bool) -> int:
    """Of the trainer's cross entropy, its inputs not counted."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from training.trainer.cross_entropy import cross_entropy

    kind = getattr(torch, dtype)
    head = torch.nn.Linear(width, vocab, bias=False, dtype=kind)
    head.weight.requires_grad_(trained)
    hidden = torch.zeros(tokens, width, dtype=kind, requires_grad=True)
    targets = torch.zeros(tokens, dtype=torch.long)
    gc.collect()  # what goes while it is looked at would count as given back
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        cross_entropy(hidden, head, targets, count_right=False)
    now = highest = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            highest = max(highest, now)
    return highest


# Of a trained head's single chunk oneDNN turns the logits over in a copy, which no GPU does.
@pytest.mark.parametrize(("trained", "tokens"), [(False, 200), (False, 1600), (True, 1600)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_our_loss_takes_what_the_profiler_sees(
    dtype: str, trained: bool, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.trainer import cross_entropy

    assert cross_entropy.CHUNK_LOGITS == losses.CHUNK_LOGITS
    assert cross_entropy.ROUND_ROWS == losses.ROUND_ROWS
    for module in (cross_entropy, losses):
        monkeypatch.setattr(module, "CHUNK_LOGITS", 2**20)  # 512 rows
    vocab, width = 2048, 256
    experiment = as_experiment(dtype, None if trained else ("q_proj",))
    numerics, llama = numerics_of(experiment), shape("llama", vocab_size=vocab)
    around = loss_bytes_per_token(experiment, llama, numerics) - 2 * width * numerics.stream
    predicted = loss_bytes(experiment, llama, numerics, tokens) - tokens * around
    predicted -= tokens * width * numerics.stream  # its input, which was there before
    measured = peak_of_our_loss(tokens, width, vocab, dtype, trained=trained)
    assert predicted == pytest.approx(measured, rel=0.05)
