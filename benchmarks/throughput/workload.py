"""What all contenders train: a Llama made here, and English sentences as short rows."""

from __future__ import annotations

import ast
import itertools
import json
import random
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROWS = 1000
TOKENS = range(20, 61)  # of a row
LORA = {"r": 8, "lora_alpha": 16}


@dataclass(frozen=True)
class Size:
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    steps: int


SIZES = {
    "5M": Size(4096, 256, 688, 4, 8, 4, steps=40),
    "60M": Size(32_000, 512, 1408, 8, 8, 4, steps=15),
    "1B": Size(32_000, 2048, 5632, 22, 32, 8, steps=60),
}


@dataclass(frozen=True)
class Workload:
    """One comparison, as every contender reads it from ``workload.json`` in its own folder."""

    model: str
    rows: str
    method: str
    steps: int
    device: str
    threads: int
    batch_size: int = 8
    learning_rate: float = 1e-4
    max_length: int = 512
    seed: int = 42

    @property
    def dtype(self) -> str:
        return "float32" if self.device == "cpu" else "bfloat16"

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "workload.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Workload:
        return cls(**json.loads((folder / "workload.json").read_text(encoding="utf-8")))


def make_model(size: Size, dtype: str, folder: Path) -> Path:
    """Random weights, and a tokenizer that knows the sentences."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {name: value for name, value in asdict(size).items() if name != "steps"}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**shape, max_position_embeddings=1024))
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        special_tokens=["<pad>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(itertools.islice(sentences(), 20_000), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def write_rows(path: Path, tokenizer: Any) -> Path:
    """Sentences as they are, of the right length; the model is to complete their second half."""
    with path.open("w", encoding="utf-8") as file:
        written = 0
        for sentence in sentences():
            words = sentence.split()
            half = len(words) // 2
            row = {"prompt": " ".join(words[:half]), "completion": " " + " ".join(words[half:])}
            if len(tokenizer(sentence)["input_ids"]) + 1 in TOKENS:
                file.write(json.dumps(row) + "\n")
                written += 1
            if written == ROWS:
                return path
    raise SystemExit(f"The standard library has only {written} sentences of the right length.")


def sentences() -> Iterator[str]:
    """Those of the docstrings in Python's standard library, in an order that stays."""
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in library.glob("*.py") if path.is_file())
    random.Random(0).shuffle(files)
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = " ".join((ast.get_docstring(node) or "").split())
                yield from re.findall(r"[A-Z][^.!?]{40,400}[.!?]", text)
