"""Adapters as PEFT writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from registry import inspect
from registry.inspect import BadModel
from tests.registry.files import write_json

LORA = {
    "peft_type": "LORA",
    "base_model_name_or_path": "meta-llama/Llama-2-7b-hf",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj", "v_proj"],
}


def write_adapter(folder: Path, *, rank: int = 4, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "adapter_config.json", {**LORA, **config})
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{name}.lora_A.weight": np.ones((rank, 8), np.float32),
        f"{name}.lora_B.weight": np.ones((8, rank), np.float32),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_a_folder_tells_everything_about_its_adapter(tmp_path: Path):
    found = inspect.adapter_folder(write_adapter(tmp_path))
    assert (found.method, found.r, found.lora_alpha) == ("lora", 4, 8)
    assert found.target_modules == ["q_proj", "v_proj"]
    assert found.base_model == "meta-llama/Llama-2-7b-hf"
    assert (found.params, found.dtypes) == (64, {"fp32": 64})
    assert found.findings == ()


def test_a_rank_that_differs_is_an_error(tmp_path: Path):
    [finding] = inspect.adapter_folder(write_adapter(tmp_path, rank=2)).findings
    assert (finding.code, finding.level) == ("rank_differs", "error")
    assert "says rank 4, but 2 tensors have another" in finding.message


def test_ranks_by_pattern_may_differ(tmp_path: Path):
    folder = write_adapter(tmp_path, rank=2, rank_pattern={"q_proj": 2})
    assert inspect.adapter_folder(folder).findings == ()


def test_weights_of_another_method_are_told(tmp_path: Path):
    folder = write_adapter(tmp_path)
    save_file({"prompt_embeddings": np.ones(3)}, folder / "adapter_model.safetensors")
    assert [f.code for f in inspect.adapter_folder(folder).findings] == ["no_lora_weights"]


def test_a_pickle_is_never_opened(tmp_path: Path):
    folder = write_adapter(tmp_path)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(BadModel, match="is a pickle"):
        inspect.adapter_folder(folder)


@pytest.mark.parametrize(
    "config",
    [
        *({"r": -1}, {"r": True}, {"r": 1e400}, {"target_modules": [1, None, {}]}),
        *({"peft_type": []}, {"base_model_name_or_path": {}}, {"rank_pattern": []}),
        {"auto_mapping": {"parent_library": 1}},
    ],
)
def test_a_config_of_anything_never_breaks_the_inspection(tmp_path: Path, config: dict[str, Any]):
    inspect.adapter_folder(write_adapter(tmp_path, **config))
