"""Files as they come: model folders with safetensors in them, and JSONL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": 100,
    "torch_dtype": "float32",
}
PARAMS = 2120


def llama_tensors(dtype: Any = np.float16) -> dict[str, Any]:
    """The tensors of a Llama with the sizes of `LLAMA` and tied embeddings."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (100, 8)}
    for layer in range(2):
        prefix = f"model.layers.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes[f"{prefix}.self_attn.{name}.weight"] = (8, 8)
        for name in ("gate_proj", "up_proj"):
            shapes[f"{prefix}.mlp.{name}.weight"] = (16, 8)
        shapes[f"{prefix}.mlp.down_proj.weight"] = (8, 16)
        shapes[f"{prefix}.input_layernorm.weight"] = (8,)
        shapes[f"{prefix}.post_attention_layernorm.weight"] = (8,)
    shapes["model.norm.weight"] = (8,)
    return {name: np.ones(shape, dtype) for name, shape in shapes.items()}


def write_model(folder: Path, *, config: dict[str, Any] | None = None, **tensors: Any) -> Path:
    """A whole model folder: config, weights, tokenizer, chat template, card."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", LLAMA if config is None else config)
    save_file(tensors or llama_tensors(), folder / "model.safetensors", {"format": "pt"})
    write_json(folder / "tokenizer.json", {"version": "1.0"})
    write_json(folder / "tokenizer_config.json", {"chat_template": "{{ messages }}"})
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n", encoding="utf-8")
    return folder


def write_shards(folder: Path) -> Path:
    """The same model in two shards with their index."""
    write_model(folder)
    (folder / "model.safetensors").unlink()
    tensors = list(llama_tensors().items())
    weight_map: dict[str, str] = {}
    for number, part in enumerate((tensors[:10], tensors[10:]), start=1):
        name = f"model-0000{number}-of-00002.safetensors"
        save_file(dict(part), folder / name)
        weight_map |= dict.fromkeys(dict(part), name)
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    return folder


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_rows(path: Path, rows: list[Any]) -> Path:
    """One row a line; a string is written as it stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path
