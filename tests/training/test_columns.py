"""The columns of a dataset may have other names than the fields of a row: the job says which."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from registry.models import Dataset
from tests.factories import make_dataset, make_experiment, make_job, make_model
from training import run_plan
from training.models import Experiment, Recipe

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
ClientOf = Callable[[User], APIClient]

COLUMNS = {"prompt": "article", "completion": "summary"}


def plan(body: dict[str, Any]) -> dict[str, Any]:
    """What of a job's body is judged."""
    return {key: value for key, value in body.items() if key not in ("name", "start")}


@pytest.fixture
def body(home: Path, project: Any) -> dict[str, Any]:
    folder = home / "models" / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    model = make_model(storage_path=str(folder), hidden_size=64, num_layers=2, vocab_size=400)
    dataset = make_dataset(
        statistics={
            "splits": ["train"],
            "rows": {"train": 20_000},
            "row_format": "preference",  # under the names in the files
            "columns": ["article", "summary", "chosen", "rejected"],
        }
    )
    return {
        "name": "Summaries",
        "base_model_id": str(model.pk),
        "dataset_id": str(dataset.pk),
        "recipe_id": str(Recipe.objects.get(name="full").pk),
        "columns": COLUMNS,
        "train": {"max_steps": 10},
    }


def test_a_job_keeps_its_columns_and_shows_them(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    answer = client_of(ana).post("/api/jobs", body, format="json")
    assert answer.status_code == 201, answer.json()
    assert answer.json()["columns"] == answer.json()["experiment"]["columns"] == COLUMNS
    assert Experiment.objects.get().columns == COLUMNS


def test_a_job_without_them_has_none(ana: User, client_of: ClientOf, body: dict[str, Any]) -> None:
    del body["columns"]
    refused = client_of(ana).post("/api/jobs", body, format="json")
    assert refused.status_code == 400  # its rows are preferences as they stand
    Recipe.objects.filter(pk=body["recipe_id"]).update(method="dpo")
    answer = client_of(ana).post("/api/jobs", body, format="json")
    assert answer.status_code == 201, answer.json()
    assert answer.json()["columns"] == {}


def test_what_the_doctor_found_holds_unless_the_job_says_otherwise(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    facts = {"splits": ["train"], "rows": {"train": 20_000}, "row_format": "prompt_completion"}
    facts["columns"] = ["article", "summary", "title"]
    Dataset.objects.update(columns=COLUMNS, statistics=facts)
    del body["columns"]
    client = client_of(ana)
    assert client.post("/api/jobs", body, format="json").json()["columns"] == COLUMNS
    # Of what kind the rows are is known under these columns, and under no others.
    dpo = {**body, "recipe_id": str(Recipe.objects.get(name="dpo").pk)}
    errors = client.post("/api/experiments/preflight", plan(dpo), format="json").json()["errors"]
    assert any("learns from chosen and rejected answers" in error for error in errors)
    other = {**dpo, "columns": {"chosen": "summary", "rejected": "title"}}
    report = client.post("/api/experiments/preflight", plan(other), format="json").json()
    assert not any("learns from" in error for error in report["errors"])
    assert any("has not been checked under these columns" in one for one in report["warnings"])


def test_columns_help_a_dataset_that_failed_under_others(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    facts = {"splits": ["train"], "rows": {"train": 0}, "rows_read": 300, "row_format": ""}
    facts["columns"] = ["article", "summary"]
    Dataset.objects.update(integrity_passed=False, num_samples=0, statistics=facts)
    client = client_of(ana)
    report = client.post("/api/experiments/preflight", plan(body), format="json").json()
    assert not any("Dataset" in error for error in report["errors"]), report["errors"]
    assert any("Dataset is small (300 samples)" in one for one in report["warnings"])
    del body["columns"]
    report = client.post("/api/experiments/preflight", plan(body), format="json").json()
    assert any("Dataset failed integrity check" in error for error in report["errors"])


def test_a_column_that_does_not_exist_is_an_error(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    body["columns"] = {"prompt": "question", "completion": "summary"}
    report = client_of(ana).post("/api/experiments/preflight", plan(body), format="json").json()
    assert [error for error in report["errors"] if "columns" in error] == [
        f"ERROR: columns: prompt is to be read from the column question, which dataset "
        f"'{Dataset.objects.get(pk=body['dataset_id']).name}' has not. "
        "Its columns: article, summary, chosen, rejected."
    ]


@pytest.mark.parametrize(
    ("columns", "field", "says"),
    [
        ({"question": "prompt"}, "columns.question", "There is no such setting. There are:"),
        ({"prompt": ""}, "columns.prompt", "may not be blank"),
        ({"prompt": ["a"]}, "columns.prompt", "Not a valid string"),
        ("prompt", "columns", "Invalid data"),
    ],
)
def test_what_cannot_be_is_refused(
    ana: User, client_of: ClientOf, body: dict[str, Any], columns: Any, field: str, says: str
) -> None:
    answer = client_of(ana).post("/api/jobs", {**body, "columns": columns}, format="json")
    assert answer.status_code == 400
    details = answer.json()["details"]
    assert says in next(text for name, text in details.items() if name.startswith(field))


def test_the_trainer_is_told_and_where_to_keep_the_rows(home: Path, settings: Any) -> None:
    settings.TRAINYARD_TOKEN_CACHE_GB = 7
    rows = home / "datasets" / "rows"
    rows.mkdir()
    (rows / "train.jsonl").write_text('{"article": "x", "summary": "y"}\n', encoding="utf-8")
    experiment = make_experiment(dataset=make_dataset(storage_path=str(rows)), columns=COLUMNS)
    plan = run_plan.plan_of(make_job(experiment=experiment))
    assert plan.dataset.columns == COLUMNS
    assert (plan.cache_dir, plan.cache_limit_gb) == (str(settings.TRAINYARD_TOKEN_CACHE), 7)
