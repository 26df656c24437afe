"""The tokenizer and the chat template are tried, in a process that can do no harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry import inspect
from registry.inspect import tokenizer as tokenizers
from tests.registry.files import LLAMA, write_json, write_model
from tests.registry.tokenizers import TEMPLATE, write_tokenizer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path)


@pytest.fixture
def impatient(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials may take a second and not twenty."""
    trial = tmp_path_factory.mktemp("trial") / "trial.py"
    program = tokenizers.TRIAL.read_text()
    assert "CPU_SECONDS = 20" in program
    trial.write_text(program.replace("CPU_SECONDS = 20", "CPU_SECONDS = 1"))
    monkeypatch.setattr(tokenizers, "TRIAL", trial)


def codes(folder: Path) -> dict[str, str]:
    return {finding.code: finding.level for finding in inspect.model_folder(folder).findings}


def test_a_good_tokenizer_tells_its_facts(model: Path):
    write_tokenizer(model)
    found = inspect.model_folder(model)
    assert found.findings == ()
    facts = found.tokenizer
    assert facts is not None
    assert (facts.kind, facts.size, facts.loads, facts.template_renders) == (
        "fast",
        100,
        True,
        True,
    )
    assert facts.special["eos_token"] == {"token": "</s>", "id": 2}


def test_more_tokens_than_embeddings_are_an_error(model: Path):
    write_tokenizer(model, words=98)
    [finding] = inspect.model_folder(model).findings
    assert (finding.code, finding.level) == ("vocabulary_larger_than_embeddings", "error")
    assert "ids up to 100, but the weights have rows for 100 tokens" in finding.message


def test_a_special_token_that_does_not_exist_is_named(model: Path):
    write_tokenizer(model, words=50, eos_token="<|end|>", pad_token={"content": "<pad>"})
    found = inspect.model_folder(model)
    assert [f.code for f in found.findings] == ["special_token_unknown"] * 2
    assert "eos_token '<|end|>'" in found.findings[0].message
    # Transformers adds what is missing; here there is room for it behind the known tokens.
    assert {f.level for f in found.findings} == {"warning"}
    write_tokenizer(model, words=97, eos_token="<|end|>")
    assert codes(model) == {"special_token_unknown": "error"}


@pytest.mark.parametrize(
    "content",
    [
        b'{"model": {}}',
        b'{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": ["a"]}}',
        b'"model"',
        b'\xff\x00"model"',
        b"",
        b"[" * 100_000 + b'"model"',
        b'{"model": {"type": "Unigram", "vocab": [], "unk_id": 99}}',
    ],
)
def test_garbage_is_told_and_harms_nobody(model: Path, content: bytes):
    (model / "tokenizer.json").write_bytes(content)
    found = inspect.model_folder(model)
    assert [f.code for f in found.findings] == ["tokenizer_does_not_load"]
    assert found.has_tokenizer
    assert found.tokenizer is not None
    assert found.tokenizer.loads is False


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}", "end of template"),
        ("{{ messages[9].content }}", "no element 9"),
        ("{{ raise_exception('only one turn') }}", "only one turn"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ cycler.__init__.__globals__.os.system('true') }}", "unsafe"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "time"),
        ("{{ ('a' * 10 ** 10) | length }}", ""),
    ],
)
def test_a_template_that_cannot_be_used_says_why(
    model: Path, impatient: None, template: str, reason: str
):
    write_tokenizer(model, template=template)
    found = inspect.model_folder(model)
    assert [f.code for f in found.findings] == ["chat_template_does_not_render"]
    assert reason in found.findings[0].message
    assert found.has_chat_template
    assert found.tokenizer is not None
    assert (found.tokenizer.loads, found.tokenizer.template_renders) == (True, False)


def test_templates_as_transformers_allows_them(model: Path):
    """Marks of what is to be learned, loop controls, tojson, a date, and several by name."""
    template = (
        "{%- for m in messages %}{% if loop.index > 5 %}{% break %}{% endif %}"
        "{% generation %}{{ m | tojson }}{{ strftime_now('%d') }}{% endgeneration %}{%- endfor %}"
    )
    named = [{"name": "default", "template": template}, {"name": "tool_use", "template": TEMPLATE}]
    write_tokenizer(model)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    write_json(model / "tokenizer_config.json", {**settings, "chat_template": named})
    (model / "chat_template.jinja").write_text(template)
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates" / "rag.jinja").write_text(TEMPLATE)
    assert codes(model) == {}


def test_an_empty_template_is_told(model: Path):
    write_tokenizer(model, template="{# nothing #}")
    assert codes(model) == {"chat_template_is_empty": "warning"}


def test_what_is_not_loaded_here_is_told(model: Path):
    (model / "tokenizer.json").rename(model / "tokenizer.model")
    assert codes(model) == {"tokenizer_not_checked": "warning"}


def test_a_text_model_without_a_tokenizer_is_told(model: Path):
    (model / "tokenizer.json").unlink()
    assert codes(model) == {"no_tokenizer": "warning"}


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"vocab_size": 90}, "vocabulary_size_differs"),
        ({"eos_token_id": 100}, "token_id_beyond_embeddings"),
        ({"eos_token_id": [2, 4000]}, "token_id_beyond_embeddings"),
    ],
)
def test_a_config_that_does_not_fit_the_weights_is_an_error(
    model: Path, config: dict[str, Any], code: str
):
    write_tokenizer(model)
    write_json(model / "config.json", {**LLAMA, **config})
    assert codes(model) == {code: "error"}
