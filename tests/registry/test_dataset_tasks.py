"""What takes the doctor longer than a request may: it is asked for, done once, and never lost."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from activity.models import Activity
from registry import checks, treatment
from registry.doctor import orders
from registry.models import Dataset, DatasetTask
from tests.factories import make_dataset
from tests.pages import Page
from tests.registry.conftest import pair
from tests.registry.files import write_rows

pytestmark = pytest.mark.django_db
WAITING, RUNNING = DatasetTask.Status.WAITING, DatasetTask.Status.RUNNING
DONE, FAILED = DatasetTask.Status.DONE, DatasetTask.Status.FAILED
QUERIES_OF_A_PAGE = 8


@pytest.fixture
def large(settings: Any) -> None:
    """Everything is."""
    settings.TRAINYARD_CHECK_AT_ONCE_MB = 0


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    messages: list[Any] = []
    monkeypatch.setattr(
        current_app._get_current_object(),
        "send_task",
        lambda name, args=(), **options: messages.append((name, *args)),
    )
    return messages


@pytest.fixture
def client(client_of: Any, ana: Any) -> APIClient:
    made: APIClient = client_of(ana)
    return made


@pytest.fixture
def registered(client: APIClient, large: None, rows: Path) -> Dataset:
    given = {"name": "dates", "storage_path": "dates"}
    body = client.post("/api/datasets", given, format="json").json()
    return Dataset.objects.get(pk=body["id"])


def make_task(**fields: Any) -> DatasetTask:
    return DatasetTask.objects.create(
        **{"dataset": fields.pop("dataset", None) or make_dataset(), "kind": "check", **fields}
    )


def test_a_large_dataset_is_there_at_once_and_checked_by_a_worker(
    client, large, rows, sent, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        given = {"name": "dates", "storage_path": "dates"}
        body = client.post("/api/datasets", given, format="json").json()
    assert (body["integrity_checked"], body["num_samples"], body["checksum"]) == (False, None, "")
    assert body["size_bytes"] > 0
    [task] = client.get(f"/api/datasets/{body['id']}/tasks").json()["tasks"]
    assert (task["kind"], task["status"]) == ("check", "waiting")
    assert (checks.WORK, task["id"]) in sent
    page = Page(client.get(f"/datasets/{body['id']}"))
    assert "Being checked" in page.words
    assert "Waiting for a worker" in page.words
    assert "Being checked" in Page(client.get("/datasets")).words
    treatment.work(task["id"])
    done = client.get(f"/api/datasets/{body['id']}").json()
    assert (done["integrity_passed"], done["num_samples"]) == (True, 10)
    assert len(done["checksum"]) == 64
    assert json.loads(Path(done["manifest_path"]).read_text().splitlines()[0])["file"]
    [task] = client.get(f"/api/datasets/{body['id']}/tasks").json()["tasks"]
    assert (task["status"], task["percent"], task["finished_at"] is None) == ("done", 100, False)
    told = [(one.title, one.metadata.get("action")) for one in Activity.objects.order_by("cursor")]
    assert told == [
        ("Dataset registered: dates", None),
        ("Dataset checked: dates", "checked"),
    ]


def test_an_upload_is_checked_by_a_worker_too(client, large, home):
    from tests.registry.test_uploads import upload

    body = upload(client).json()
    assert not body["integrity_checked"]
    treatment.work(str(DatasetTask.objects.get().pk))
    assert client.get(f"/api/datasets/{body['id']}").json()["integrity_passed"]


def test_who_asks_again_gets_the_check_that_is_open(client, registered):
    answer = client.post(f"/api/datasets/{registered.pk}/check", {}, format="json")
    assert answer.status_code == 202
    assert DatasetTask.objects.count() == 1


def test_a_second_message_changes_nothing(registered):
    task = DatasetTask.objects.get()
    DatasetTask.objects.update(status=RUNNING)
    treatment.work(str(task.pk))
    assert DatasetTask.objects.get().attempt == 0


def test_files_that_are_gone_fail_the_task_in_words(client, registered, rows):
    for path in rows.iterdir():
        path.unlink()
    rows.rmdir()
    treatment.work(str(DatasetTask.objects.get().pk))
    task = DatasetTask.objects.get()
    assert task.status == FAILED
    assert "dates" in task.message
    assert Activity.objects.latest("cursor").status == "error"
    page = Page(client.get(f"/datasets/{registered.pk}"))
    assert "It could not be checked." in page.words


@pytest.mark.parametrize("limit_mb", [0, 8])
def test_a_link_out_of_the_roots_is_not_followed(
    client, home, settings, tmp_path_factory, limit_mb: int
):
    settings.TRAINYARD_CHECK_AT_ONCE_MB = limit_mb
    secret = tmp_path_factory.mktemp("elsewhere") / "rows.jsonl"
    write_rows(secret, [pair(1)])
    (home / "datasets" / "linked").mkdir()
    (home / "datasets" / "linked" / "train.jsonl").symlink_to(secret)
    given = {"name": "linked", "storage_path": "linked"}
    answer = client.post("/api/datasets", given, format="json")
    assert (answer.status_code, list(answer.json()["details"])) == (400, ["storage_path"])
    assert not Dataset.objects.exists()


def test_a_link_that_comes_later_is_not_followed_by_a_worker(registered, rows, tmp_path_factory):
    secret = tmp_path_factory.mktemp("elsewhere") / "rows.jsonl"
    write_rows(secret, [pair(1)])
    (rows / "test.jsonl").symlink_to(secret)
    treatment.work(str(DatasetTask.objects.get().pk))
    task = DatasetTask.objects.get()
    assert (task.status, "is a link to a place outside" in task.message) == (FAILED, True)


def test_who_lost_the_task_stops_and_writes_nothing(registered, monkeypatch):
    def slow(order: Any, news: Any, **how: Any) -> Any:
        DatasetTask.objects.update(attempt=2)  # somebody else has it by now
        news(1, 1)
        raise AssertionError("it went on")

    monkeypatch.setattr(orders, "delegate", slow)
    treatment.work(str(DatasetTask.objects.get().pk))
    assert not Dataset.objects.get().integrity_checked
    assert DatasetTask.objects.get().status == RUNNING


def test_a_task_whose_worker_is_gone_is_given_to_another(
    sent, settings, django_capture_on_commit_callbacks
):
    long_ago = timezone.now() - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS + 1)
    lost = make_task(status=RUNNING, attempt=1, heartbeat_at=long_ago)
    alive = make_task(status=RUNNING, attempt=1, heartbeat_at=timezone.now())
    given_up = make_task(status=RUNNING, attempt=3, heartbeat_at=long_ago)
    for _ in range(2):
        DatasetTask.objects.update(created_at=long_ago)
        with django_capture_on_commit_callbacks(execute=True):
            treatment.reconcile()
    status = {task.pk: task.status for task in DatasetTask.objects.all()}
    assert status == {lost.pk: WAITING, alive.pk: RUNNING, given_up.pk: FAILED}
    assert [name for name, *_ in sent].count(checks.WORK) == 1  # not at each look
    assert sent[-1] == (checks.WORK, str(lost.pk))


def test_the_page_that_waits_is_told_when_it_is_over(client, registered):
    address = f"/datasets/{registered.pk}"
    part = client.get(address, headers={"hx-request": "true"})
    assert "The rows are being checked." in part.content.decode()
    assert "<html" not in part.content.decode()
    DatasetTask.objects.update(status=DONE)
    over = client.get(address, headers={"hx-request": "true"})
    assert over["HX-Refresh"] == "true"


def test_a_dataset_is_checked_again_under_other_columns(client, rows):
    write_rows(
        rows / "train.jsonl", [{"title": f"t{n}", "body": pair(n)["prompt"]} for n in (1, 2)]
    )
    (rows / "validation.jsonl").unlink()
    given = {"name": "odd", "storage_path": "dates"}
    made = client.post("/api/datasets", given, format="json").json()
    facts = made["statistics"]
    assert (facts["mapping"], facts["row_format"]) == ({"text": "body"}, "text")
    path = f"/api/datasets/{made['id']}/check"
    columns = {"prompt": "title", "completion": "body"}
    facts = client.post(path, {"columns": columns}, format="json").json()["statistics"]
    assert (facts["mapping"], facts["row_format"]) == (columns, "prompt_completion")
    assert Dataset.objects.get().columns == columns
    kept = client.post(path, {}, format="json").json()
    assert kept["statistics"]["mapping"] == columns
    anew = client.post(path, {"columns": {}}, format="json").json()
    assert anew["statistics"]["mapping"] == {"text": "body"}
    refused = client.post(path, {"columns": {"prompt": "nowhere"}}, format="json")
    assert refused.json()["details"] == {
        "columns.prompt": "There is no column nowhere. There are: body, title."
    }
    refused = client.post(path, {"colums": {}}, format="json")
    assert (refused.status_code, list(refused.json()["details"])) == (400, ["colums"])


def test_the_page_checks_under_columns_and_leads_back(client_of, ana, rows):
    client = Client()
    client.force_login(ana)
    made = client_of(ana).post(
        "/api/datasets", {"name": "d", "storage_path": "dates"}, format="json"
    )
    address = f"/datasets/{made.json()['id']}/check"
    said = {"columns.text": "prompt", "columns.label": "completion", "next": "/jobs"}
    assert client.post(address, said)["Location"] == "/jobs"
    dataset = Dataset.objects.get()
    assert (dataset.columns, dataset.statistics["row_format"]) == (
        {"text": "prompt", "label": "completion"},
        "labelled",
    )
    elsewhere = client.post(address, {"next": "https://elsewhere.org/"})
    assert elsewhere["Location"] == f"/datasets/{dataset.pk}"


def test_a_viewer_has_nothing_checked_or_copied(client_of, viewer):
    dataset = make_dataset()
    client = Client()
    client.force_login(viewer)
    for verb in ("check", "repair"):
        assert client.post(f"/datasets/{dataset.pk}/{verb}").status_code == 403
    assert not DatasetTask.objects.exists()


def test_a_page_asks_the_same_number_of_questions_however_many_versions_there_are(
    ana, django_assert_num_queries
):
    client = Client()
    client.force_login(ana)
    dataset = make_dataset(name="one", storage_path="/nowhere", integrity_report={"findings": []})
    client.get(f"/datasets/{dataset.pk}")
    for _ in range(2):
        with django_assert_num_queries(QUERIES_OF_A_PAGE):
            client.get(f"/datasets/{dataset.pk}")
        for number in range(5):
            make_task(dataset=dataset, status=DONE, result=make_dataset(name="one", version=number))
