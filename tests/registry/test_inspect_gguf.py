"""GGUF files as the gguf package writes them, and such as nobody should."""

from __future__ import annotations

import contextlib
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry import inspect
from registry.inspect import BadModel, gguf_header
from tests.registry.files import LLAMA, write_json

TOKENS = ["<unk>", "<s>", "</s>", *(f"word{n}" for n in range(97))]


def write_gguf(
    path: Path, *, packed: Any = None, file_type: Any = None, tokens: int = 100, **more: Any
) -> Path:
    """A Llama of one layer, of hidden size 64."""
    writer = gguf.GGUFWriter(path, "llama", **more)
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_license("apache-2.0")
    writer.add_file_type(file_type if file_type is not None else gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS[:tokens])
    writer.add_eos_token_id(2)
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("token_embd.weight", np.ones((100, 64), np.float16))
    matrix = np.ones((64, 64), np.float32)
    if packed is None:
        writer.add_tensor("blk.0.attn_q.weight", matrix.astype(np.float16))
    else:
        for name in ("q", "k", "v"):
            data = gguf.quantize(matrix, packed)
            writer.add_tensor(f"blk.0.attn_{name}.weight", data, raw_dtype=packed)
    writer.add_tensor("output_norm.weight", np.ones(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "small.gguf")


def test_a_file_tells_everything_about_its_model(small: Path):
    for path in (small, small.parent):
        found = inspect.model_folder(path)
        assert found.is_gguf
        assert not found.trainable
        assert (found.family, found.context_length) == ("llama", 512)
        assert (found.hidden_size, found.num_layers, found.vocab_size) == (64, 1, 100)
        assert found.params == 100 * 64 + 64 * 64 + 64
        assert (found.dtype, found.quantization) == ("fp16", None)
        assert (found.has_tokenizer, found.has_chat_template) == (True, True)
        assert found.card.license == "apache-2.0"
        assert found.tokenizer is not None
        assert found.tokenizer.special["eos_token"]["id"] == 2
        assert found.findings == ()
        assert found.size_bytes == small.stat().st_size


@pytest.mark.parametrize("packed", ["Q8_0", "Q4_0", "Q5_1"])
def test_packed_weights_are_counted_unpacked(tmp_path: Path, packed: str):
    kind = gguf.GGMLQuantizationType[packed]
    file_type = gguf.LlamaFileType[f"MOSTLY_{packed}"]
    found = inspect.model_folder(write_gguf(tmp_path / "m.gguf", packed=kind, file_type=file_type))
    assert found.params == 100 * 64 + 3 * 64 * 64 + 64
    assert (found.dtype, found.quantization) == (packed.lower(), "gguf")
    assert found.dtypes[packed.lower()] == 3 * 64 * 64


def test_the_sizes_of_blocks_are_those_of_the_package():
    ours = {kind: row[1:] for kind, row in gguf_header.TENSOR_TYPES.items()}
    assert ours == {kind.value: size for kind, size in gguf.GGML_QUANT_SIZES.items()}
    names = {kind: row[0] for kind, row in gguf_header.TENSOR_TYPES.items()}
    assert names == {kind.value: kind.name.lower() for kind in gguf.GGML_QUANT_SIZES}


def test_parts_are_counted_together_and_a_missing_one_is_named(tmp_path: Path):
    write_gguf(tmp_path / "big.gguf", split_max_tensors=1)
    parts = sorted(tmp_path.glob("big-*.gguf"))
    assert len(parts) == 3
    found = inspect.model_folder(tmp_path)
    assert found.params == 100 * 64 + 64 * 64 + 64
    assert len(found.weight_files) == 3
    with pytest.raises(BadModel, match="only a part of a model"):
        inspect.model_folder(parts[0])
    parts[1].unlink()
    with pytest.raises(BadModel, match="1 of 3 parts are missing: big-00002-of-00003"):
        inspect.model_folder(tmp_path)


def test_several_models_in_one_folder_are_told(small: Path):
    write_gguf(small.with_name("second.gguf"))
    found = inspect.model_folder(small.parent)
    assert found.weight_files == ("second.gguf",)
    assert [f.code for f in found.findings] == ["several_models"]


def test_a_config_beside_it_adds_what_the_file_does_not_say(small: Path):
    write_json(small.with_name("config.json"), LLAMA)
    found = inspect.model_folder(small.parent)
    assert (found.architecture, found.context_length) == ("LlamaForCausalLM", 512)


def test_more_tokens_than_embeddings_are_an_error(tmp_path: Path):
    path = write_gguf(tmp_path / "m.gguf")
    content = path.read_bytes()
    # The embeddings' second dimension, 100 in a header of little-endian numbers.
    shape = struct.pack("<QQ", 64, 100)
    assert content.count(shape) == 1
    path.write_bytes(content.replace(shape, struct.pack("<QQ", 64, 96)))
    [finding] = inspect.model_folder(path).findings
    assert finding.code == "vocabulary_larger_than_embeddings"


def header(version: int = 3, tensors: int = 1, keys: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


HUGE = 2**63
LIES = {
    "huge count of tensors": header(tensors=HUGE),
    "huge count of keys": header(keys=HUGE),
    "huge name": header(keys=1, rest=struct.pack("<Q", HUGE) + b"x" * 100),
    "huge string": header(keys=1, rest=text(b"a") + struct.pack("<IQ", 8, HUGE) + b"x" * 100),
    "huge array": header(keys=1, rest=text(b"a") + struct.pack("<IIQ", 9, 10, HUGE) + b"x" * 100),
    "huge array of texts": header(keys=1, rest=text(b"a") + struct.pack("<IIQ", 9, 8, HUGE)),
    "arrays in arrays": header(keys=1, rest=text(b"a") + struct.pack("<IIQ", 9, 9, 1) * 500),
    "unknown type": header(keys=1, rest=text(b"a") + struct.pack("<I", 99) + b"x" * 100),
    "huge tensor": header(rest=text(b"t") + struct.pack("<IQQIQ", 2, HUGE, HUGE, 0, 0)),
    "many dimensions": header(rest=text(b"t") + struct.pack("<I", 2**32 - 1) + b"x" * 100),
    "unknown tensor": header(rest=text(b"t") + struct.pack("<IQIQ", 1, 1, 77, 0) + b"x" * 99),
    "half a block": header(rest=text(b"t") + struct.pack("<IQIQ", 1, 33, 2, 0) + b"x" * 99),
    "offset beyond": header(rest=text(b"t") + struct.pack("<IQIQ", 1, 1, 0, HUGE) + b"x" * 99),
    "old version": header(version=1) + b"x" * 100,
    "other byte order": header(version=0x03000000) + b"x" * 100,
    "no tensors": header(tensors=0),
    "only a name": b"GGUF",
    "nothing": b"",
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES)
def test_a_header_that_lies_is_refused_at_once(tmp_path: Path, content: bytes):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(BadModel, match=r"m\.gguf"):
        inspect.model_folder(path)


def test_millions_of_empty_texts_take_neither_time_nor_memory(tmp_path: Path):
    """A sparse file: its zeros are texts without a letter, as many as fit."""
    path = tmp_path / "m.gguf"
    begin = header(keys=1, rest=text(b"a") + struct.pack("<IIQ", 9, 8, 10**9))
    with open(path, "wb") as file:
        file.write(begin)
        file.truncate(len(begin) + 8 * 10**9)
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(BadModel, match="1,000,000,000 strings"):
        inspect.model_folder(path)
    assert time.process_time() - began < 5
    assert tracemalloc.get_traced_memory()[1] < 16_000_000
    tracemalloc.stop()


FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)


@FUZZ
@given(at=st.integers(0, 2000), replaced=st.binary(min_size=1, max_size=12), cut=st.integers(0, 60))
def test_bytes_changed_anywhere_never_break_the_inspection(
    small: Path, at: int, replaced: bytes, cut: int
):
    content = small.read_bytes()
    at %= len(content)
    changed = content[:at] + replaced + content[at + len(replaced) :]
    path = small.with_name("changed.gguf")
    path.write_bytes(changed[: len(changed) - cut])
    with contextlib.suppress(BadModel):
        inspect.model_folder(path)
