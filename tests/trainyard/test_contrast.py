"""The colours of the stylesheet can be told apart, in both themes (WCAG 2.2 §1.4.3 and §1.4.11)."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from django.conf import settings

Rgb = tuple[float, float, float]

WORDS = ("ink", "quiet", "accent", "busy", "waiting", "good", "bad")
GROUNDS = ("ground", "surface", "sunken")
TONES = ("quiet", "busy", "waiting", "good", "bad")
# The share of its tone in a badge's ground, and in a notice's (trainyard.css).
TINTS = (0.11, 0.07)


def tokens() -> dict[str, tuple[Rgb, Rgb]]:
    """Each colour as (light, dark)."""
    css = (Path(settings.BASE_DIR) / "static" / "trainyard.css").read_text(encoding="utf-8")
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", css)
    return {name: (rgb(light), rgb(dark)) for name, light, dark in found}


def rgb(code: str) -> Rgb:
    red, green, blue = (int(code[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return red, green, blue


def luminance(colour: Rgb) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Rgb, other: Rgb) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(tone: Rgb, surface: Rgb, share: float) -> Rgb:
    red, green, blue = (share * t + (1 - share) * s for t, s in zip(tone, surface, strict=True))
    return red, green, blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
class TestContrast:
    @pytest.mark.parametrize(("word", "ground"), list(product(WORDS, GROUNDS)))
    def test_words_on_every_ground(self, theme: int, word: str, ground: str) -> None:
        colours = tokens()
        assert contrast(colours[word][theme], colours[ground][theme]) >= 4.5

    @pytest.mark.parametrize(("tone", "share"), list(product(TONES, TINTS)))
    def test_words_of_a_tone_on_its_tint(self, theme: int, tone: str, share: float) -> None:
        colours = tokens()
        tint = mixed(colours[tone][theme], colours["surface"][theme], share)
        for word in (tone, "ink", "quiet"):
            assert contrast(colours[word][theme], tint) >= 4.5, word

    def test_the_main_button(self, theme: int) -> None:
        colours = tokens()
        assert contrast(colours["on-accent"][theme], colours["accent"][theme]) >= 4.5

    def test_the_edge_of_a_field(self, theme: int) -> None:
        colours = tokens()
        assert contrast(colours["line-strong"][theme], colours["surface"][theme]) >= 3
