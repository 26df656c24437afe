"""Preflight over the API, of rows that are really there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import Project, User
from registry import doctor
from registry.models import BaseModel, Dataset
from tests.factories import make_dataset, make_job, make_model, make_worker
from tests.registry.files import write_rows
from tests.training.trainer import tiny
from training import checking, token_counts
from training.models import Measurement, Recipe, Status, TokenCount
from training.preflight.corrections import FORMULAS
from training.trainer.plain_tokenizer import PlainTokenizer

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], APIClient]
WORDS = [5, 5, 5, 40]


@pytest.fixture
def body(tmp_path: Path) -> dict[str, Any]:
    """A tiny model with its tokenizer, and four rows of text of which one is long."""
    folder, rows = tmp_path / "model", tmp_path / "rows"
    tiny.make_tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    rows.mkdir()
    write_rows(rows / "train.jsonl", [{"text": "seven " * words} for words in WORDS])
    report = doctor.check(rows)
    dataset = make_dataset(
        storage_path=str(rows), statistics=report.statistics, num_samples=report.num_samples
    )
    model = make_model(
        storage_path=str(folder), hidden_size=64, num_layers=2, vocab_size=300, context_length=4096
    )
    return {
        "base_model_id": str(model.pk),
        "dataset_id": str(dataset.pk),
        "recipe_id": str(Recipe.objects.get(name="lora").pk),
        "train": {"num_train_epochs": 3, "global_batch_size": 2, "max_length": 100},
        "resources": {"gpus": 0},
    }


def lengths(body: dict[str, Any]) -> list[int]:

    folder = Path(BaseModel.objects.get(pk=body["base_model_id"]).storage_path)
    tokenizer = PlainTokenizer.load(folder)
    return [len(tokenizer.whole("seven " * words)) + 1 for words in WORDS]  # and the end token


def preflight(client: APIClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/api/experiments/preflight", body, format="json")
    assert answer.status_code == 200, answer.content
    told: dict[str, Any] = answer.json()
    return told


def test_the_rows_are_counted_with_the_models_own_tokenizer(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    told = preflight(client_of(ana), body)
    found = lengths(body)
    assert found[-1] > 100
    cut = [min(length, 100) for length in found]
    rows = told["rows"]
    assert rows["basis"] == "counted"
    assert rows["mean_tokens"] == pytest.approx(sum(cut) / 4, abs=0.05)
    assert rows["truncated_percent"] == 25
    assert rows["lost_tokens_percent"] == pytest.approx(100 * (1 - sum(cut) / sum(found)), abs=0.01)
    assert (rows["rows_per_epoch"], rows["steps"]) == (4, 6)
    assert rows["largest_micro_batch_tokens"] == 100 + found[0]
    (warned,) = [one for one in told["warnings"] if "are cut" in one]
    assert warned.startswith("25 % of the rows are longer than max_length 100 and are cut, and")
    per_row = told["throughput"]["tokens_per_second"] / told["throughput"]["samples_per_second"]
    assert per_row == pytest.approx(sum(cut) / 4, rel=0.01)
    assert told["total_time_s"] == pytest.approx(sum(told["time_breakdown_s"].values()), rel=0.01)


def test_only_the_first_preflight_counts_and_all_others_ask_as_often(
    ana: User,
    client_of: ClientOf,
    body: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: Any,
) -> None:

    client = client_of(ana)
    preflight(client, body)
    monkeypatch.setattr(token_counts, "COMMAND", ["/nonexistent"])
    with CaptureQueriesContext(connection) as queries:
        preflight(client, body)
    with django_assert_num_queries(len(queries)):
        told = preflight(client, {**body, "train": {**body["train"], "max_length": 64}})
    assert told["rows"]["basis"] == "counted"
    # session, user, model, dataset, recipe, project, count, workers with devices, measurements
    assert len(queries) == 9


def test_more_gpu_hours_than_are_left_are_told_of_and_stop_nobody(
    ana: User, client_of: ClientOf, body: dict[str, Any], project: Project
) -> None:
    make_worker(gpus=2)
    client = client_of(ana)

    def told(gpus: int) -> dict[str, Any]:
        return preflight(client, {**body, "resources": {"gpus": gpus}})

    def of_hours(report: dict[str, Any]) -> list[str]:
        return [one for one in report["warnings"] if "GPU-hours" in one]

    unlimited = told(2)
    needs = 2 * unlimited["total_time_s"] / 3600
    assert of_hours(unlimited) == []
    Project.objects.filter(pk=project.pk).update(max_gpu_hours=5)
    make_job(status=Status.COMPLETED, gpu_seconds=(5 - needs * 1.1) * 3600)
    assert of_hours(told(2)) == []
    make_job(status=Status.COMPLETED, gpu_seconds=needs * 0.2 * 3600)
    report = told(2)
    assert of_hours(report) == [
        f"This takes about {needs:.3f} GPU-hours, and of its 5 project Default has "
        f"{needs * 0.9:.3f} left. A job that runs is not stopped when they are used up, but after "
        "a pause or a failure it could not go on. Train for less, or ask for a larger quota."
    ]
    assert report["errors"] == unlimited["errors"]
    with CaptureQueriesContext(connection) as queries:
        told(2)
    assert len(queries) == 9 + 4  # what jobs, probes and models that answer have used, and hold
    assert of_hours(told(0)) == []


def test_the_body_of_a_job_is_taken_as_it_is_and_a_slip_of_the_pen_is_not(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    of_the_job = {"name": "A job", "metadata": {"origin": "template"}, "start": False}
    client = client_of(ana)
    assert preflight(client, {**body, **of_the_job}) == preflight(client, body)
    refused = client.post("/api/experiments/preflight", {**body, "trian": {}}, format="json")
    assert refused.status_code == 400
    assert "There is no such setting" in refused.json()["details"]["trian"]


def test_a_larger_model_asks_for_no_query_more(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    client = client_of(ana)
    preflight(client, body)
    asked = {}
    for layers in (2, 32, 128):
        BaseModel.objects.update(hidden_size=128 * layers, num_layers=layers)
        with CaptureQueriesContext(connection) as queries:
            preflight(client, body)
        asked[layers] = len(queries)
    assert set(asked.values()) == {9}, asked


def test_packed_rows_are_counted_as_packs(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    train = {**body["train"], "packing": True, "max_length": 2 * max(lengths(body))}
    told = preflight(client_of(ana), {**body, "train": train})["rows"]
    assert (told["rows_per_epoch"], told["steps"]) == (1, 2)
    assert told["mean_tokens"] == sum(lengths(body))


def test_columns_of_other_names_are_counted_too(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:

    dataset = Dataset.objects.get(pk=body["dataset_id"])
    rows = [{"question": "seven " * words} for words in WORDS]
    write_rows(Path(dataset.storage_path) / "train.jsonl", rows)
    dataset.statistics = {**dataset.statistics, "columns": ["question"]}
    dataset.save()
    told = preflight(client_of(ana), {**body, "columns": {"text": "question"}})["rows"]
    cut = [min(length, 100) for length in lengths(body)]
    assert told["basis"] == "counted"
    assert told["mean_tokens"] == pytest.approx(sum(cut) / 4, abs=0.05)


def test_without_a_tokenizer_four_characters_are_a_token(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:

    folder = Path(BaseModel.objects.get(pk=body["base_model_id"]).storage_path)
    (folder / "tokenizer.json").unlink()
    told = preflight(client_of(ana), body)["rows"]
    assert told["basis"] == "guessed"
    assert told["mean_tokens"] == pytest.approx((3 * 30 / 4 + 240 / 4) / 4, abs=1)
    assert told["largest_micro_batch_tokens"] == 200  # nobody knows how long the longest is


@pytest.mark.django_db(transaction=True)
def test_what_own_runs_teach_is_remembered_until_one_is_added_or_gone(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    client = client_of(ana)
    preflight(client, body)  # counts
    preflight(client, body)  # reads what was counted
    with CaptureQueriesContext(connection) as queries:
        before = preflight(client, body)["confidence"]
    asked = " ".join(query["sql"] for query in queries)
    assert before["memory_runs"] == 0
    assert 'FROM "training_measurement"' not in asked
    assert 'FROM "training_tokencount"' not in asked
    for number in range(5):
        Measurement.objects.create(
            attempt=1, name=f"run-{number}", model_name="tiny", card="cpu", method="lora",
            strategy="one", formulas=FORMULAS, steps=50, predicted_peak_mb=1000,
            measured_peak_mb=1200, predicted_step_ms=100, measured_step_ms=120,
            memory_ratio=1.2, time_ratio=1.2,
        )  # fmt: skip
    after = preflight(client, body)["confidence"]
    assert (after["memory_runs"], after["memory_factor"] > 1.1) == (5, True)
    Measurement.objects.all().delete()
    assert preflight(client, body)["confidence"] == before


@pytest.mark.django_db(transaction=True)
def test_a_count_that_has_changed_is_seen_at_once(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    client = client_of(ana)
    preflight(client, body)
    known = TokenCount.objects.get()
    TokenCount.objects.update(found={**known.found, "lengths": [[7, 4]], "begins": []})
    assert preflight(client, body)["rows"]["mean_tokens"] == 7


@pytest.mark.parametrize(
    "many", [{"train": {"report_to": ["wandb"] * 50}}, {"eval": {"suites": ["a"] * 101}}]
)
def test_lists_have_an_end(
    ana: User, client_of: ClientOf, body: dict[str, Any], many: dict[str, Any]
) -> None:
    answer = client_of(ana).post("/api/experiments/preflight", {**body, **many}, format="json")
    assert answer.status_code == 400
    assert "has no more than" in answer.json()["error"]


def test_what_is_said_twice_is_judged_once(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    told = preflight(client_of(ana), {**body, "eval": {"suites": ["no_such", "no_such"]}})
    assert len([one for one in told["errors"] if "no_such" in one]) == 1


def test_a_tokenizer_that_gguf_has_no_words_for_is_found_by_its_file(
    ana: User, client_of: ClientOf, body: dict[str, Any]
) -> None:
    asked = {**body, "export": ["gguf"]}
    model = BaseModel.objects.get(pk=body["base_model_id"])
    path = Path(model.storage_path) / "tokenizer.json"
    kind = json.loads(path.read_text(encoding="utf-8"))["model"]["type"]
    assert checking.tokenizer_kind(model) == kind
    path.write_text(json.dumps({"added_tokens": [], "model": {"type": "Unigram", "vocab": []}}))
    assert [one for one in preflight(client_of(ana), asked)["errors"] if "gguf" in one] == [
        f"ERROR: Export 'gguf' needs a BPE tokenizer; that of model '{model.name}' is of the kind "
        "Unigram. Leave gguf out."
    ]
