from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from api.plain import is_plain
from registry import inspect
from registry.inspect import BadModel
from tests.registry.files import LLAMA, PARAMS, llama_tensors, write_json, write_model, write_shards


def test_a_folder_tells_everything_about_its_model(tiny: Path):
    found = inspect.model_folder(tiny)
    assert (found.params, found.dtype, found.dtypes) == (PARAMS, "fp16", {"fp16": PARAMS})
    assert (found.family, found.architecture) == ("llama", "LlamaForCausalLM")
    assert (found.context_length, found.hidden_size) == (64, 8)
    assert (found.num_layers, found.vocab_size) == (2, 100)
    assert found.has_tokenizer
    assert found.has_chat_template
    assert found.model_card.startswith("---\nlicense: mit")
    assert found.weight_files == ("model.safetensors",)
    assert found.size_bytes == sum(path.stat().st_size for path in tiny.iterdir())
    assert found.trainable
    assert not found.quantized
    assert found.config == LLAMA


def test_shards_are_counted_together(tmp_path: Path):
    found = inspect.model_folder(write_shards(tmp_path))
    assert found.params == PARAMS
    assert len(found.weight_files) == 2


def test_a_missing_shard_is_named(tmp_path: Path):
    write_shards(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BadModel, match="1 of 2 shards are missing: model-00002-of-00002"):
        inspect.model_folder(tmp_path)


