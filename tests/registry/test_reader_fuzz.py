"""Whatever the bytes are: a reader answers, or raises its own error, and nothing else."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from api.plain import is_plain
from registry import doctor, facts, inspect, services
from registry.inspect import BadModel, trial
from tests.registry.files import write_model

FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=12,
)

ADAPTER = ("peft_type", "base_model_name_or_path", "r", "lora_alpha", "target_modules",
           "rank_pattern", "auto_mapping")  # fmt: skip
TOKENIZER = ("version", "model", "added_tokens", "pre_tokenizer", "normalizer", "decoder")


@FUZZ
@given(
    header=st.dictionaries(
        st.text(max_size=8),
        JSON
        | st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "BF16", "I8", "F4", "X", ""]) | JSON,
                "shape": st.lists(st.integers(-1, 2**70), max_size=3) | JSON,
                "data_offsets": st.lists(st.integers(-1, 2**70), max_size=3) | JSON,
            }
        ),
        max_size=4,
    ),
    values=st.binary(max_size=32),
)
def test_a_header_that_lies_never_breaks_the_inspection(
    tiny: Path, header: dict[str, Any], values: bytes
):
    raw = json.dumps(header).encode()
    (tiny / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + values)
    _inspect(tiny)


@FUZZ
@given(content=st.binary(max_size=200), length=st.integers(0, 2**64 - 1))
def test_a_length_that_lies_never_breaks_the_inspection(tiny: Path, content: bytes, length: int):
    (tiny / "model.safetensors").write_bytes(struct.pack("<Q", length) + content)
    _inspect(tiny)


@FUZZ
@given(cut=st.integers(0, 4000))
def test_a_cut_anywhere_never_breaks_the_inspection(tmp_path: Path, cut: int):
    write_model(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:cut])
    if cut < len(whole):
        with pytest.raises(BadModel):
            inspect.model_folder(tmp_path)


@FUZZ
@given(
    config=st.dictionaries(
        st.sampled_from(
            [
                "model_type",
                "architectures",
                "hidden_size",
                "quantization_config",
                "text_config",
                "dtype",
                "torch_dtype",
                "vision_config",
                "auto_map",
                "max_position_embeddings",
                "x",
            ]
        ),
        JSON,
    )
)
def test_a_config_of_anything_never_breaks_the_inspection(tiny: Path, config: dict[str, Any]):
    (tiny / "config.json").write_text(json.dumps(config))
    found = _inspect(tiny)
    assert found is None or is_plain(found.config)


@FUZZ
@given(index=JSON | st.fixed_dictionaries({"weight_map": JSON}))
def test_an_index_of_anything_never_breaks_the_inspection(tiny: Path, index: Any):
    (tiny / "model.safetensors.index.json").write_text(json.dumps(index))
    _inspect(tiny)


@FUZZ
@given(config=st.dictionaries(st.sampled_from([*ADAPTER, "x"]), JSON), content=st.binary())
def test_an_adapter_of_anything_never_breaks_the_inspection(
    tmp_path: Path, config: dict[str, Any], content: bytes
):
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes(content)
    with contextlib.suppress(BadModel):
        inspect.adapter_folder(tmp_path)
    save_file({"a.lora_A.weight": np.ones((2, 3))}, tmp_path / "adapter_model.safetensors")
    found = inspect.adapter_folder(tmp_path)
    assert is_plain([finding.as_dict() for finding in found.findings])


@FUZZ
@given(text=st.text(max_size=60) | st.text("-:[]{}&*!<>|,?#'\"\n a", max_size=60))
def test_a_front_matter_of_anything_never_breaks_the_inspection(tiny: Path, text: str):
    (tiny / "README.md").write_bytes(f"---\n{text}\n---\n".encode("utf-8", "surrogatepass"))
    found = _inspect(tiny)
    assert found is not None
    assert is_plain([found.card.license, *found.card.tags, *found.card.base_model])


@FUZZ
@given(
    content=st.dictionaries(st.sampled_from(TOKENIZER), JSON).map(json.dumps)
    | st.binary(max_size=200).map(repr),
    template=st.text("{}%#()[]'\" abmessages.|9", max_size=40),
)
def test_a_tokenizer_of_anything_is_answered_with_a_word(
    tmp_path: Path, content: str, template: str
):
    """What the trial does in its own process, where it may even crash."""
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    for answer in trial.answers(
        {"tokenizer": str(path), "special": {"eos_token": "</s>"}, "templates": {"t": template}}
    ):
        json.dumps(answer)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "README.md", "a.py"])
def test_a_link_out_of_the_roots_is_not_followed(root, project, tiny: Path, name: str):
    (tiny / name).unlink(missing_ok=True)
    (tiny / name).symlink_to("/etc/passwd")
    with pytest.raises(services.CannotRegister, match="outside the storage roots"):
        services.register_model(user=root, project=project, name="x", storage_path=str(tiny))


@FUZZ
@given(content=st.binary(max_size=400))
def test_bytes_of_any_kind_never_break_the_doctor(tmp_path: Path, content: bytes):
    (tmp_path / "train.jsonl").write_bytes(content)
    report = doctor.check(tmp_path)
    assert is_plain(report.integrity_report)
    assert is_plain(report.statistics)


ROW = st.dictionaries(
    st.sampled_from(
        ["prompt", "completion", "messages", "text", "role", "content", "x\x00", "\ud800"]
    ),
    JSON | st.lists(st.dictionaries(st.sampled_from(["role", "content", "tool_calls"]), JSON)),
)


@FUZZ
@given(lines=st.lists(ROW | JSON, max_size=6))
def test_rows_of_any_shape_never_break_the_doctor(tmp_path: Path, lines: list[Any]):
    for split in ("train", "validation"):
        text = "\n".join(json.dumps(line) for line in lines)
        (tmp_path / f"{split}.jsonl").write_text(text)
    report = doctor.check(tmp_path)
    assert is_plain(report.integrity_report)
    assert is_plain(report.statistics)
    assert report.passed or report.findings.errors or not report.num_samples


def _inspect(folder: Path) -> inspect.Inspected | None:
    """What it says, a database can keep."""
    try:
        found = inspect.model_folder(folder)
    except BadModel as error:
        said = str(error)
        return None if is_plain(said) else pytest.fail(f"not plain: {said!r}")
    assert is_plain(facts.found_in(found))
    return found
