"""Feed the readers of models with bytes that atheris makes up from what it has seen to matter.

    .venv/bin/pip install atheris==3.0.0
    .venv/bin/python benchmarks/fuzz/model_readers.py safetensors --seconds 60

Any exception but BadModel, any answer that takes more than two seconds or 512 MB, ends it and
leaves the input in a file that libFuzzer names.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import atheris

from benchmarks.fuzz.run import Reader, file, fuzz

with atheris.instrument_imports(include=["registry.inspect", "registry.files"]):
    from registry import inspect
    from registry.inspect import BadModel

CONFIG = json.dumps({"model_type": "llama", "vocab_size": 4, "hidden_size": 2}).encode()
WEIGHTS = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


def safetensors(folder: Path, content: bytes) -> object:
    file(folder, "config.json", CONFIG)
    file(folder, "model.safetensors", content)
    return inspect.model_folder(folder)


def config(folder: Path, content: bytes) -> object:
    header = struct.pack("<Q", len(WEIGHTS)) + WEIGHTS + bytes(4)
    file(folder, "model.safetensors", header)
    file(folder, "config.json", content)
    return inspect.model_folder(folder)


def gguf(folder: Path, content: bytes) -> object:
    file(folder, "model.gguf", b"GGUF" + content)
    return inspect.model_folder(folder / "model.gguf")


def adapter(folder: Path, content: bytes) -> object:
    cut = content.find(b"\0") + 1
    file(folder, "adapter_config.json", content[:cut])
    file(folder, "adapter_model.safetensors", content[cut:])
    return inspect.adapter_folder(folder)


def card(folder: Path, content: bytes) -> object:
    file(folder, "README.md", b"---\n" + content)
    return inspect.read_card(folder)


READERS: dict[str, Reader] = {
    "safetensors": safetensors,
    "config": config,
    "gguf": gguf,
    "adapter": adapter,
    "card": card,
}
SEEDS = {
    "safetensors": struct.pack("<Q", len(WEIGHTS)) + WEIGHTS + bytes(4),
    "config": CONFIG,
    "gguf": struct.pack("<IQQQ", 3, 1, 1, 1) + b"a" + struct.pack("<IIQ", 9, 8, 1),
    "adapter": b'{"peft_type":"LORA","r":4}\0' + struct.pack("<Q", len(WEIGHTS)) + WEIGHTS,
    "card": b"license: mit\ntags: [a, b]\n---\n",
}


if __name__ == "__main__":
    fuzz(__doc__, READERS, SEEDS, BadModel, patience_seconds=2)
