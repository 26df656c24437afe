"""Images that look like photos, without being any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


def photo(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """Soft colours with some shapes before them, and noise as a camera has it."""
    chance = np.random.default_rng(seed)
    soft = Image.fromarray(chance.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    image = soft.resize((320, 240), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, width, height = (int(value) for value in chance.integers(0, 200, 4))
        colour = tuple(int(value) for value in chance.integers(0, 255, 3))
        draw.ellipse([x, y, x + width + 5, y + height + 5], fill=colour)
    noisy = np.asarray(image, np.int16) + chance.normal(0, 6, (240, 320, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).resize(size)


def save(image: Image.Image, path: Path, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return path
