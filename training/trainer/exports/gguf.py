"""One file for llama.cpp and its kin: f16, and q8_0 at half the size.

As llama.cpp's own convert_hf_to_gguf.py writes it, for models that are built like Llama. Tensor by
tensor, so that no second copy of the model is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from training.trainer.exports.compare import QUANTIZED_TOLERANCE, TOLERANCES, Comparison, Probe
from training.trainer.exports.compare import asking as asking_model
from training.trainer.exports.failure import ExportFailed
from training.trainer.exports.gguf_vocabulary import Vocabulary, vocabulary_of
from training.trainer.quiet import without_progress_bars
from training.trainer.spec import GGUF_MODEL_TYPES, GGUF_ROPE_TYPES

F16, Q8_0 = "model-f16.gguf", "model-q8_0.gguf"
BLOCK = 32  # values that share a scale in q8_0

Array = npt.NDArray[Any]


def check(config: Any, tokenizer: Any, folder: Path) -> None:
    """Raises ExportFailed where this model or its tokenizer in ``folder`` cannot be written, as far
    as that can be told before it is trained."""
    if config.model_type not in GGUF_MODEL_TYPES:
        raise ExportFailed(
            f"gguf is written for {', '.join(GGUF_MODEL_TYPES)}; this model is {config.model_type}"
        )
    scaling = _rope(config).get("rope_type", "default")
    if scaling not in GGUF_ROPE_TYPES:
        raise ExportFailed(f"gguf: rotary positions scaled by {scaling} cannot be written")
    vocabulary_of(tokenizer, folder, config.vocab_size)


def write(model: Any, tokenizer: Any, tokenizer_folder: Path, folder: Path, name: str) -> None:
    """Both files. Raises ExportFailed."""
    check(model.config, tokenizer, tokenizer_folder)
    vocabulary = vocabulary_of(tokenizer, tokenizer_folder, model.config.vocab_size)
    _write(model, vocabulary, folder / F16, name, quantize=False)
    _write(model, vocabulary, folder / Q8_0, name, quantize=True)


def compare(folder: Path, config: Any, probe: Probe) -> dict[str, Comparison]:
    """Each file, read back by Transformers. It does not read how positions are scaled and how wide
    a head is, so ``config`` says that."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    if config.model_type == "mistral":  # to llama.cpp, and so to this reader, a Llama
        config = LlamaConfig.from_dict({**config.to_dict(), "model_type": "llama"})
    found = {}
    half = TOLERANCES[torch.float16]
    for name, share in ((F16, half), (Q8_0, QUANTIZED_TOLERANCE)):
        with without_progress_bars():
            model = AutoModelForCausalLM.from_pretrained(
                str(folder), gguf_file=name, config=config, dtype=torch.float32
            ).eval()
        found[name] = probe.compare(asking_model(model), share)
    return found


def _write(model: Any, vocabulary: Vocabulary, path: Path, name: str, *, quantize: bool) -> None:
    import gguf

    config = model.config
    is_llama = config.model_type in ("llama", "mistral")
    writer = gguf.GGUFWriter(path, "llama" if is_llama else config.model_type)
    _describe(writer, config, name, quantize=quantize)
    vocabulary.add_to(writer)
    tensors = list(_tensors(model, config, rotate=_interleaved if is_llama else _as_it_is))
    types = [_type_of(shape, quantize=quantize) for _, shape, _ in tensors]
    for (key, shape, _), kind in zip(tensors, types, strict=True):
        if kind == gguf.GGMLQuantizationType.Q8_0:
            packed = gguf.quant_shape_to_byte_shape(shape, kind)
            size = math.prod(packed)
            writer.add_tensor_info(key, packed, np.dtype(np.uint8), size, kind)
        else:
            dtype = np.dtype(np.float16 if kind == gguf.GGMLQuantizationType.F16 else np.float32)
            writer.add_tensor_info(key, shape, dtype, math.prod(shape) * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for (_, _, values), kind in zip(tensors, types, strict=True):
        writer.write_tensor_data(np.ascontiguousarray(gguf.quants.quantize(values(), kind)))
    writer.close()


def _describe(writer: Any, config: Any, name: str, *, quantize: bool) -> None:
    import gguf

    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = _rope(config)
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(
        gguf.LlamaFileType.MOSTLY_Q8_0 if quantize else gguf.LlamaFileType.MOSTLY_F16
    )
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _rope(config: Any) -> dict[str, Any]:
    return getattr(config, "rope_parameters", None) or {}


def _tensors(
    model: Any, config: Any, *, rotate: Callable[[Array, int], Array]
) -> Iterator[tuple[str, tuple[int, ...], Callable[[], Array]]]:
    """Name, shape and values in float32. Raises ExportFailed."""
    import gguf

    arch = gguf.MODEL_ARCH.LLAMA
    names = gguf.get_tensor_name_map(
        next((a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == config.model_type), arch),
        config.num_hidden_layers,
    )
    if _rope(config).get("rope_type") == "llama3":
        factors = _llama3_factors(config)
        yield "rope_freqs.weight", factors.shape, lambda: factors
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stem, _, suffix = key.rpartition(".")
        name = names.get_name(stem)
        if name is None:
            raise ExportFailed(f"gguf: there is no place for the tensor {key}")
        heads = {
            "q_proj": config.num_attention_heads,
            "k_proj": config.num_key_value_heads,
        }.get(stem.rpartition(".")[2])

        def values(tensor: torch.Tensor = tensor, heads: int | None = heads) -> Array:
            array = tensor.detach().float().cpu().numpy()
            return array if heads is None else rotate(array, heads)

        yield f"{name}.{suffix}", tuple(tensor.shape), values


def _type_of(shape: tuple[int, ...], *, quantize: bool) -> Any:
    """Vectors stay exact: they are small, and llama.cpp wants them so."""
    import gguf

    if len(shape) == 1:
        return gguf.GGMLQuantizationType.F32
    if quantize and shape[-1] % BLOCK == 0:
        return gguf.GGMLQuantizationType.Q8_0
    return gguf.GGMLQuantizationType.F16


def _interleaved(weights: Array, heads: int) -> Array:
    """llama.cpp rotates neighbours, Transformers the halves of a head: the rows in its order."""
    half = weights.shape[0] // heads // 2
    apart = weights.reshape(heads, 2, half, *weights.shape[1:])
    return apart.swapaxes(1, 2).reshape(weights.shape)


def _as_it_is(weights: Array, _heads: int) -> Array:
    return weights


def _llama3_factors(config: Any) -> Array:
    """By what each rotation is slowed down in Llama 3.1 and later (`rope_type` llama3): long
    wavelengths by ``factor``, short ones not at all, those between smoothly."""
    rope = _rope(config)
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    frequencies = rope["rope_theta"] ** -(np.arange(0, dim, 2, dtype=np.float64) / dim)
    wavelengths = 2 * np.pi / frequencies
    turns = rope["original_max_position_embeddings"] / wavelengths
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return np.asarray(1 / ((1 - smooth) / factor + smooth), dtype=np.float32)
