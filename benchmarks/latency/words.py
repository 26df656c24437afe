"""The words of the rows, the same ones for both sides."""

from __future__ import annotations

import random
from dataclasses import dataclass

FAMILIES = ("llama", "mistral", "qwen", "gemma", "phi", "falcon", "gpt", "bert", "whisper", "vit")
PURPOSES = ("chat", "code", "summary", "translation", "retrieval", "vision", "speech", "maths")
# In one name of each table.
RARE = "nightingale"


@dataclass(frozen=True)
class Words:
    name: str
    family: str
    purpose: str
    description: str


def base_model_words(number: int, count: int) -> Words:
    choose = random.Random(number)
    family, purpose = choose.choice(FAMILIES), choose.choice(PURPOSES)
    name = f"{family}-{choose.choice((1, 3, 7, 13, 70))}b-{purpose}-{number}"
    return Words(
        name=f"{name}-{RARE}" if number == count // 3 else name,
        family=family,
        purpose=purpose,
        description=f"A {family} model for {purpose}, release {number} of team {number % 97}.",
    )
