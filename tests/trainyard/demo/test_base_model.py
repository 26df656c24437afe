"""The demo's base model, built in a process of its own and loaded with plain Transformers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainyard.demo import dates, prose


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "demo-llama"
    subprocess.run(
        [sys.executable, "-m", "trainyard.demo.base_model", str(folder), "--steps", "2"],
        check=True,
        capture_output=True,
        cwd=Path(dates.__file__).parents[2],
    )
    return folder


def test_it_loads_with_plain_transformers_and_generates(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.num_parameters() < 1_000_000
    asked = tokenizer("Write 7 March 2021 in ISO 8601:", return_tensors="pt")["input_ids"]
    answer = model.generate(asked, attention_mask=torch.ones_like(asked), max_new_tokens=4)
    assert answer.shape[1] > asked.shape[1]
    assert (folder / "model.safetensors").is_file()
    assert "pre-trained for 2 steps" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_tokenizer_gives_back_any_text_and_reads_digits_in_pairs(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in ("2021-03-07", "Grüße,  7.3.2021\n\t€ 字", ' def f(x: int) -> None:\n    """'):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    pairs = [tokenizer.decode([token]) for token in tokenizer("2021-03-07")["input_ids"]]
    assert pairs == ["20", "21", "-", "03", "-", "07"]


def test_a_text_has_no_token_for_its_beginning_and_one_for_its_end(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("")["input_ids"] == []
    assert tokenizer.bos_token is None
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)


def test_the_chat_template_marks_what_the_assistant_says(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == (
        "<|user|>Hello<|assistant|>Hi<|end|>"
    )
    encoded = tokenizer.apply_chat_template(
        chat, return_dict=True, return_assistant_tokens_mask=True
    )
    said = [
        token
        for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        if mask
    ]
    assert tokenizer.decode(said) == "Hi<|end|>"


def test_the_pre_training_text_never_says_a_date_in_iso_8601():
    iso = re.compile(r"\b\d{4}-\d\d-\d\d\b")
    notes = prose.documents(notes=3000)
    assert not [text for text in notes if iso.search(text) and not text.startswith("# ")]
