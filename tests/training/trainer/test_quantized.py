"""Adapters on base models that were quantized before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from tests.training.trainer import tiny
from tests.training.trainer.test_model import asks_by_an_old_name, make_spec, random_row
from training import preflight
from training.preflight.estimate import estimate as preflight_estimate
from training.trainer import model, quantized
from training.trainer.failures import BadModel
from training.trainer.objectives.language import LossHead, collate
from training.trainer.spec import BadSpec

CPU = torch.device("cpu")
QUERY_AND_VALUE = {"target_modules": ["q_proj", "v_proj"]}
GROUP = 32  # rows of a weight with one scale


def told_to_be(base_model: Path, folder: Path, scheme: str) -> Path:
    """The base model, as far as a look into its config goes, quantized by a scheme."""
    for file in base_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": scheme, "bits": 4, "group_size": 128}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("scheme", "settings", "error", "words"),
    [
        ("gptq", {"method": "lora"}, BadModel, "gptq needs .*gptqmodel"),
        ("awq", {"method": "lora"}, BadModel, "awq needs gptqmodel"),
        ("hqq", {"method": "lora"}, BadModel, "trained on bitsandbytes, gptq, awq"),
        ("gptq", {"method": "full"}, BadSpec, "such weights are not trained themselves"),
        ("gptq", {"method": "qlora"}, BadSpec, "take lora instead of qlora"),
        ("gptq", {"method": "dpo"}, BadSpec, "train an adapter"),
    ],
)
def test_a_quantized_base_model_that_cannot_be_trained_is_refused(
    scheme: str,
    settings: dict[str, Any],
    error: type[Exception],
    words: str,
    base_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever this runs, the libraries that read such weights are not there."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    spec = make_spec(told_to_be(base_model, tmp_path, scheme), **settings)
    with pytest.raises(error, match=words):
        model.load_model(spec, CPU, None)


def held_bytes(net: torch.nn.Module) -> int:
    """Of all weights, with what four-bit ones are unpacked by."""
    total = 0
    for weight in net.parameters():
        total += weight.numel() * weight.element_size()
        state = getattr(weight, "quant_state", None)
        if state is not None:
            parts = [state.absmax, state.state2.absmax] if state.nested else [state.absmax]
            total += sum(part.numel() * part.element_size() for part in parts)
    return total


def expected_bytes(folder: Path, method: str, **facts: Any) -> int:
    config = json.loads((folder / "config.json").read_text())
    experiment = preflight.Experiment(
        model=preflight.ModelFacts(name="m", config=config, **facts),
        dataset=preflight.DatasetFacts(name="d"),
        recipe=preflight.RecipeFacts(name="r", method=method),
        train=preflight.TrainSpec(dtype="bfloat16"),
        lora=preflight.LoraSpec(target_modules=("q_proj", "v_proj")),
    )
    found = preflight_estimate(experiment)
    assert found is not None
    return found.memory.weights_bytes


def small(family: str, folder: Path) -> Path:
    """Wide enough that what is padded does not count."""
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4}
    config = AutoConfig.for_model(family, vocab_size=300, pad_token_id=0, **sizes, **heads)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder)
    tiny.make_tokenizer().save_pretrained(folder)
    return folder


@asks_by_an_old_name
@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_preflight_knows_what_a_model_in_four_bits_takes(family: str, tmp_path: Path) -> None:
    """Experts among it, which stay as large as they were and larger."""
    folder = small(family, tmp_path)
    spec = make_spec(folder, method="qlora", lora=QUERY_AND_VALUE, train={"dtype": "bfloat16"})
    net = model.load_model(spec, CPU, None)
    assert held_bytes(net) == pytest.approx(expected_bytes(folder, "qlora"), rel=0.02)


@asks_by_an_old_name
def test_preflight_knows_what_a_model_takes_that_was_saved_in_four_bits(tmp_path: Path) -> None:
    from transformers import BitsAndBytesConfig

    folder = small("llama", tmp_path / "whole")
    way = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    )
    packed = AutoModelForCausalLM.from_pretrained(folder, quantization_config=way)
    packed.save_pretrained(tmp_path / "packed")
    tiny.make_tokenizer().save_pretrained(tmp_path / "packed")
    spec = make_spec(
        tmp_path / "packed", method="lora", lora=QUERY_AND_VALUE, train={"dtype": "bfloat16"}
    )
    net = model.load_model(spec, CPU, None)
    expected = expected_bytes(folder, "lora", quantized=True, quantization="bitsandbytes")
    assert held_bytes(net) == pytest.approx(expected, rel=0.02)


@asks_by_an_old_name
def test_an_adapter_trains_on_a_model_that_was_saved_in_four_bits(
    base_model: Path, tmp_path: Path
) -> None:
    from transformers import BitsAndBytesConfig

    packed = AutoModelForCausalLM.from_pretrained(
        base_model,
        quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    )
    packed.save_pretrained(tmp_path)
    net = model.load_model(make_spec(tmp_path, method="lora"), CPU, None)
    head = LossHead(net)
    row = random_row(20, seed=0)
    head(collate([row], 0, CPU)).loss.backward()
    gradients = [p.grad for p in net.parameters() if p.requires_grad]
    assert all(gradient is not None for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients if gradient is not None)


@asks_by_an_old_name
def test_qlora_holds_the_base_in_nf4_with_its_scales_quantized_too(base_model: Path) -> None:
    net: Any = model.load_model(make_spec(base_model, method="qlora"), CPU, None)
    packed = net.get_base_model().model.layers[0].mlp.up_proj.base_layer.weight
    assert (packed.dtype, packed.quant_type) == (torch.uint8, "nf4")
    assert packed.quant_state.nested


def test_layers_that_a_library_has_packed_are_linear_too() -> None:
    size = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    net = LlamaForCausalLM(LlamaConfig(hidden_size=8, intermediate_size=8, vocab_size=9, **size))
    packed = torch.nn.Module()
    packed.qweight, packed.in_features, packed.linear_mode = torch.zeros(1, 8), 8, None  # type: ignore[assignment]
    net.model.layers[0].mlp.up_proj = packed
    assert list(quantized.packed_layers(net)) == [packed]
    found = {name.rpartition(".")[2] for name in quantized.all_linear(net, [])}
    assert found == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert len(quantized.all_linear(net, ["mlp"])) == 4
    quantized.leave_unpacked(net)
    assert packed.linear_mode == "train"


@pytest.mark.parametrize(("scheme", "kernel"), [("awq", "auto_trainable"), ("hqq", None)])
def test_gptqmodel_is_to_take_a_kernel_that_has_a_gradient(
    scheme: str, kernel: str | None, base_model: Path, tmp_path: Path
) -> None:
    folder = str(told_to_be(base_model, tmp_path, scheme))
    config = quantized.trainable_config(folder, trust_remote_code=False)
    assert config.quantization_config.get("backend") == kernel


# --- GPTQModel itself -----------------------------------------------------------------------------


def in_int32(numbers: torch.Tensor, order: tuple[int, ...] = tuple(range(8))) -> torch.Tensor:
    """(n, 8 * m) numbers of four bits as (n, m)."""
    eights = numbers.to(torch.int64).view(len(numbers), -1, 8)[:, :, list(order)]
    packed = sum(eights[:, :, place] << 4 * place for place in range(8))
    assert isinstance(packed, torch.Tensor)
    return torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32)


def as_awq(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """``weight`` (out, in) to the nearest of 16 numbers between the ends of each group."""
    groups = weight.t().reshape(-1, GROUP, len(weight))
    low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    scales = (high - low) / 15
    zeros = (-low / scales).round().clamp(0, 15)
    codes = (groups / scales + zeros).round().clamp(0, 15).view(-1, len(weight))
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    return {
        "qweight": in_int32(codes, order),
        "qzeros": in_int32(zeros[:, 0], order),
        "scales": scales[:, 0].half(),
    }


def as_gptq(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same with 8 for zero, which the format writes as 7."""
    groups = weight.t().reshape(-1, GROUP, len(weight))
    scales = groups.abs().amax(1, keepdim=True) / 7
    codes = (groups / scales + 8).round().clamp(0, 15).view(-1, len(weight))
    return {
        "qweight": in_int32(codes.t().contiguous()).t(),
        "qzeros": in_int32(torch.full((len(groups), len(weight)), 7)),
        "scales": scales[:, 0].half(),
        "g_idx": (torch.arange(weight.shape[1]) // GROUP).to(torch.int32),
    }


FORMATS: dict[str, tuple[Callable[[torch.Tensor], dict[str, torch.Tensor]], dict[str, Any]]] = {
    "awq": (as_awq, {"version": "gemm", "zero_point": True, "modules_to_not_convert": ["lm_head"]}),
    "gptq": (as_gptq, {"desc_act": False, "sym": True, "checkpoint_format": "gptq"}),
}


def pack(base_model: Path, folder: Path, scheme: str) -> Path:
    """The base model, with its layers as the scheme writes them."""
    shutil.copytree(base_model, folder)
    write, settings = FORMATS[scheme]
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(base_model / "model.safetensors").items():
        layer = name.removesuffix(".weight")
        if not layer.endswith("_proj"):
            tensors[name] = tensor
            continue
        for part, data in write(tensor).items():
            tensors[f"{layer}.{part}"] = data.contiguous()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    found = {"quant_method": scheme, "bits": 4, "group_size": GROUP, **settings}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": found}))
    return folder


@pytest.mark.gptqmodel
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a folder it leaves
@asks_by_an_old_name
@pytest.mark.parametrize("scheme", FORMATS)
def test_an_adapter_trains_on_what_gptqmodel_reads(
    scheme: str, base_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("gptqmodel", reason="GPTQModel is not among the requirements")
    spec = make_spec(pack(base_model, tmp_path / scheme, scheme), method="lora")
    net = model.load_model(spec, CPU, None)
    plain = model.load_model(make_spec(base_model, method="lora"), CPU, None)
    assert model.count_parameters(net) == model.count_parameters(plain)
    row = random_row(20, seed=0)
    head, plain_head = LossHead(net), LossHead(plain)
    batch = collate([row], 0, CPU)
    loss, expected = head(batch).loss, plain_head(batch).loss
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)
    with torch.no_grad():  # as an evaluation in between
        net.eval()(input_ids=torch.ones(1, 4, dtype=torch.int64))
    net.train()
    head(batch).loss.backward()
    adapters = {name: p.grad for name, p in net.named_parameters() if p.requires_grad}
    assert len(adapters) == 28  # two for each of the seven layers of two blocks
    assert all(g is not None and g.abs().sum() > 0 for n, g in adapters.items() if "lora_B" in n)
