"""Defaults that follow from the model, the data and the machines, each with its reason.

They are only suggested where the recipe says nothing, and are written into the job like anything
else that was said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from registry.models import BaseModel, Dataset
from training.models import Device, Recipe
from training.preflight.hardware import find_card
from training.trainer import spec

# English has about four characters a token; code, numbers and other scripts come down to two.
FEWEST_CHARACTERS_PER_TOKEN = 2
# For the marks that a chat template puts around the turns.
TOKENS_OF_A_TEMPLATE = 32
SHORTEST_ROW_TOKENS = 64


@dataclass(frozen=True)
class Suggestion:
    value: Any
    why: str


def suggestions(
    model: BaseModel,
    dataset: Dataset,
    recipe: Recipe,
    resources: dict[str, Any],
    cards: list[Device],
) -> dict[str, Suggestion]:
    """By dotted name. ``cards`` are the GPUs of the partition."""
    found = {}
    if length := _row_length(model, dataset, recipe):
        found["train.max_length"] = length
    card = _card(resources, cards)
    if card is not None and card.has_bf16:
        found["resources.mixed_precision"] = Suggestion(
            "bf16", f"The {card.slug} computes in bfloat16 several times as fast."
        )
        adapts = spec.uses_adapter(
            recipe.method, spec.TrainSpec(use_peft=_says(recipe, "use_peft") or False)
        )
        if adapts and _says(recipe, "dtype") is None:
            found["train.dtype"] = Suggestion(
                "bfloat16", "The weights stay as they are beside the adapter: half the memory."
            )
    return found


def _says(recipe: Recipe, name: str) -> Any:
    return recipe.defaults.get("train", {}).get(name)


def _row_length(model: BaseModel, dataset: Dataset, recipe: Recipe) -> Suggestion | None:
    """Shorter than usual where every row is: memory and time are those of the longest."""
    longest = dataset.statistics.get("max_characters")
    fixed = recipe.method in ("pretrain", "image_classification") or _says(recipe, "packing")
    if not longest or fixed or _says(recipe, "max_length") is not None:
        return None
    tokens = longest // FEWEST_CHARACTERS_PER_TOKEN + TOKENS_OF_A_TEMPLATE
    power = max(SHORTEST_ROW_TOKENS, 1 << (tokens - 1).bit_length())
    if power >= min(spec.TrainSpec.max_length, model.context_length or spec.TrainSpec.max_length):
        return None
    return Suggestion(power, f"The longest row has {longest:,} characters.")


def _card(resources: dict[str, Any], cards: list[Device]) -> Any:
    """The card that the job would run on; None on the CPU."""
    if not resources.get("gpus"):
        return None
    name = resources.get("gpu_type") or next((card.gpu_type for card in cards), "")
    return find_card(name) if name else None
