"""Small models and data for what is not the next token: preferences, labels, images."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = ("red", "green", "blue")


def preferences() -> list[dict[str, Any]]:
    """The right sum is preferred to another number."""
    return _shuffled(
        {"prompt": f"{a} plus {b} is", "chosen": f" {a + b}", "rejected": f" {a * b + 20}"}
        for a in range(10)
        for b in range(10)
    )


def judged() -> list[dict[str, Any]]:
    """Every second answer is wrong, and is said to be."""
    return _shuffled(
        {
            "prompt": f"{a} plus {b} is",
            "completion": f" {a + b + (a + b) % 2 * 20}",
            "label": (a + b) % 2 == 0,
        }
        for a in range(10)
        for b in range(10)
    )


def labelled() -> list[dict[str, Any]]:
    return _shuffled(
        {"text": f"{a} plus {b} is {a + b}", "label": "large" if a + b > 8 else "small"}
        for a in range(10)
        for b in range(10)
    )


def documents() -> list[dict[str, Any]]:
    return _shuffled({"text": f"{a} plus {b} is {a + b}"} for a in range(10) for b in range(10))


def _shuffled(rows: Any) -> list[dict[str, Any]]:
    listed = list(rows)
    random.Random(0).shuffle(listed)
    return listed


def make_images(folder: Path, images_of_each: int, *, seed: int = 0) -> Path:
    """A folder for each colour, with noisy images of it."""
    from PIL import Image

    noise = np.random.default_rng(seed)
    for channel, colour in enumerate(COLOURS):
        (folder / colour).mkdir(parents=True)
        for number in range(images_of_each):
            pixels = noise.integers(0, 120, (20, 24, 3))
            pixels[..., channel] += 80
            Image.fromarray(pixels.astype(np.uint8)).save(folder / colour / f"{number}.png")
    return folder


def make_vision_model(folder: Path) -> Path:
    """A vision transformer of two layers that tells five labels apart, none of them a colour."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=16,
        patch_size=8,
        num_labels=5,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder
