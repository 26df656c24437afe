"""Preflight: will it work, what will it need, how long will it take, what should be changed.

Pure functions over plain facts; no Django, no torch. ``check`` is the way in.
"""

from training.preflight.facts import (
    CardFacts,
    DatasetFacts,
    Experiment,
    ModelFacts,
    RecipeFacts,
    Resources,
    Stack,
    SuiteFacts,
)
from training.preflight.fixes import Fix
from training.preflight.memory import MemoryEstimate
from training.preflight.report import Confidence, Report
from training.preflight.verdict import check
from training.trainer.spec import LoraSpec, TrainSpec

__all__ = [
    "CardFacts",
    "Confidence",
    "DatasetFacts",
    "Experiment",
    "Fix",
    "LoraSpec",
    "MemoryEstimate",
    "ModelFacts",
    "RecipeFacts",
    "Report",
    "Resources",
    "Stack",
    "SuiteFacts",
    "TrainSpec",
    "check",
]
