from __future__ import annotations

import errno
import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from activity.models import Activity
from registry import feed, storage
from registry.doctor import examine
from registry.models import Dataset
from tests.registry.conftest import pair

TAKEN = (
    ".jsonl, .ndjson, .json, .csv, .tsv, .parquet, .arrow, .feather, .txt, .zip, .tar, .tar.gz, "
    ".tgz"
)
ROWS = "".join(json.dumps(pair(n)) + "\n" for n in range(5)).encode()


def upload(
    client: APIClient, content: bytes = ROWS, file_name: str = "train.jsonl", **fields: Any
) -> Any:
    file = SimpleUploadedFile(file_name, content)
    return client.post("/api/datasets", {"name": "up", "file": file, **fields}, format="multipart")


def left_over(home: Path) -> list[str]:
    """Everything in the home that a failed upload could have left."""
    return [path.name for folder in ("uploads", "datasets") for path in (home / folder).iterdir()]


@pytest.fixture
def client(client_of: Any, ana: Any) -> Any:
    return client_of(ana)


def test_an_uploaded_file_becomes_a_dataset(client, ana, project, home):
    response = upload(client, version="1.1", description="d", modality="text")
    assert response.status_code == 201, response.json()
    body = response.json()
    folder = home / "datasets" / body["id"]
    assert (folder / "train.jsonl").read_bytes() == ROWS
    assert body["storage_path"] == str(folder)
    assert (body["name"], body["version"], body["description"]) == ("up", "1.1", "d")
    assert (body["num_samples"], body["size_bytes"]) == (5, len(ROWS))
    assert body["integrity_passed"]
    assert body["project_id"] == str(project.pk)
    assert body["metadata"] == {"source": "upload", "file_name": "train.jsonl"}
    assert json.loads(Path(body["manifest_path"]).read_text()) == {
        "file": "train.jsonl",
        "sha256": hashlib.sha256(ROWS).hexdigest(),
        "size": len(ROWS),
    }
    assert body["checksum"] == storage.checksum(storage.manifest(folder))
    assert list((home / "uploads").iterdir()) == []
    assert Activity.objects.get().event_type == "dataset_imported"


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("dates.jsonl", "train.jsonl"),
        ("validation.jsonl", "validation.jsonl"),
        ("dev.jsonl", "validation.jsonl"),
        ("test-v2.ndjson", "test.jsonl"),
        ("rows.JSONL.gz", "train.jsonl.gz"),
        ("val.csv", "validation.csv"),
        ("../../../etc/passwd.jsonl", "train.jsonl"),
        ("TRAIN.JSONL", "train.jsonl"),
    ],
)
def test_the_files_name_says_only_its_split(client, home, name: str, stored: str):
    body = upload(client, file_name=name).json()
    assert [path.name for path in (home / "datasets" / body["id"]).iterdir()] == [stored]


def test_rows_that_cannot_be_read_are_kept_to_be_looked_at(client, home):
    response = upload(client, b'{"prompt": "a", "completion": "b"}\n\xff\nnonsense\n')
    assert response.status_code == 201
    body = response.json()
    assert (body["integrity_checked"], body["integrity_passed"]) == (True, False)
    assert body["integrity_report"]["counts"] == {"invalid_utf8": 1, "not_json": 1}
    assert Path(body["storage_path"], "train.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "train.jsonl", "'train.jsonl' is empty."),
        (ROWS, "train.exe", f"'train.exe' is none of {TAKEN}."),
        (ROWS, "train.pkl", f"'train.pkl' is none of {TAKEN}."),
        (ROWS, "train", f"'train' is none of {TAKEN}."),
    ],
)
def test_what_is_no_file_of_rows_is_refused(client, home, content, name: str, says: str):
    response = upload(client, content, name)
    assert response.status_code == 400
    assert response.json()["details"] == {"file": says}
    assert left_over(home) == []
    assert not Dataset.objects.exists()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"modality": "smell"}, "modality"),
        ({"project_id": "seven"}, "project_id"),
        ({"project_id": str(uuid.uuid4())}, "project_id"),
    ],
)
def test_a_bad_field_leaves_nothing_behind(client, home, fields: Any, field: str):
    response = upload(client, **fields)
    assert response.status_code == 400
    assert list(response.json()["details"]) == [field]
    assert left_over(home) == []


