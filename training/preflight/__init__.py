"""Preflight: will it work, what will it need, how long will it take, what should be changed.

Pure functions over plain facts; no Django, no torch. ``check`` is the way in.
"""

from training.preflight.corrections import NO_RUNS, Correction, Corrections, Kind, Run, kind_of
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
from training.preflight.lengths import Lengths
from training.preflight.memory import MemoryEstimate
from training.preflight.report import Confidence, Report
from training.preflight.verdict import check, smaller
from training.trainer.spec import LoraSpec, TrainSpec

__all__ = [
    "NO_RUNS",
    "CardFacts",
    "Confidence",
    "Correction",
    "Corrections",
    "DatasetFacts",
    "Experiment",
    "Fix",
    "Kind",
    "Lengths",
    "LoraSpec",
    "MemoryEstimate",
    "ModelFacts",
    "RecipeFacts",
    "Report",
    "Resources",
    "Run",
    "Stack",
    "SuiteFacts",
    "TrainSpec",
    "check",
    "kind_of",
    "smaller",
]
