"""POST with an Idempotency-Key: sent again, it is not done again."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, connections
from django.utils import timezone
from rest_framework.test import APIClient
from rest_framework.views import APIView

from accounts import idempotency
from accounts.models import IdempotencyKey, User
from accounts.tasks import forget_old_keys
from activity.models import Activity
from registry.models import BaseModel, Dataset
from tests.factories import make_dataset, make_model
from tests.registry.files import write_rows
from training import checking, services
from training.models import Experiment, Job, Recipe
from trainyard.celery import app

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], APIClient]
ROWS = b'{"prompt": "1 May", "completion": "05-01"}\n' * 4


@pytest.fixture
def client(client_of: ClientOf, ana: User) -> APIClient:
    return client_of(ana)


def job_body(home: Path) -> dict[str, Any]:
    folder = home / "models" / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    shape: dict[str, Any] = {
        "hidden_size": 64,
        "num_layers": 2,
        "vocab_size": 400,
        "stage": "production",
    }
    statistics = {
        "splits": ["train"],
        "rows": {"train": 20_000},
        "row_format": "prompt_completion",
        "mean_characters": 80.0,
    }
    return {
        "name": "once",
        "base_model_id": str(make_model(storage_path=str(folder), **shape).pk),
        "dataset_id": str(make_dataset(statistics=statistics).pk),
        "recipe_id": str(Recipe.objects.get(name="full").pk),
        "train": {"max_steps": 10, "global_batch_size": 8, "max_length": 128},
        "resources": {"gpus": 0},
        "start": False,
    }


def dataset_body(home: Path) -> dict[str, Any]:
    write_rows(home / "datasets" / "dates" / "train.jsonl", [{"text": "a row"}])
    return {"name": "once", "storage_path": "dates"}


def model_body(home: Path) -> dict[str, Any]:
    return {"name": "once", "params_b": 7.0}


# path -> the body of a request that creates something, and of what
CREATE: dict[str, tuple[Callable[[Path], dict[str, Any]], Any]] = {
    "/api/jobs": (job_body, Job),
    "/api/datasets": (dataset_body, Dataset),
    "/api/base-models": (model_body, BaseModel),
}
every_path = pytest.mark.parametrize("path", CREATE)


def post(client: APIClient, path: str, body: Any, key: str = "once", **extra: Any) -> Any:
    headers = {"Idempotency-Key": key}
    return client.post(path, body, headers=headers, **{"format": "json", **extra})


def was_replayed(answer: Any) -> bool:
    return bool(answer.headers.get("Idempotent-Replayed") == "true")


def let_the_lease_run_out() -> None:
    IdempotencyKey.objects.update(claimed_at=timezone.now() - 2 * idempotency.LEASE)


@every_path
def test_sent_again_it_gets_the_same_answer(client: APIClient, home: Path, path: str) -> None:
    make, model = CREATE[path]
    body = make(home)
    before = model.objects.count()
    first, second = post(client, path, body), post(client, path, body)
    assert (first.status_code, second.status_code) == (201, 201), first.content
    assert second.content == first.content
    assert (was_replayed(first), was_replayed(second)) == (False, True)
    assert second["Content-Type"] == first["Content-Type"] == "application/json"
    assert model.objects.count() == before + 1
    assert Activity.objects.count() == 1


def test_without_a_key_everything_is_done(client: APIClient, home: Path) -> None:
    for _ in range(2):
        assert client.post("/api/base-models", model_body(home), format="json").status_code == 201
    assert BaseModel.objects.count() == 2
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("again", ['"a-key"', "a-key"])
def test_a_key_is_the_same_with_quotes_and_without(
    client: APIClient, home: Path, again: str
) -> None:
    post(client, "/api/base-models", model_body(home), '"a-key"')
    assert was_replayed(post(client, "/api/base-models", model_body(home), again))


def test_the_order_of_fields_does_not_count(client: APIClient, home: Path) -> None:
    body = model_body(home)
    post(client, "/api/base-models", body)
    assert was_replayed(post(client, "/api/base-models", dict(reversed(body.items()))))


def test_another_body_or_path_needs_another_key(client: APIClient, home: Path) -> None:
    body = model_body(home)
    post(client, "/api/base-models", body)
    other = post(client, "/api/base-models", {**body, "params_b": 8})
    assert (other.status_code, other.json()) == (
        422,
        {
            "error": "The Idempotency-Key 'once' was sent with another body before. "
            "Another request needs another key."
        },
    )
    elsewhere = post(client, "/api/datasets", body)
    assert elsewhere.status_code == 422
    assert "POST /api/base-models" in elsewhere.json()["error"]
    assert BaseModel.objects.count() == 1


def test_keys_of_others_are_not_ones_own(
    client: APIClient, bob: User, client_of: ClientOf, home: Path
) -> None:
    first = post(client, "/api/base-models", model_body(home))
    second = post(client_of(bob), "/api/base-models", model_body(home))
    assert second.status_code == 201
    assert second.json()["id"] != first.json()["id"]


@pytest.mark.parametrize(
    "key", ["", "two words", '"open', '"a"b', "a,b", "é", "x" * 256, '""', "tab\tbed"]
)
def test_what_is_no_key_is_refused(client: APIClient, home: Path, key: str) -> None:
    answer = post(client, "/api/base-models", model_body(home), key)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Idempotency-Key: one key of at most 255")
    assert not BaseModel.objects.exists()


@every_path
def test_what_was_refused_can_be_put_right(client: APIClient, home: Path, path: str) -> None:
    make, model = CREATE[path]
    body = make(home)
    before = model.objects.count()
    assert post(client, path, {**body, "name": ""}).status_code == 400
    answer = post(client, path, body)
    assert (answer.status_code, was_replayed(answer)) == (201, False)
    assert model.objects.count() == before + 1


def test_a_failure_of_ours_can_be_tried_again(
    client: APIClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = job_body(home)
    client.raise_request_exception = False
    with monkeypatch.context() as broken:
        broken.setattr(services, "record", lambda *args, **kwargs: 1 / 0)
        assert post(client, "/api/jobs", body).status_code == 500
    assert not Job.objects.exists()
    assert not IdempotencyKey.objects.exists()
    assert post(client, "/api/jobs", body).status_code == 201


def test_a_viewer_leaves_no_key(viewer: User, client_of: ClientOf, home: Path) -> None:
    assert post(client_of(viewer), "/api/base-models", model_body(home)).status_code == 403
    assert not IdempotencyKey.objects.exists()


# --- Uploads -------------------------------------------------------------------------------------


def upload(client: APIClient, content: bytes = ROWS, name: str = "train.jsonl") -> Any:
    body = {"name": "once", "file": SimpleUploadedFile(name, content)}
    return post(client, "/api/datasets", body, format="multipart")


def test_an_upload_is_taken_once(client: APIClient, home: Path) -> None:
    first, second = upload(client), upload(client)
    assert (first.status_code, second.status_code) == (201, 201), first.content
    assert second.content == first.content
    assert was_replayed(second)
    assert Dataset.objects.count() == 1
    assert [path.name for path in (home / "datasets").iterdir() if path.is_dir()] == [
        first.json()["id"]
    ]
    assert list((home / "uploads").iterdir()) == []


def test_another_file_needs_another_key(client: APIClient, home: Path) -> None:
    upload(client)
    assert upload(client, ROWS + ROWS).status_code == 422
    assert upload(client, name="test.jsonl").status_code == 422
    assert Dataset.objects.count() == 1
    assert list((home / "uploads").iterdir()) == []


# --- At the same time ----------------------------------------------------------------------------


@every_path
@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_is_done(ana: User, client_of: ClientOf, home: Path, path: str) -> None:
    make, model = CREATE[path]
    body = make(home)
    before = model.objects.count()
    gate, answers = threading.Barrier(6), []

    def send() -> None:
        client = client_of(ana)
        gate.wait()
        try:
            answers.append(post(client, path, body))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert model.objects.count() == before + 1
    done = [answer for answer in answers if answer.status_code == 201]
    assert len([answer for answer in done if not was_replayed(answer)]) == 1
    assert len({answer.content for answer in done}) == 1
    waits = [answer for answer in answers if answer.status_code == 409]
    assert len(done) + len(waits) == 6
    assert {answer["Retry-After"] for answer in waits} <= {"1"}
    assert post(client_of(ana), path, body).content == done[0].content


def test_whoever_is_slow_gets_the_answer_of_who_was_quick(
    client: APIClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one's lease runs out while it still works, and the second is done before it."""
    body, check, quick = job_body(home), checking.check, []

    def slowly(plan: Any) -> Any:
        monkeypatch.setattr(checking, "check", check)
        let_the_lease_run_out()
        quick.append(post(client, "/api/jobs", body))
        return check(plan)

    monkeypatch.setattr(checking, "check", slowly)
    slow = post(client, "/api/jobs", body)
    assert (quick[0].status_code, was_replayed(quick[0])) == (201, False)
    assert (slow.status_code, was_replayed(slow)) == (201, True)
    assert slow.content == quick[0].content
    assert (Job.objects.count(), Experiment.objects.count()) == (1, 1)


