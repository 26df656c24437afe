"""Whatever the bytes are: a reader answers, or raises its own error, and nothing else."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.plain import is_plain
from registry import doctor, inspect
from registry.inspect import BadModel
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
    try:
        return inspect.model_folder(folder)
    except BadModel:
        return None
