"""The part of a model that sees images, where text alone is trained: held, and never at work."""

from __future__ import annotations

from typing import Any

from training.preflight.configs import part_of, size
from training.preflight.parts import Linear, Tower


def tower_of(config: dict[str, Any], hidden: int) -> Tower | None:
    """Of a model whose text part has this hidden size; None where no such tower is known.

    Gemma 3: SigLIP without its pooling head, a norm, and a matrix into the text's hidden size
    (modeling_gemma3.py, modeling_siglip.py).
    """
    vision = part_of(config, "vision_config")
    if config.get("model_type") != "gemma3" or vision is None:
        return None
    if vision.get("vision_use_head") is not False:
        return None
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers", "image_size", "patch_size")
    width, inner, layers, image, patch = (size(vision, name) or 1 for name in sizes)
    channels = size(vision, "num_channels") or 1
    attention = [
        Linear(name=name, inputs=width, outputs=width, bias=True, reads="attention_input")
        for name in ("q_proj", "k_proj", "v_proj", "out_proj")
    ]
    linears = (
        *attention,
        Linear(name="fc1", inputs=width, outputs=inner, bias=True, reads="mlp_input"),
        Linear(name="fc2", inputs=inner, outputs=width, bias=True, reads="mlp_inner"),
    )
    norms = 2 * 2 * width
    embeddings = channels * patch**2 * width + width + (image // patch) ** 2 * width
    projector = width * hidden + width
    return Tower(
        num_layers=layers,
        linears=linears,
        params=layers * (sum(one.params for one in linears) + norms)
        + embeddings
        + 2 * width
        + projector,
    )
