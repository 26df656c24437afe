"""What the real libraries write is read exactly. One process writes all of it, as they take their
time to be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registry import inspect

PROGRAM = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast,
)

place = Path(sys.argv[1])
shape = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2}
config = LlamaConfig(
    vocab_size=96, num_hidden_layers=2, max_position_embeddings=32, pad_token_id=2, **shape
)
model = LlamaForCausalLM(config)
counts = {"params": model.num_parameters()}
model.save_pretrained(place / "sharded", max_shard_size="80KB")
model.save_pretrained(place / "single")

words = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"w{n}": n + 3 for n in range(93)}
fast = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
fast.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=fast, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
)
tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\\n{% endfor %}"
tokenizer.save_pretrained(place / "single")
tokenizer.save_pretrained(place / "nf4")

lora = LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "down_proj"], use_dora=True)
adapted = get_peft_model(model, lora)
counts["adapter"] = adapted.get_nb_trainable_parameters()[0]
adapted.save_pretrained(place / "adapter")

for name, how in {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "double": {"load_in_4bit": True, "bnb_4bit_use_double_quant": True},
    "int8": {"load_in_8bit": True},
}.items():
    packed = LlamaForCausalLM.from_pretrained(
        place / "single", quantization_config=BitsAndBytesConfig(**how), device_map={"": "cpu"}
    )
    packed.save_pretrained(place / name)
print(json.dumps(counts))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    place = tmp_path_factory.mktemp("written")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return place, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("folder", "files"), [("single", 1), ("sharded", 5)])
def test_models(written: Any, folder: str, files: int) -> None:
    place, counts = written
    found = inspect.model_folder(place / folder)
    assert found.params == counts["params"]
    assert len(found.weight_files) >= files
    assert (found.family, found.dtype, found.context_length) == ("llama", "fp32", 32)
    assert {finding.code for finding in found.findings} <= {"no_tokenizer"}


def test_tokenizers(written: Any) -> None:
    found = inspect.model_folder(written[0] / "single")
    assert found.tokenizer is not None
    assert (found.tokenizer.size, found.tokenizer.template_renders) == (96, True)
    assert found.tokenizer.special["eos_token"] == {"token": "</s>", "id": 2}
    assert found.findings == ()


def test_adapters(written: Any) -> None:
    place, counts = written
    found = inspect.adapter_folder(place / "adapter")
    assert (found.method, found.r, found.lora_alpha) == ("lora", 3, 6)
    assert sorted(found.target_modules) == ["down_proj", "q_proj"]
    assert found.params == counts["adapter"]
    assert found.findings == ()


@pytest.mark.parametrize(("folder", "dtype"), [("nf4", "nf4"), ("double", "fp4"), ("int8", "int8")])
def test_packed_models(written: Any, folder: str, dtype: str) -> None:
    place, counts = written
    found = inspect.model_folder(place / folder)
    assert (found.quantization, found.dtype) == ("bitsandbytes", dtype)
    assert found.params == counts["params"]
    config = json.loads((place / folder / "config.json").read_text())
    del config["quantization_config"]
    (place / folder / "config.json").write_text(json.dumps(config))
    found = inspect.model_folder(place / folder)
    assert (found.quantization, found.dtype) == ("bitsandbytes", dtype)
    assert found.params == counts["params"]
    assert "quantization_not_in_config" in {finding.code for finding in found.findings}