def test_an_upload_without_a_file_is_told_so(client, home):
    response = client.post("/api/datasets", {"name": "x"}, format="multipart")
    assert response.status_code == 400
    assert list(response.json()["details"]) == ["file"]


def test_an_upload_without_a_length_is_told_so(client, home):
    given = {"name": "x", "file": SimpleUploadedFile("train.jsonl", ROWS)}
    response = client.post("/api/datasets", given, format="multipart", CONTENT_LENGTH="")
    assert response.status_code == 411
    assert "Content-Length" in response.json()["error"]


def test_a_viewer_does_not_upload(client_of, viewer, home):
    assert upload(client_of(viewer)).status_code == 403
    assert left_over(home) == []
    assert not Dataset.objects.exists()


def test_a_file_beyond_the_limit_is_refused_at_the_first_byte_too_many(client, home, settings):
    settings.TRAINYARD_UPLOAD_LIMIT_MB = 1
    response = upload(client, b"x" * (1024 * 1024 + 1))
    assert response.status_code == 413
    assert response.json()["error"] == "The file is larger than 1 MB (TRAINYARD_UPLOAD_LIMIT_MB)."
    assert left_over(home) == []


def test_a_request_that_admits_to_be_too_large_is_not_read_at_all(client, home, settings):
    settings.TRAINYARD_UPLOAD_LIMIT_MB = 1
    response = upload(client, b"x" * (3 * 1024 * 1024))
    assert response.status_code == 413
    assert left_over(home) == []


def test_a_file_at_the_limit_is_taken(client, home, settings):
    settings.TRAINYARD_UPLOAD_LIMIT_MB = 1
    row = b'{"text": "a"}\n'
    content = row * (1024 * 1024 // len(row))
    assert upload(client, content).json()["num_samples"] == len(content) // len(row)


def test_a_full_disk_is_told_as_such(client, home, monkeypatch):
    from django.core.files import uploadhandler

    def no_room(self: Any, raw_data: bytes, start: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploadhandler.TemporaryFileUploadHandler, "receive_data_chunk", no_room)
    response = upload(client)
    assert response.status_code == 507
    assert "No space left on device" in response.json()["error"]
    assert left_over(home) == []


@pytest.mark.parametrize("step", ["check_whole", "record", "write_manifest"])
def test_a_failure_half_way_leaves_nothing_behind(client, home, monkeypatch, step: str):
    def fail(*args: Any, **kwargs: Any) -> None:
        raise MemoryError

    owner: Any = {"check_whole": examine, "record": feed, "write_manifest": storage}[step]
    monkeypatch.setattr(owner, step, fail)
    client.raise_request_exception = False
    assert upload(client).status_code == 500
    assert left_over(home) == []
    assert not Dataset.objects.exists()
    assert not Activity.objects.exists()


def test_a_large_file_does_not_go_through_memory(client, home, monkeypatch):
    """The form parser hands its chunks to our handler alone, which writes them to uploads/."""
    from registry.api.uploads import LimitedUpload

    seen: list[Path] = []
    complete = LimitedUpload.file_complete

    def look(self: Any, size: int) -> Any:
        seen.append(Path(self.file.temporary_file_path()))
        return complete(self, size)

    monkeypatch.setattr(LimitedUpload, "file_complete", look)
    upload(client)
    assert [path.parent for path in seen] == [home / "uploads"]


def test_an_uploaded_dataset_is_deleted_with_its_files(
    client, home, django_capture_on_commit_callbacks
):
    body = upload(client).json()
    with django_capture_on_commit_callbacks() as callbacks:
        assert client.delete(f"/api/datasets/{body['id']}").status_code == 204
    assert len(left_over(home)) == 4  # nothing is gone before the commit
    for callback in callbacks:
        callback()
    assert left_over(home) == []
