"""What a run can learn: one module each. `build` chooses by the run's method."""

from __future__ import annotations

from typing import Any

from training.trainer.objectives.base import Judged, Objective
from training.trainer.objectives.classification import ImageClassification, TextClassification
from training.trainer.objectives.language import Language
from training.trainer.objectives.preference import Dpo, Kto, Orpo
from training.trainer.objectives.pretraining import Pretraining
from training.trainer.spec import RunSpec

__all__ = ["Judged", "Objective", "build"]

OBJECTIVES: dict[str, type[Objective[Any, Any]]] = {
    "full": Language,
    "lora": Language,
    "qlora": Language,
    "pretrain": Pretraining,
    "dpo": Dpo,
    "orpo": Orpo,
    "kto": Kto,
    "text_classification": TextClassification,
    "image_classification": ImageClassification,
}


def build(spec: RunSpec) -> Objective[Any, Any]:
    """Raises BadModel where what the objective needs beside the weights cannot be loaded."""
    return OBJECTIVES[spec.method](spec)
