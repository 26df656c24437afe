"""How the weights are packed, told by the names and types of their tensors."""

from __future__ import annotations

from collections.abc import Iterator

from registry.inspect.facts import ERROR, Finding
from registry.inspect.safetensors_header import Tensor

# What each method calls its parts. Of those that share a name (GPTQ and AWQ), the config tells.
PACKED_BY = {
    "gptq": (".qweight",),
    "awq": (".qweight",),
    "compressed-tensors": (".weight_packed", ".weight_scale"),
    "bitsandbytes": (".absmax", ".SCB"),
    "fp8": (".weight_scale_inv", ".weight_scale"),
    "fbgemm_fp8": (".weight_scale",),
    "mxfp4": ("_blocks",),
}


def method_of(tensors: dict[str, Tensor]) -> tuple[str | None, str]:
    """The method and the type of the packed weights, as (None, "") where nothing is packed."""
    names = set(tensors)
    if any(name.endswith(".qweight") for name in names):
        # GPTQ may reorder its groups and says how; AWQ never does.
        return ("gptq" if any(name.endswith(".g_idx") for name in names) else "awq"), "int4"
    for four_bit in ("nf4", "fp4"):
        if any(name.endswith(f"bitsandbytes__{four_bit}") for name in names):
            return "bitsandbytes", four_bit
    if any(name.endswith(".SCB") for name in names):
        return "bitsandbytes", "int8"
    if any(name.endswith(".weight_packed") for name in names):
        return "compressed-tensors", ""
    if any(name.endswith(".weight_scale_inv") for name in names):
        return "fp8", "fp8"
    return None, ""


def disagreements(said: str | None, tensors: dict[str, Tensor]) -> Iterator[Finding]:
    """Where config.json and the weights tell different things."""
    seen, _ = method_of(tensors)
    if said is None and seen is not None:
        yield Finding(
            code="quantization_not_in_config",
            message=f"The weights are packed by {seen}, but config.json has no quantization_config "
            "that says so: Transformers would not unpack them.",
            fix="Take a version of the model whose config.json has one, or add it from the "
            "quantize_config.json or quant_config.json beside the weights.",
            level=ERROR,
            file="config.json",
        )
    parts = PACKED_BY.get(said or "")
    if parts and not any(name.endswith(parts) for name in tensors):
        yield Finding(
            code="weights_are_not_packed",
            message=f"config.json says that the weights are quantized by {said}, but none of the "
            "tensors is packed like that.",
            fix="Take quantization_config out of config.json if these are the original weights.",
            level=ERROR,
            file="config.json",
        )
