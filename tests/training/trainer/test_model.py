"""The loss is that of Transformers for every architecture, on whatever path it is computed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from training.trainer import model
from training.trainer.data.tokens import Row
from training.trainer.failures import BadModel
from training.trainer.objectives.language import LossHead, check_tokens, collate
from training.trainer.spec import BadSpec, RunSpec

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Whether the head may be computed on its own: not where logits are scaled or capped behind it.
# Up to which length rows may lie behind one another: not at all where Transformers has no sdpa for
# it, or where other things than attention look from token to token.
ARCHITECTURES = {
    "llama": (True, math.inf),
    "qwen3": (True, math.inf),
    "mistral": (True, 16),
    "opt": (True, math.inf),
    "gpt2": (True, math.inf),
    "bloom": (True, 0),
    "mamba": (True, 0),
    "gemma2": (False, 0),
    "cohere": (False, math.inf),
    "granite": (False, math.inf),
}


@pytest.mark.parametrize(("architecture", "allowed"), ARCHITECTURES.items())
@pytest.mark.parametrize("lengths", [(3, 9, 6), (20, 2, 11)])
def test_the_loss_is_that_of_transformers(
    architecture: str, allowed: tuple[bool, float], lengths: tuple[int, ...]
) -> None:
    special: dict[str, Any] = {
        "opt": {"word_embed_proj_dim": 32, "ffn_dim": 48},
        "granite": {"logits_scaling": 3.0},
        "mistral": {"sliding_window": 16},
    }
    config = AutoConfig.for_model(architecture, **SMALL | special.get(architecture, {}))
    torch.manual_seed(0)
    net = AutoModelForCausalLM.from_config(config).eval()
    head = LossHead(net)
    assert (head.ways.sparse, head.ways.longest_flat) == allowed

    rows = [random_row(length, seed=length) for length in lengths]
    batch = collate(rows, 0, torch.device("cpu"))
    loss, logits = head(batch).loss, head.logits(batch)
    assert logits.shape == (len(batch.targets), SMALL["vocab_size"])
    theirs = net(**padded(rows), num_items_in_batch=1).loss
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-5)


def padded(rows: list[Row]) -> dict[str, torch.Tensor]:
    """The batch as it is usually made."""
    shape = len(rows), max(row.length for row in rows)
    ids, mask = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    labels = torch.full(shape, -100)
    for index, row in enumerate(rows):
        ids[index, : row.length] = torch.from_numpy(row.ids.astype(np.int64))
        mask[index, : row.length] = 1
        learned = np.flatnonzero(row.loss)
        labels[index, learned] = torch.from_numpy(row.ids[learned]).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def random_row(length: int, *, seed: int) -> Row:
    random = np.random.default_rng(seed)
    loss = random.random(length) < 0.5
    loss[0], loss[-1] = False, True
    return Row(random.integers(3, 97, length).astype(np.int32), loss)


def make_spec(path: Path, **changes: Any) -> RunSpec:
    return RunSpec.from_dict(
        {
            "run_id": "1",
            "name": "a run",
            "method": "full",
            "base_model": {"path": str(path)},
            "dataset": {"train": ["train.jsonl"]},
            "export_dir": str(path),
            **changes,
        }
    )


def test_a_gpu_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadSpec, match="PyTorch sees none"):
        model.pick_device(make_spec(tmp_path, device={"gpus": 1}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BadSpec, match="asks for 2, but PyTorch sees 1"):
        model.pick_device(make_spec(tmp_path, device={"gpus": 2}))


def test_a_tokenizer_larger_than_the_model_is_refused(base_model: Path, tokenizer: Any) -> None:
    net = model.load_model(make_spec(base_model), torch.device("cpu"), None)
    row = Row(np.array([1, 5000], np.int32), np.array([False, True]))
    with pytest.raises(BadModel, match="token 5000"):
        check_tokens(net, [row])


def test_a_row_longer_than_the_model_reads_is_refused(base_model: Path, tokenizer: Any) -> None:
    net = model.load_model(make_spec(base_model), torch.device("cpu"), None)
    with pytest.raises(BadSpec, match="200 tokens, but the base model reads 128"):
        check_tokens(net, [random_row(200, seed=0)])


def test_an_unknown_target_module_is_named(base_model: Path) -> None:
    spec = make_spec(base_model, method="lora", lora={"target_modules": ["nothing_like_it"]})
    with pytest.raises(BadSpec, match="nothing_like_it"):
        model.load_model(spec, torch.device("cpu"), None)


def test_weights_that_lack_a_tensor_are_refused(base_model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in base_model.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(base_model / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadModel, match=r"lack 1 tensors .*layers\.1\.mlp\.up_proj"):
        model.load_model(make_spec(tmp_path), torch.device("cpu"), None)


# PEFT still asks Transformers by an old name.
asks_by_an_old_name = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")


@asks_by_an_old_name
@pytest.mark.parametrize(
    ("setting", "scaling", "magnitudes"),
    [({}, 2.0, 0), ({"use_rslora": True}, 16 / 8**0.5, 0), ({"use_dora": True}, 2.0, 14)],
)
def test_variants_of_lora_are_those_of_peft(
    setting: dict[str, bool], scaling: float, magnitudes: int, base_model: Path
) -> None:
    lora = {"r": 8, "lora_alpha": 16, **setting}
    net = model.load_model(make_spec(base_model, method="lora", lora=lora), CPU, None)
    adapted: list[Any] = [module for module in net.modules() if hasattr(module, "lora_A")]
    assert [module.scaling["default"] for module in adapted] == pytest.approx([scaling] * 14)
    names = [name for name, p in net.named_parameters() if p.requires_grad]
    assert len([name for name in names if "magnitude" in name]) == magnitudes


@asks_by_an_old_name
def test_an_encoder_gets_a_head_and_a_pooler_of_its_own(tmp_path: Path) -> None:
    """One that was made to fill in masked words has neither."""
    config = AutoConfig.for_model(
        "bert",
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
    spec = make_spec(tmp_path, method="text_classification", train={"use_peft": True})
    net = model.load_model(
        spec,
        CPU,
        None,
        auto_class="AutoModelForSequenceClassification",
        task_type="SEQ_CLS",
        makes_head=True,
        num_labels=3,
    )
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    assert any("classifier.modules_to_save" in name for name in trained)
    assert any("pooler.modules_to_save" in name for name in trained)
    assert model.base_of(net).config.num_labels == 3