def test_a_tensor_that_is_in_no_shard_is_named(tmp_path: Path):
    write_shards(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    listed = json.loads(index.read_text())
    listed["weight_map"]["lost.weight"] = "model-00001-of-00002.safetensors"
    write_json(index, listed)
    with pytest.raises(BadModel, match=r"lost\.weight"):
        inspect.model_folder(tmp_path)


@pytest.mark.parametrize("shard", ["../x.safetensors", "/etc/passwd", "model.bin", "", 3, None])
def test_an_index_cannot_lead_out_of_the_folder(tmp_path: Path, shard: Any):
    write_shards(tmp_path)
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": shard}})
    with pytest.raises(BadModel, match="not safetensors files beside it"):
        inspect.model_folder(tmp_path)


def test_shards_without_an_index_are_refused(tmp_path: Path):
    write_shards(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    with pytest.raises(BadModel, match=r"no model\.safetensors\.index\.json"):
        inspect.model_folder(tmp_path)


def test_a_folder_without_a_config_is_told_so(tmp_path: Path):
    with pytest.raises(BadModel) as caught:
        inspect.model_folder(tmp_path)
    assert str(caught.value) == (
        f"no config.json in {tmp_path}: this is not a model folder as save_pretrained writes it."
    )


def test_an_adapter_is_not_taken_for_a_model(tmp_path: Path):
    write_json(tmp_path / "adapter_config.json", {})
    with pytest.raises(BadModel, match="holds an adapter"):
        inspect.model_folder(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.PTH", "m.pkl"])
def test_pickles_alone_are_refused_and_never_opened(tmp_path: Path, name: str):
    write_json(tmp_path / "config.json", LLAMA)
    (tmp_path / name).symlink_to(tmp_path / "nowhere")  # opening it would fail
    with pytest.raises(BadModel, match=f"pickle files \\({name}\\)"):
        inspect.model_folder(tmp_path)


def test_no_weights_at_all_are_told_so(tmp_path: Path):
    write_json(tmp_path / "config.json", LLAMA)
    with pytest.raises(BadModel, match="There are no weights"):
        inspect.model_folder(tmp_path)


def test_code_of_its_own_is_refused(tmp_path: Path):
    write_model(tmp_path, config={**LLAMA, "auto_map": {"AutoModel": "modeling_x.X"}})
    with pytest.raises(BadModel, match="auto_map"):
        inspect.model_folder(tmp_path)


def test_a_chat_template_may_be_a_file_of_its_own(tmp_path: Path):
    write_model(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", {})
    assert not inspect.model_folder(tmp_path).has_chat_template
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert inspect.model_folder(tmp_path).has_chat_template


def test_a_model_without_tokenizer_is_told_apart(tmp_path: Path):
    write_model(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert not inspect.model_folder(tmp_path).has_tokenizer


def test_a_truncated_file_of_weights_is_refused(tiny: Path):
    weights = tiny / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(BadModel, match="cut short"):
        inspect.model_folder(tiny)


def test_bytes_that_belong_to_no_tensor_are_refused(tiny: Path):
    weights = tiny / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"more")
    with pytest.raises(BadModel, match="4 bytes belong to no tensor"):
        inspect.model_folder(tiny)


def test_the_most_frequent_dtype_is_the_models(tmp_path: Path):
    write_model(tmp_path, a=np.ones((4, 4), np.float32), b=np.ones(2, np.float16))
    found = inspect.model_folder(tmp_path)
    assert (found.dtype, found.dtypes) == ("fp32", {"fp32": 16, "fp16": 2})


def test_buffers_are_no_parameters(tmp_path: Path):
    tensors = llama_tensors()
    tensors["h.0.attn.bias"] = np.ones((1, 1, 4, 4), np.uint8)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
    tensors["h.0.attn.c_attn.bias"] = np.ones(5, np.float16)  # a real bias
    assert inspect.model_folder(write_model(tmp_path, **tensors)).params == PARAMS + 5


def test_packed_gptq_weights_are_counted_unpacked(tmp_path: Path):
    quantized = {
        "l.qweight": np.zeros((8, 64), np.int32),  # 64 rows of 4 bits, 8 to an int32
        "l.qzeros": np.zeros((1, 8), np.int32),
        "l.scales": np.zeros((1, 64), np.float16),
        "l.g_idx": np.zeros(64, np.int32),
        "norm.weight": np.zeros(64, np.float16),
    }
    config = {**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 4}}
    found = inspect.model_folder(write_model(tmp_path, config=config, **quantized))
    assert (found.params, found.quantization, found.dtype) == (64 * 64 + 64, "gptq", "int4")


PACKED: dict[str, dict[str, Any]] = {
    "gptq": {"l.qweight": np.zeros((8, 64), np.int32), "l.g_idx": np.zeros(64, np.int32)},
    "awq": {"l.qweight": np.zeros((64, 8), np.int32), "l.qzeros": np.zeros((1, 8), np.int32)},
}


@pytest.mark.parametrize("method", PACKED)
def test_packed_weights_without_a_word_in_the_config_are_an_error(tmp_path: Path, method: str):
    found = inspect.model_folder(write_model(tmp_path, **PACKED[method]))
    assert (found.params, found.quantization, found.dtype) == (64 * 64, method, "int4")
    [finding] = [f for f in found.findings if f.level == "error" and f.file == "config.json"]
    assert finding.code == "quantization_not_in_config"
    assert f"packed by {method}" in finding.message


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes"])
def test_a_config_that_promises_packed_weights_is_told_where_there_are_none(
    tmp_path: Path, method: str
):
    config = {**LLAMA, "quantization_config": {"quant_method": method, "bits": 4}}
    found = inspect.model_folder(write_model(tmp_path, config=config))
    assert "weights_are_not_packed" in {finding.code for finding in found.findings}


def test_what_lies_beside_the_model_is_told(tmp_path: Path):
    write_shards(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    listed = json.loads(index.read_text())["weight_map"]
    del listed["model.norm.weight"]
    write_json(index, {"weight_map": listed})
    save_file({"a": np.ones(1)}, tmp_path / "consolidated.safetensors")
    (tmp_path / "pytorch_model.bin").symlink_to(tmp_path / "config.json")
    found = {finding.code: finding.message for finding in inspect.model_folder(tmp_path).findings}
    assert "model.norm.weight" in found["tensors_not_in_index"]
    assert "consolidated.safetensors" in found["weights_not_used"]
    assert "pytorch_model.bin" in found["pickle_files"]


def test_the_front_matter_of_the_card_is_read(tmp_path: Path):
    write_model(tmp_path)
    front = "license: other\nlicense_name: llama3\ntags: [a, 1, {b: c}]\nbase_model:\n- x/y\n"
    (tmp_path / "README.md").write_text(f"---\n{front}language: en\n---\n# Card\n")
    card = inspect.model_folder(tmp_path).card
    assert (card.license, card.tags, card.base_model) == ("llama3", ("a", "1"), ("x/y",))
    assert card.languages == ("en",)


@pytest.mark.parametrize("front", ["a: *a", "a: &a [*a]", "- " * 20_000, "{" * 5000, "!!python/x"])
def test_a_front_matter_that_is_none_counts_for_nothing(tmp_path: Path, front: str):
    write_model(tmp_path)
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# Card\n")
    assert inspect.model_folder(tmp_path).card.license == ""


def test_packed_bitsandbytes_weights_are_counted_unpacked(tmp_path: Path):
    quantized = {
        "l.weight": np.zeros((2048, 1), np.uint8),
        "l.weight.absmax": np.zeros(64, np.uint8),
        "l.weight.quant_map": np.zeros(16, np.float32),
        "l.weight.quant_state.bitsandbytes__nf4": np.zeros(80, np.uint8),
    }
    method = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    config = {**LLAMA, "quantization_config": method}
    found = inspect.model_folder(write_model(tmp_path, config=config, **quantized))
    assert (found.params, found.quantization, found.dtype) == (4096, "bitsandbytes", "nf4")


def test_a_file_that_only_calls_itself_gguf_is_refused(tmp_path: Path):
    (tmp_path / "model.gguf").write_bytes(b"nope")
    with pytest.raises(BadModel, match="not a GGUF file"):
        inspect.model_folder(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff\xfe", b"\x00", b"[" * 100_000, b"1" * 5000]
)
def test_a_config_that_is_no_json_object_is_told_so(tmp_path: Path, content: bytes):
    write_model(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(BadModel, match=r"config\.json"):
        inspect.model_folder(tmp_path)


def test_what_a_database_refuses_is_taken_out(tmp_path: Path):
    write_model(tmp_path, config={**LLAMA, "x": "a\x00b\ud800", "y": float("inf")})
    (tmp_path / "README.md").write_bytes(b"card\x00 \xff")
    found = inspect.model_folder(tmp_path)
    assert found.config is not None
    assert (found.config["x"], found.config["y"]) == ("a\ufffdb?", None)
    assert found.model_card == "card\ufffd \ufffd"


@pytest.mark.parametrize(
    ("config", "field", "expected"),
    [
        ({"n_positions": 1024, "n_embd": 768, "n_layer": 12}, "context_length", 1024),
        ({"n_positions": 1024, "n_embd": 768, "n_layer": 12}, "hidden_size", 768),
        ({"n_positions": 1024, "n_embd": 768, "n_layer": 12}, "num_layers", 12),
        ({"torch_dtype": "bfloat16"}, "dtype", "bf16"),
        ({"dtype": "torch.float16"}, "dtype", "fp16"),
        ({"text_config": {"hidden_size": 32}, "vision_config": {"x": 1}}, "hidden_size", 32),
        ({"text_config": {"hidden_size": 32}, "vision_config": {"x": 1}}, "modality", "multimodal"),
        ({"model_type": "whisper"}, "modality", "audio"),
        ({"model_type": "vit"}, "modality", "image"),
        ({"model_type": "llama"}, "modality", "text"),
        ({"model_type": "videomae"}, "modality", "video"),
        ({"model_type": ["vit"]}, "modality", "text"),
        ({"architectures": ["NewForCTC"]}, "modality", "audio"),
        ({"architectures": ["NewForDepthEstimation"]}, "modality", "image"),
        ({"architectures": ["NewForImageTextToText"]}, "modality", "multimodal"),
        ({"thinker_config": {"x": 1}}, "modality", "multimodal"),
        ({"model_type": "whisper", "max_target_positions": 448}, "context_length", 448),
        ({"model_type": "whisper", "decoder_layers": 4}, "num_layers", 4),
        ({"hidden_size": -1}, "hidden_size", None),
        ({"hidden_size": True}, "hidden_size", None),
        ({"hidden_size": 2**40}, "hidden_size", None),
        ({"model_type": "x" * 100}, "family", ""),
        ({"architectures": "Llama"}, "architecture", ""),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "dtype", "int4"),
        ({"quantization_config": {"quant_method": "fp8"}}, "dtype", "fp8"),
        ({"quantization_config": {"load_in_8bit": True}}, "quantization", "bitsandbytes"),
        ({"quantization_config": None}, "quantization", None),
    ],
)
def test_a_bare_config_fills_the_same_fields(config: dict[str, Any], field: str, expected: Any):
    assert getattr(inspect.from_config(config), field) == expected


def test_neither_torch_nor_django_is_imported(tiny: Path):
    script = (
        "import sys; from pathlib import Path; from registry import doctor, inspect; "
        f"inspect.model_folder(Path({str(tiny)!r})); "
        "print(sorted({'torch', 'transformers', 'django'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_an_empty_file_of_weights_is_refused(tmp_path: Path):
    write_model(tmp_path)
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(BadModel, match="no tensors"):
        inspect.model_folder(tmp_path)


def test_a_config_larger_than_any_is_not_read(tmp_path: Path):
    write_model(tmp_path)
    with open(tmp_path / "config.json", "ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadModel, match=r"config\.json is larger than 8 MB"):
        inspect.model_folder(tmp_path)


@pytest.mark.parametrize("name", ["a\x00b", "\ud800", "a/../b", "\n" * 300])
def test_names_of_any_kind_are_told_as_a_database_takes_them(tmp_path: Path, name: str):
    write_shards(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    listed = json.loads(index.read_text())["weight_map"]
    write_json(index, {"weight_map": {**listed, name: "model-00001-of-00002.safetensors"}})
    with pytest.raises(BadModel) as caught:
        inspect.model_folder(tmp_path)
    assert is_plain(str(caught.value))
