"""Model folders as Transformers 4 wrote them: more files, and special tokens in several of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry import inspect
from tests.registry.files import LLAMA, write_json, write_model
from tests.registry.tokenizers import TEMPLATE

WORDS = {letter: number for number, letter in enumerate("abcdefghij")} | {"ab": 10, "cd": 11}
ADDED = {"<|end|>": 12, "<|begin|>": 13, "<pad>": 14}


def token(content: str) -> dict[str, Any]:
    return {
        "content": content,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """As GPT2Tokenizer and its heirs were saved: slow and fast files side by side."""
    from tokenizers import AddedToken, Tokenizer, models

    folder = write_model(tmp_path, config={**LLAMA, "torch_dtype": "float16"})
    write_json(folder / "vocab.json", WORDS)
    (folder / "merges.txt").write_text("#version: 0.2\na b\nc d\n")
    write_json(folder / "added_tokens.json", ADDED)
    write_json(
        folder / "special_tokens_map.json",
        {
            "bos_token": token("<|begin|>"),
            "eos_token": token("<|end|>"),
            "pad_token": "<pad>",
            "unk_token": token("<|end|>"),
            "additional_special_tokens": ["<|begin|>"],
        },
    )
    decoder = {str(number): {**token(word), "special": True} for word, number in ADDED.items()}
    write_json(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": decoder,
            "chat_template": TEMPLATE,
            "eos_token": {"__type": "AddedToken", **token("<|end|>")},
            "unk_token": "<|end|>",
            "bos_token": "<|begin|>",
            "pad_token": "<pad>",
            "tokenizer_class": "GPT2Tokenizer",
            "model_max_length": 1000000000000000019884624838656,
        },
    )
    fast = Tokenizer(models.BPE(vocab=WORDS, merges=[("a", "b"), ("c", "d")]))
    fast.add_special_tokens([AddedToken(word, special=True) for word in ADDED])
    fast.save(str(folder / "tokenizer.json"))
    return folder


def test_the_fast_files_tell_everything(model: Path):
    found = inspect.model_folder(model)
    assert found.findings == ()
    assert found.has_chat_template
    assert found.dtype == "fp16"
    facts = found.tokenizer
    assert facts is not None
    assert (facts.kind, facts.size, facts.loads, facts.template_renders) == ("fast", 15, True, True)
    assert facts.special == {
        "bos_token": {"token": "<|begin|>", "id": 13},
        "eos_token": {"token": "<|end|>", "id": 12},
        "pad_token": {"token": "<pad>", "id": 14},
        "unk_token": {"token": "<|end|>", "id": 12},
    }


def test_the_slow_files_alone_tell_nearly_as_much(model: Path):
    whole = inspect.model_folder(model).tokenizer
    (model / "tokenizer.json").unlink()
    found = inspect.model_folder(model)
    assert [finding.code for finding in found.findings] == ["tokenizer_not_checked"]
    facts = found.tokenizer
    assert facts is not None
    assert whole is not None
    assert (facts.kind, facts.size, facts.loads) == ("BPE", 15, None)
    assert facts.special == whole.special
    assert found.has_chat_template
    assert facts.template_renders


@pytest.mark.parametrize("without", [[], ["tokenizer.json"]], ids=["fast", "slow"])
@pytest.mark.parametrize("is_old", [False, True], ids=["with decoder", "older"])
def test_transformers_reads_the_same(model: Path, without: list[str], is_old: bool):
    """What only one of the files says is taken from the one that Transformers takes it from."""
    from transformers import AutoTokenizer

    config = model / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    mapping = json.loads((model / "special_tokens_map.json").read_text())
    write_json(model / "special_tokens_map.json", {**mapping, "eos_token": "<pad>"})
    if is_old:
        del settings["added_tokens_decoder"], settings["pad_token"]
    else:
        settings["added_tokens_decoder"]["15"] = token("<|more|>")
        (model / "added_tokens.json").unlink()
    write_json(config, settings)
    for name in without:
        (model / name).unlink()
    facts = inspect.model_folder(model).tokenizer
    assert facts is not None
    theirs = AutoTokenizer.from_pretrained(model)
    assert facts.special == {
        name: {"token": word, "id": theirs.convert_tokens_to_ids(word)}
        for name, word in theirs.special_tokens_map.items()
    }
    if without:
        assert facts.size == len(theirs)


def test_what_is_wrong_with_slow_files_is_told(model: Path):
    (model / "tokenizer.json").unlink()

    def codes() -> dict[str, str]:
        return {f.code: f.file for f in inspect.model_folder(model).findings}

    config = model / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    del settings["added_tokens_decoder"]
    write_json(config, settings)
    write_json(model / "added_tokens.json", {**ADDED, "<|more|>": 100})
    assert codes() == {
        "tokenizer_not_checked": "vocab.json",
        "vocabulary_larger_than_embeddings": "vocab.json",
    }
    write_json(model / "added_tokens.json", {"<|end|>": 12, "<|begin|>": 13})
    assert codes() == {
        "tokenizer_not_checked": "vocab.json",
        "special_token_unknown": "tokenizer_config.json",
    }
    for damaged in ("[1]", "{", '{"a": "b"}'):
        (model / "vocab.json").write_text(damaged)
        assert codes() == {
            "tokenizer_not_checked": "vocab.json",
            "tokenizer_does_not_load": "vocab.json",
        }


def test_a_template_is_tried_whatever_the_tokenizer_is(model: Path):
    (model / "tokenizer.json").rename(model / "tokenizer.model")
    config = model / "tokenizer_config.json"
    write_json(config, {"chat_template": "{{ messages[9].content }}", "eos_token": "<|end|>"})
    found = inspect.model_folder(model)
    assert [finding.code for finding in found.findings] == [
        "tokenizer_not_checked",
        "chat_template_does_not_render",
    ]
    assert found.tokenizer is not None
    assert (found.tokenizer.kind, found.tokenizer.size) == ("SentencePiece", None)


def test_words_of_bert_are_numbered_by_their_lines(model: Path):
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"):
        (model / name).unlink()
    (model / "vocab.txt").write_text("[PAD]\r\n[UNK]\r\n[CLS]\r\n##a\r\n")
    settings = {"unk_token": "[UNK]", "cls_token": "[CLS]"}
    write_json(model / "special_tokens_map.json", settings)
    write_json(model / "tokenizer_config.json", {})
    facts = inspect.model_folder(model).tokenizer
    assert facts is not None
    assert (facts.kind, facts.size) == ("WordPiece", 4)
    assert facts.special["cls_token"] == {"token": "[CLS]", "id": 2}
