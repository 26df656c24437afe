"""Repaired copies, versions, what they differ in, and downloads."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from api import downloads
from registry import copies, doctor, treatment
from registry.doctor import orders
from registry.files import SETTLED_SECONDS
from registry.models import Dataset, DatasetTask
from tests.factories import make_dataset
from tests.pages import Page
from tests.registry.conftest import pair
from tests.registry.files import write_rows


@pytest.fixture
def client(client_of: Any, ana: Any) -> APIClient:
    made: APIClient = client_of(ana)
    return made


@pytest.fixture
def page(ana: Any) -> Client:
    client = Client()
    client.force_login(ana)
    return client


@pytest.fixture
def dated(client: APIClient, rows: Path) -> str:
    write_rows(rows / "train.jsonl", [*(pair(n) for n in range(1, 6)), pair(1), "nonsense"])
    given = {"name": "dates", "storage_path": "dates", "tags": ["may"]}
    return str(client.post("/api/datasets", given, format="json").json()["id"])


def worked(answer: Any) -> DatasetTask:
    assert answer.status_code == 202, answer.json()
    treatment.work(answer.json()["id"])
    return DatasetTask.objects.get(pk=answer.json()["id"])


@pytest.mark.django_db
def test_a_copy_becomes_the_next_version_and_is_compared(client, page, dated, home):
    task = worked(client.post(f"/api/datasets/{dated}/repair", {}, format="json"))
    assert task.status == "done", task.message
    copy = client.get(f"/api/datasets/{task.result_id}").json()
    assert (copy["name"], copy["version"], copy["tags"]) == ("dates", "1.1", ["may"])
    assert (copy["num_samples"], copy["integrity_passed"]) == (7, True)
    assert copy["storage_path"] == str(home / "datasets" / copy["id"])
    assert copy["metadata"]["repaired_from"] == dated
    assert copy["metadata"]["repair"]["counts"]["dropped_duplicates"] == 1
    versions = client.get(f"/api/datasets/{dated}/versions").json()
    assert [one["version"] for one in versions["datasets"]] == ["1.1", "1.0"]
    found = client.get(f"/api/datasets/{copy['id']}/difference").json()
    assert found["against"] == dated
    assert [found[name] for name in ("added", "removed", "changed", "same")] == [0, 1, 0, 7]
    assert found["removed_rows"] == [{"where": "train.jsonl, line 6", "row": pair(1)}]
    shown = Page(page.get(f"/datasets/{copy['id']}/difference/{dated}"))
    shown.check_outline()
    assert "Removed 1" in shown.words
    assert "train.jsonl, line 6" in shown.words
    assert "Compare" in Page(page.get(f"/datasets/{copy['id']}")).words
    assert not list(home.glob("datasets/.*"))


@pytest.mark.django_db
def test_changed_rows_are_told_from_added_ones(client, dated, rows):
    write_rows(rows / "train.jsonl", [{**pair(1), "completion": "other"}, pair(2), pair(77)])
    given = {"name": "dates", "version": "2", "storage_path": "dates"}
    made = client.post("/api/datasets", given, format="json").json()
    found = client.get(f"/api/datasets/{made['id']}/difference?with={dated}").json()
    assert [found[name] for name in ("added", "removed", "changed", "same")] == [1, 4, 1, 3]


@pytest.mark.django_db
def test_without_another_version_nothing_is_compared(client):
    dataset = make_dataset(name="alone")
    found = client.get(f"/api/datasets/{dataset.pk}/difference").json()
    assert (found["against"], found["added"], found["added_rows"]) == (None, None, [])
    for wanted in ("nonsense", "c9a8f6a4-2a4e-4a39-8a36-5a1f0b1f3a55"):
        refused = client.get(f"/api/datasets/{dataset.pk}/difference?with={wanted}")
        assert (refused.status_code, list(refused.json()["details"])) == (400, ["with"])


@pytest.mark.django_db
def test_a_stranger_compares_with_nothing_of_others(client_of, ana, stranger):
    ours = make_dataset(name="ours")
    theirs = make_dataset(name="theirs", project=stranger.memberships.get().project)
    answer = client_of(ana).get(f"/api/datasets/{ours.pk}/difference?with={theirs.pk}")
    assert answer.status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"validation_share": 0.9}, "validation_share"),
        ({"seed": -1}, "seed"),
        ({"drop_everything": True}, "drop_everything"),
    ],
)
def test_what_cannot_be_done_is_refused(client, dated, body: Any, field: str):
    answer = client.post(f"/api/datasets/{dated}/repair", body, format="json")
    assert (answer.status_code, list(answer.json()["details"])) == (400, [field])


@pytest.mark.django_db
def test_what_has_no_files_is_not_copied(client):
    answer = client.post(f"/api/datasets/{make_dataset().pk}/repair", {}, format="json")
    assert answer.json()["error"].endswith("The dataset has no files.")


@pytest.mark.django_db
def test_a_copy_of_nothing_fails_and_leaves_nothing(client, dated, rows, home):
    for split in ("train", "validation"):
        write_rows(rows / f"{split}.jsonl", ["nonsense"])
    before = sorted(path.name for path in (home / "datasets").iterdir())
    task = worked(client.post(f"/api/datasets/{dated}/repair", {}, format="json"))
    assert (task.status, task.message) == ("failed", "Not one usable row would be left.")
    assert sorted(path.name for path in (home / "datasets").iterdir()) == before
    assert Dataset.objects.count() == 1


@pytest.mark.django_db
def test_who_lost_a_copy_leaves_that_of_the_next_alone(client, dated, home, monkeypatch):
    delegate = orders.delegate

    def slow(order: Any, news: Any, **how: Any) -> Any:
        answer = delegate(order, news, **how)
        monkeypatch.setattr(orders, "delegate", delegate)
        DatasetTask.objects.update(status="waiting")  # it was taken for lost
        treatment.work(str(DatasetTask.objects.get().pk))  # and another has made it
        return answer

    monkeypatch.setattr(orders, "delegate", slow)
    task = worked(client.post(f"/api/datasets/{dated}/repair", {}, format="json"))
    assert (task.status, task.attempt, Dataset.objects.count()) == ("done", 2, 2)
    copy = task.result
    assert copy is not None
    assert doctor.split_files(Path(copy.storage_path)).keys() == {"train", "validation"}
    ours = {path.name.partition(".")[0] for path in (home / "datasets").iterdir()}
    assert ours == {"dates", dated, str(copy.pk)}


@pytest.mark.django_db
def test_the_page_offers_a_copy_and_asks_for_it(page, dated):
    assert "Make a repaired copy" in Page(page.get(f"/datasets/{dated}")).words
    said = {"mend_text": "on", "version": "9", "validation_percent": "10"}
    page.post(f"/datasets/{dated}/repair", said)
    options = DatasetTask.objects.get().options
    assert (options["version"], options["validation_share"]) == ("9", 0.1)
    assert (options["mend_text"], options["drop_duplicates"]) == (True, False)
    answer = page.post(f"/datasets/{dated}/repair", {"validation_percent": "many"}, follow=True)
    assert "validation_share: A valid number is required." in Page(answer).words
    assert DatasetTask.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("version", "following"),
    [("1.0", "1.1"), ("2024-09", "2024-10"), ("final", "final-2"), ("v" * 40, "v" * 28 + "-2")],
)
def test_the_next_version(version: str, following: str):
    dataset = make_dataset(name="one", version=version)
    assert copies.next_version(dataset, "one") == following
    make_dataset(name="one", version=following)
    assert copies.next_version(dataset, "one") != following


# --- Downloads and uploads -----------------------------------------------------------------------


def received(answer: Any) -> bytes:
    """Requests are served in threads: of an async iterator Django would take all into memory."""
    assert not answer.is_async
    return b"".join(answer.streaming_content)


@pytest.mark.django_db
def test_one_file_is_downloaded_as_it_is_and_several_as_an_archive(client, page, dated, rows):
    answer = page.get(f"/datasets/{dated}/download")
    assert answer["Content-Disposition"] == 'attachment; filename="dates-1.0.zip"'
    content = received(answer)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.read("train.jsonl") == (rows / "train.jsonl").read_bytes()
        assert sorted(archive.namelist()) == ["train.jsonl", "validation.jsonl"]
    (rows / "validation.jsonl").unlink()
    single = client.get(f"/api/datasets/{dated}/download")
    assert received(single) == (rows / "train.jsonl").read_bytes()
    assert single["Content-Length"] == str((rows / "train.jsonl").stat().st_size)
    assert single["Content-Disposition"] == 'attachment; filename="dates-1.0-train.jsonl"'
    nothing = client.get(f"/api/datasets/{make_dataset().pk}/download")
    assert (nothing.status_code, nothing.json()["error"]) == (409, "The dataset has no files.")


@pytest.mark.django_db
def test_a_download_that_broke_off_goes_on(client, home):
    (home / "datasets" / "rows.jsonl").write_text("".join('{"text": "a"}\n' for _ in range(100)))
    content = (home / "datasets" / "rows.jsonl").read_bytes()
    time.sleep(2 * SETTLED_SECONDS)  # what has just been written may change again
    given = {"name": "rows", "storage_path": "rows.jsonl"}
    dataset = client.post("/api/datasets", given, format="json").json()
    address = f"/api/datasets/{dataset['id']}/download"
    whole = client.get(address)
    tag = whole["ETag"]
    assert tag == f'"{hashlib.sha256(content).hexdigest()}"'
    assert received(whole) == content
    part = client.get(address, headers={"Range": "bytes=500-", "If-Range": tag})
    assert (part.status_code, part["Content-Range"]) == (206, "bytes 500-1399/1400")
    assert received(part) == content[500:]
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 304
    assert client.get(address, headers={"Range": "bytes=9999-"}).status_code == 416
    (home / "datasets" / "rows.jsonl").write_bytes(content[::-1])
    changed = client.get(address, headers={"Range": "bytes=500-", "If-Range": tag})
    assert (changed.status_code, "ETag" in changed) == (200, False)
    assert received(changed) == content[::-1]


@pytest.mark.django_db
def test_downloads_leave_threads_for_the_pages(client, dated, monkeypatch):
    monkeypatch.setattr(downloads, "_places", threading.BoundedSemaphore(1))
    first = client.get(f"/api/datasets/{dated}/download")
    assert first.status_code == 200
    refused = client.get(f"/api/datasets/{dated}/download")
    assert (refused.status_code, refused["Retry-After"]) == (503, "10")
    received(first)
    assert received(client.get(f"/api/datasets/{dated}/download"))


@pytest.mark.django_db
def test_an_archive_is_uploaded_and_unpacked(client, home):
    from tests.registry.test_doctor_damage import archive
    from tests.registry.test_uploads import left_over, upload

    lines = {"train.jsonl": json.dumps(pair(1)), "val.csv": "prompt,completion\na,b\n"}
    path = archive(home / "rows.zip", **lines)
    body = upload(client, path.read_bytes(), "rows.zip").json()
    assert body["statistics"]["rows"] == {"train": 1, "validation": 1}
    assert body["integrity_passed"]
    assert doctor.split_files(Path(body["storage_path"])).keys() == {"train", "validation"}
    before = left_over(home)
    refused = upload(client, b"no archive", "rows.zip")
    assert (refused.status_code, list(refused.json()["details"])) == (400, ["file"])
    assert left_over(home) == before
