"""What the tests of sentences have in common: they are compared to the letter."""

from __future__ import annotations

from typing import Any

from tests.training.preflight.experiments import make_experiment
from training.preflight import check

GPTQ = {"name": "Llama-2-7B-GPTQ", "dtype": "int4", "quantized": True, "quantization": "gptq"}
DPO: dict[str, Any] = {
    "recipe": {"name": "DPO", "method": "dpo"},
    "dataset": {"row_format": "preference"},
}
LABELS: dict[str, Any] = {
    "recipe": {"name": "Labels", "method": "text_classification"},
    "dataset": {"row_format": "labelled"},
}


def stands_in_the_way(sentence: str, **changes: Any) -> None:
    report = check(make_experiment(**changes))
    assert "ERROR: " + sentence in report.errors
    assert not report.ok
    assert len(report.errors) == len(set(report.errors))


def is_worth_knowing(sentence: str, **changes: Any) -> None:
    report = check(make_experiment(**changes))
    assert sentence in report.warnings
    assert report.ok, report.errors
