"""Checkpoints, artifacts and the log of a job, over the API. Strangers and viewers are refused by
tests/api/test_every_route.py."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from activity.models import Activity
from tests import factories as make
from training import checkpoints
from training.models import Checkpoint, Job, Status

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
ClientOf = Callable[[User], APIClient]


@pytest.fixture
def client(ana: User, client_of: ClientOf) -> APIClient:
    return client_of(ana)


@pytest.fixture
def job(home: Path, ana: User) -> Job:
    """Has run to its end, and left two checkpoints and a result."""
    job = make.make_job(status=Status.COMPLETED, owner=ana, name="Dates, twice")
    for step in (3, 6):
        folder = home / "runs" / str(job.pk) / "checkpoints" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        (folder / "adapter.safetensors").write_bytes(b"weights of %d" % step)
        make.make_checkpoint(job, step, path=str(folder))
    (home / "runs" / str(job.pk) / "log.txt").write_text("Step 1\nStep 2\nAll done.\n")
    made = home / "exports" / str(job.pk) / "safetensors"
    made.mkdir(parents=True)
    (made / "adapter.safetensors").write_bytes(b"result")
    sha256 = hashlib.sha256(b"result").hexdigest()
    path = str(made / "adapter.safetensors")
    make.make_artifact(job, path, kind="safetensors", sha256=sha256, size_bytes=6)
    return job


def content(response: Any) -> bytes:
    return bytes(response.getvalue())  # which closes it


def test_a_checkpoint_is_downloaded(client: APIClient, job: Job) -> None:
    response = client.get(f"/api/jobs/{job.pk}/checkpoints/6/download")
    assert response["Content-Disposition"] == 'attachment; filename="dates-twice-step-000006.tar"'
    with tarfile.open(fileobj=io.BytesIO(content(response))) as archive:
        [member] = archive.getmembers()
        assert member.name == "dates-twice-step-000006/adapter.safetensors"
        assert archive.extractfile(member).read() == b"weights of 6"  # type: ignore[union-attr]


def test_one_whose_files_are_gone_is_not_found(client: APIClient, job: Job, home: Path) -> None:
    checkpoints.remove(checkpoints.folder_of(job.checkpoints.get(step=3)))
    assert client.get(f"/api/jobs/{job.pk}/checkpoints/3").status_code == 200
    assert client.get(f"/api/jobs/{job.pk}/checkpoints/3/download").status_code == 404
    assert client.get(f"/api/jobs/{job.pk}/checkpoints/4").status_code == 404


def test_what_a_row_says_of_its_path_is_not_believed(
    client: APIClient, job: Job, home: Path
) -> None:
    (home / "secret").write_text("not for you")
    artifact = make.make_artifact(job, str(home / "secret"), kind="onnx")
    Checkpoint.objects.filter(job=job, step=3).update(path=str(home))
    assert client.get(f"/api/jobs/{job.pk}/artifacts/{artifact.pk}/download").status_code == 404
    archive = content(client.get(f"/api/jobs/{job.pk}/checkpoints/3/download"))
    assert b"weights of 3" in archive
    assert b"not for you" not in archive


def test_a_checkpoint_is_deleted_with_its_files(
    client: APIClient, job: Job, django_capture_on_commit_callbacks: Any
) -> None:
    folder = checkpoints.folder_of(job.checkpoints.get(step=3))
    with django_capture_on_commit_callbacks(execute=True):
        assert client.delete(f"/api/jobs/{job.pk}/checkpoints/3").status_code == 204
        assert folder.exists()
    assert not folder.exists()
    assert list(job.checkpoints.values_list("step", flat=True)) == [6]
    assert "ana deleted the checkpoint of step 3." in [e.message for e in job.events.all()]


@pytest.mark.parametrize(
    ("status", "step", "code"),
    [
        (Status.RUNNING, 3, 409),
        (Status.PAUSED, 6, 409),
        (Status.PAUSED, 3, 204),
        (Status.FAILED, 6, 204),
    ],
)
def test_one_that_is_needed_stays(
    client: APIClient, job: Job, home: Path, status: str, step: int, code: int
) -> None:
    other = make.make_job(status=status)
    Checkpoint.objects.filter(job=job).update(job=other)
    assert client.delete(f"/api/jobs/{other.pk}/checkpoints/{step}").status_code == code
    assert other.checkpoints.count() == (2 if code == 409 else 1)


def test_an_artifact_is_downloaded_in_parts(client: APIClient, job: Job) -> None:
    artifact = job.artifacts.get()
    [told] = client.get(f"/api/jobs/{job.pk}/artifacts").json()["artifacts"]
    assert told["id"] == artifact.pk
    address = f"/api/jobs/{job.pk}/artifacts/{artifact.pk}/download"
    whole = client.get(address)
    assert content(whole) == b"result"
    assert whole["ETag"] == f'"{artifact.sha256}"'
    part = client.get(address, headers={"Range": "bytes=3-", "If-Range": whole["ETag"]})
    assert (part.status_code, content(part)) == (206, b"ult")


def test_all_artifacts_at_once(client: APIClient, job: Job) -> None:
    response = client.get(f"/api/jobs/{job.pk}/artifacts/download")
    with tarfile.open(fileobj=io.BytesIO(content(response))) as archive:
        assert archive.getnames() == ["dates-twice/safetensors/adapter.safetensors"]


def test_the_artifact_of_another_job_is_not_found(client: APIClient, job: Job) -> None:
    other = make.make_job(status=Status.COMPLETED)
    address = f"/api/jobs/{other.pk}/artifacts/{job.artifacts.get().pk}/download"
    assert client.get(address).status_code == 404
    assert client.get(f"/api/jobs/{other.pk}/artifacts/download").status_code == 404


def test_the_log_is_searched_and_downloaded(client: APIClient, job: Job) -> None:
    found = client.get(f"/api/jobs/{job.pk}/logs/search", {"q": "step"}).json()
    assert found == {
        "lines": [{"offset": 0, "text": "Step 1"}, {"offset": 7, "text": "Step 2"}],
        "next_offset": 24,
        "size": 24,
    }
    log = client.get(f"/api/jobs/{job.pk}/logs/download")
    assert content(log) == b"Step 1\nStep 2\nAll done.\n"


@pytest.mark.parametrize("query", ["", "?q=", "?q=a%0Ab", f"?q={'a' * 201}", "?q=a&offset=-1"])
def test_a_search_that_cannot_be_is_a_bad_request(client: APIClient, job: Job, query: str) -> None:
    answer = client.get(f"/api/jobs/{job.pk}/logs/search{query}")
    assert answer.status_code == 400
    assert set(answer.json()["details"]) <= {"q", "offset"}


# --- Deleting jobs -------------------------------------------------------------------------------


def test_a_job_is_deleted_and_what_it_made_stays(
    client: APIClient, job: Job, home: Path, django_capture_on_commit_callbacks: Any
) -> None:
    make.make_metrics(job, [1.0])
    made = {"kind": "adapter", "id": str(make.make_adapter().pk), "name": "x"}
    Job.objects.filter(pk=job.pk).update(result=made)
    make.make_activity(entity_id=job.pk)
    with django_capture_on_commit_callbacks(execute=True):
        assert client.delete(f"/api/jobs/{job.pk}").status_code == 204
    assert not Job.objects.filter(pk=job.pk).exists()
    assert not type(job.experiment).objects.filter(pk=job.experiment_id).exists()
    assert not (home / "runs" / str(job.pk)).exists()
    assert (home / "exports" / str(job.pk)).exists()
    assert Activity.objects.filter(entity_id=job.pk).exists()


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.PAUSING, Status.PAUSED])
def test_a_job_that_is_not_over_stays(client: APIClient, status: str) -> None:
    job = make.make_job(status=status, name="busy")
    answer = client.delete(f"/api/jobs/{job.pk}")
    assert answer.status_code == 409
    assert answer.json()["error"] == f"Job 'busy' is {status}. Cancel it first."
    assert Job.objects.filter(pk=job.pk).exists()