def test_whoever_lost_the_key_creates_nothing(
    client: APIClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, check = job_body(home), checking.check

    def meanwhile(plan: Any) -> Any:
        IdempotencyKey.objects.all().delete()  # as who took it over, and was refused
        return check(plan)

    monkeypatch.setattr(checking, "check", meanwhile)
    assert post(client, "/api/jobs", body).status_code == 409
    assert not Job.objects.exists()


# --- A server that is killed ---------------------------------------------------------------------


def killed_while_answering(client: APIClient, body: Any, owner: Any, step: str) -> None:
    """Send a job to another process, which is gone when it comes to that step."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            setattr(owner, step, lambda *args, **kwargs: os._exit(9))
            post(client, "/api/jobs", body)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.django_db(transaction=True)
def test_killed_before_the_commit_it_is_done_when_the_lease_is_over(
    client: APIClient, home: Path
) -> None:
    body = job_body(home)
    killed_while_answering(client, body, services, "record")
    assert not Job.objects.exists()
    answer = post(client, "/api/jobs", body)
    assert (answer.status_code, answer["Retry-After"]) == (409, "1")
    let_the_lease_run_out()
    assert post(client, "/api/jobs", body).status_code == 201
    assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_killed_after_the_commit_it_has_been_done(client: APIClient, home: Path) -> None:
    body = job_body(home)
    killed_while_answering(client, body, APIView, "finalize_response")
    job = Job.objects.get()
    answer = post(client, "/api/jobs", body)
    assert (answer.status_code, was_replayed(answer)) == (201, True)
    assert answer.json()["id"] == str(job.pk)
    assert Job.objects.count() == 1


# --- Forgetting ----------------------------------------------------------------------------------


def test_a_key_is_forgotten_after_a_day(client: APIClient, home: Path) -> None:
    for hours, key in ((25, "old"), (23, "young")):
        post(client, "/api/base-models", model_body(home), key)
        long_ago = timezone.now() - timedelta(hours=hours)
        IdempotencyKey.objects.filter(key=key).update(created_at=long_ago)
    forget_old_keys()
    assert IdempotencyKey.objects.get().key == "young"
    assert was_replayed(post(client, "/api/base-models", model_body(home), "young"))
    assert not was_replayed(post(client, "/api/base-models", model_body(home), "old"))


def test_the_clock_knows_its_tasks() -> None:
    app.loader.import_default_modules()
    planned = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert "accounts.forget_old_keys" in planned
    assert planned <= set(app.tasks)
