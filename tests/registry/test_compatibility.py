from __future__ import annotations

from typing import Any

import pytest

from registry.compatibility import compatibility
from registry.models import BaseModel, Dataset

SPLITS = {"splits": ["train", "validation"], "rows": {"train": 8, "validation": 2}}


def dataset(**fields: Any) -> Dataset:
    whole = {
        "name": "dates",
        "num_samples": 10,
        "integrity_checked": True,
        "integrity_passed": True,
        "statistics": {**SPLITS, "row_format": "prompt_completion", **fields.pop("stats", {})},
        **fields,
    }
    return Dataset(**whole)


def model(**fields: Any) -> BaseModel:
    return BaseModel(**{"name": "tiny", "context_length": 100, **fields})


def test_what_fits_together_has_neither_errors_nor_warnings():
    assert compatibility(dataset(), model()) == {"compatible": True, "warnings": [], "errors": []}


@pytest.mark.parametrize(
    ("fields", "of_model", "says"),
    [
        ({"modality": "image"}, {}, "holds image"),
        ({}, {"modality": "audio"}, "takes audio"),
        ({"integrity_passed": False}, {}, "failed integrity check"),
        ({"num_samples": 0}, {}, "no usable rows"),
        ({"stats": {"splits": ["test"], "rows": {"test": 3}}}, {}, "no train split"),
        ({"stats": {"rows": {"train": 0, "validation": 2}}}, {}, "train split has no usable rows"),
        (
            {"stats": {"row_format": "messages"}},
            {"metadata": {"inspection": {"has_chat_template": False}}},
            "no chat template",
        ),
        (
            {"stats": {"row_format": "conversation"}},
            {"metadata": {"inspection": {"has_chat_template": False}}},
            "no chat template",
        ),
    ],
)
def test_what_cannot_work_is_an_error(fields: Any, of_model: Any, says: str):
    found = compatibility(dataset(**fields), model(**of_model))
    assert not found["compatible"]
    assert len(found["errors"]) == 1
    assert says in found["errors"][0]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"integrity_checked": False, "integrity_passed": False, "stats": {}}, "not been checked"),
        (
            {"stats": {"mean_characters": 900.0, "max_characters": 1000}},
            "most of them will not fit",
        ),
        ({"stats": {"mean_characters": 9.0, "max_characters": 1000}}, "longest row has 1,000"),
        ({"stats": {"splits": ["train"], "rows": {"train": 8}}}, "no validation split"),
    ],
)
def test_what_costs_something_is_a_warning(fields: Any, says: str):
    found = compatibility(dataset(**fields), model())
    assert found["compatible"]
    assert len(found["warnings"]) == 1
    assert says in found["warnings"][0]


def test_a_model_of_several_senses_takes_text():
    assert compatibility(dataset(), model(modality="multimodal"))["compatible"]


def test_a_chat_template_nobody_has_looked_for_is_no_error():
    assert compatibility(dataset(stats={"row_format": "messages"}), model())["compatible"]


@pytest.mark.django_db
def test_it_asks_the_database_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        compatibility(dataset(), model())
