"""The steps of the wizard, in order, and which names each of them asks for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """``asks``: beginnings of the API's dotted names. ``live``: shows what fits as one types."""

    name: str
    label: str
    title: str
    asks: tuple[str, ...] = ()
    live: bool = False


STEPS = (
    Step("model", "Base model", "Which model do you start from?", ("base_model_id",)),
    Step("data", "Dataset", "What should it learn from?", ("dataset_id", "columns.")),
    Step("style", "Training style", "How should it learn?", ("recipe_id",), live=True),
    Step("settings", "Hyperparameters", "How long, and how fast?", ("train.", "lora."), live=True),
    Step(
        "resources",
        "Resources",
        "Where should it run?",
        ("resources.", "eval.", "export"),
        live=True,
    ),
    Step("preflight", "Preflight", "Will it work?"),
    Step("review", "Review", "Is this the job you want?", ("name", "project_id", "start")),
)
NAMES = tuple(step.name for step in STEPS)
BY_NAME = {step.name: step for step in STEPS}


def step_of(path: str) -> str:
    """The step that asks for this name."""
    return next(step.name for step in STEPS if path.startswith(step.asks))


def is_later(step: str, than: str) -> bool:
    return NAMES.index(step) > NAMES.index(than)


def after(step: str) -> str:
    return NAMES[min(NAMES.index(step) + 1, len(NAMES) - 1)]
