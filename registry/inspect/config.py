"""What a config.json says of a model."""

from __future__ import annotations

from typing import Any

from api.plain import plain_json
from registry.inspect.facts import BadModel, Inspected

# The same size under the names that different families gave it.
CONTEXT_LENGTH = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
    "n_ctx",
    "max_target_positions",
)
HIDDEN_SIZE = ("hidden_size", "n_embd", "d_model", "dim")
NUM_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")

SHORT_DTYPES = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float64": "fp64",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
}
# Told by the end of an architecture's name ("WhisperForConditionalGeneration" tells nothing) ...
TASKS = {
    "image": (
        *("ForImageClassification", "ForObjectDetection", "ForSemanticSegmentation"),
        *("ForInstanceSegmentation", "ForUniversalSegmentation", "ForImageSegmentation"),
        *("ForDepthEstimation", "ForMaskedImageModeling", "ForKeypointDetection"),
    ),
    "audio": (
        *("ForAudioClassification", "ForAudioFrameClassification", "ForCTC", "ForXVector"),
        *("ForSpeechSeq2Seq", "ForSpeechToText", "ForTextToSpeech", "ForTextToWaveform"),
    ),
    "video": ("ForVideoClassification",),
    "multimodal": ("ForImageTextToText", "ForVisualQuestionAnswering", "ForImageTextRetrieval"),
}
# ... or by the family, where that takes one kind of input only.
FAMILIES = {
    "audio": (
        *("whisper", "wav2vec2", "wav2vec2-bert", "wav2vec2-conformer", "hubert", "wavlm", "sew"),
        *("encodec", "dac", "mimi", "bark", "speecht5", "vits", "univnet", "moonshine", "csm"),
        *("seamless_m4t", "seamless_m4t_v2", "speech_to_text", "speech-encoder-decoder"),
        *("audio-spectrogram-transformer", "parakeet_ctc", "musicgen", "musicgen_melody"),
    ),
    "image": (
        *("vit", "vit_msn", "vit_mae", "vitdet", "deit", "beit", "swin", "swinv2", "convnext"),
        *("convnextv2", "resnet", "dinov2", "dinov2_with_registers", "dinov3_vit"),
        *("dinov3_convnext", "detr", "conditional_detr", "deformable_detr", "rt_detr"),
        *("rt_detr_v2", "d_fine", "yolos", "regnet", "efficientnet", "mobilenet_v1"),
        *("mobilenet_v2", "mobilevit", "mobilevitv2", "levit", "poolformer", "pvt", "pvt_v2"),
        *("bit", "segformer", "mask2former", "maskformer", "cvt", "dpt", "depth_anything"),
        *("focalnet", "hiera", "ijepa", "swiftformer", "sam", "timm_wrapper", "timm_backbone"),
        *("clip_vision_model", "siglip_vision_model", "siglip2_vision_model"),
    ),
    "video": ("videomae", "timesformer", "vivit", "vjepa2"),
    "multimodal": ("vision-encoder-decoder", "vision-text-dual-encoder", "pix2struct", "florence2"),
}
# A part of the config for each kind of input that is no text.
SENSES = (
    *("vision_config", "audio_config", "video_config", "image_config", "speech_config"),
    *("thinker_config", "vision_tower", "mm_vision_tower", "audio_encoder", "vq_config"),
)

# PostgreSQL's integer; a size above it is a mistake or an attack.
_LARGEST = 2**31 - 1


def from_config(config: Any) -> Inspected:
    """The facts in a Hugging Face config.json, given as parsed JSON. Raises BadModel."""
    if not isinstance(config, dict):
        raise BadModel("config.json must hold a JSON object.")
    try:
        config = plain_json(config)
    except ValueError as error:
        raise BadModel(f"config.json is {error}.") from error
    # A model of text and images keeps the language model's sizes in a config of its own.
    nested = [config.get(key) for key in ("text_config", "llm_config")]
    text: dict[str, Any] = next((inner for inner in nested if isinstance(inner, dict)), {})
    both = {**config, **{key: value for key, value in text.items() if value is not None}}
    quantization, quantized_dtype = _quantization(config)
    return Inspected(
        config=config,
        family=_word(config.get("model_type"), 60),
        architecture=_architecture(config),
        modality=_modality(config),
        dtype=quantized_dtype or _dtype(both),
        context_length=_size(both, CONTEXT_LENGTH),
        hidden_size=_size(both, HIDDEN_SIZE),
        num_layers=_size(both, NUM_LAYERS),
        vocab_size=_size(both, ("vocab_size", "padded_vocab_size")),
        quantization=quantization,
    )


def _size(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST:
            return value
    return None


def _word(value: Any, longest: int) -> str:
    return value if isinstance(value, str) and len(value) <= longest else ""


def _architecture(config: dict[str, Any]) -> str:
    named = config.get("architectures")
    return _word(named[0], 100) if isinstance(named, list) and named else ""


def _dtype(config: dict[str, Any]) -> str:
    named = config.get("dtype") or config.get("torch_dtype")
    word = _word(named, 30).removeprefix("torch.")
    return SHORT_DTYPES.get(word, word[:20])


def _modality(config: dict[str, Any]) -> str:
    """What the model was made for stands above what it is made of: CLIP classifies images alone."""
    family, architecture = config.get("model_type"), _architecture(config)
    for modality, endings in TASKS.items():
        if architecture.endswith(endings):
            return modality
    if any(config.get(key) for key in SENSES) or config.get("is_multimodal") is True:
        return "multimodal"
    for modality, families in FAMILIES.items():
        if family in families:
            return modality
    return "text"


def _quantization(config: dict[str, Any]) -> tuple[str | None, str]:
    """The method and the type of the packed weights, as (None, "") where nothing is packed."""
    found = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(found, dict):
        return None, ""
    method = _word(found.get("quant_method"), 40)
    if not method and (found.get("load_in_4bit") or found.get("load_in_8bit")):
        method = "bitsandbytes"
    return method or "unknown", _packed_dtype(method, found)


def _packed_dtype(method: str, found: dict[str, Any]) -> str:
    if method == "bitsandbytes":
        if found.get("load_in_8bit") is True:
            return "int8"
        return _word(found.get("bnb_4bit_quant_type"), 10) or "fp4"
    if method in ("fp8", "fbgemm_fp8"):
        return "fp8"
    if method == "mxfp4":
        return "mxfp4"
    bits = bits_of(found)
    return f"int{bits}" if bits else ""


def bits_of(found: dict[str, Any]) -> int | None:
    """Bits per packed weight in GPTQ's, AWQ's and compressed-tensors' words."""
    places: list[Any] = [found]
    groups = found.get("config_groups")
    if isinstance(groups, dict):
        places += [group.get("weights") for group in groups.values() if isinstance(group, dict)]
    for place in places:
        if isinstance(place, dict):
            for name in ("bits", "w_bit", "num_bits"):
                value = place.get(name)
                if isinstance(value, int) and not isinstance(value, bool) and value in range(1, 17):
                    return value
    return None
