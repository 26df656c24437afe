"""How much room the files of a project may take."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection

from accounts.models import Project
from registry import quotas, services
from registry.models import BaseModel, Dataset
from tests.factories import make_artifact, make_dataset, make_job, make_model
from tests.registry.files import write_model
from training import judging
from training.preflight import Report

GB = quotas.GB


@pytest.fixture
def full(home: Path, project: Project) -> Project:
    """A project with one GB, of which a few bytes are left."""
    Project.objects.filter(pk=project.pk).update(max_storage_gb=1)
    project.refresh_from_db()
    make_model(storage_path=str(home / "models" / "large"), size_bytes=GB - 5)
    return project


def upload(client: Any) -> Any:
    file = SimpleUploadedFile("train.jsonl", b'{"text": "more than five bytes"}\n')
    return client.post("/api/datasets", {"file": file, "name": "x"}, format="multipart")


def test_an_upload_that_has_no_room_is_refused_and_leaves_nothing(client_of, ana, full, home):
    answer = upload(client_of(ana))
    assert answer.status_code == 400
    assert answer.json()["details"] == {
        "project_id": "Project Default uses 1.00 GB of its 1 GB, so there is no room for 33 bytes "
        "more. Delete what is not needed, or ask for a larger quota."
    }
    assert not Dataset.objects.exists()
    assert list((home / "datasets").iterdir()) == list((home / "uploads").iterdir()) == []
    Project.objects.update(max_storage_gb=2)
    assert upload(client_of(ana)).status_code == 201


def test_files_below_the_home_that_are_registered_count(client_of, root, full, home):
    write_model(home / "models" / "tiny")
    body = {"name": "x", "storage_path": "tiny"}
    answer = client_of(root).post("/api/base-models", body, format="json")
    assert answer.status_code == 400
    assert set(answer.json()["details"]) == {"project_id"}
    assert [path.name for path in (home / "models").iterdir()] == ["tiny"]


def test_files_elsewhere_do_not_count(client_of, root, full, home, settings, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    settings.TRAINYARD_STORAGE_ROOTS = [elsewhere]
    body = {"name": "x", "storage_path": str(write_model(elsewhere / "tiny"))}
    assert client_of(root).post("/api/base-models", body, format="json").status_code == 201


def test_an_entry_takes_its_room_along_to_another_project(client_of, root, full, home):
    elsewhere = Project.objects.create(name="Elsewhere")
    model = make_model(project=elsewhere, storage_path=str(home / "models" / "m"), size_bytes=6)
    body = {"project_id": str(full.pk)}
    address = f"/api/base-models/{model.pk}"
    answer = client_of(root).patch(address, body, format="json")
    assert (answer.status_code, set(answer.json()["details"])) == (400, {"project_id"})
    BaseModel.objects.filter(pk=model.pk).update(size_bytes=5)
    assert client_of(root).patch(address, body, format="json").status_code == 200


def test_a_job_whose_result_has_no_room_is_refused(full):
    report = Report(ok=True, exports_bytes=6)
    refused = judging.within_quota(report, full, {})
    assert not refused.ok
    assert refused.errors == (
        "ERROR: The result needs room: project Default uses 1.00 GB of its 1 GB, so there is no "
        "room for 6 bytes more. Delete what is not needed, or ask for a larger quota.",
    )
    assert judging.within_quota(Report(ok=True, exports_bytes=5), full, {}).ok


def test_what_is_counted_is_told(client_of, ana, full, home):
    make_dataset(storage_path=str(home / "datasets" / "d"), size_bytes=3)
    make_dataset(storage_path="/elsewhere", size_bytes=1000)
    job = make_job()
    make_artifact(job, "a.gguf", kind="gguf", size_bytes=7)
    make_artifact(job, "b", kind="safetensors", size_bytes=1000)  # counted as what it became
    shown = client_of(ana).get(f"/api/projects/{full.pk}").json()
    assert shown["quota"]["storage_gb"] == 1
    assert shown["usage"]["storage_bytes"] == GB - 5 + 3 + 7


def test_only_staff_sets_it(client_of, ana, root, project):
    address = f"/api/projects/{project.pk}"
    body = {"quota": {"storage_gb": 5}}
    assert client_of(ana).patch(address, body, format="json").status_code == 403
    assert client_of(root).patch(address, body, format="json").json()["quota"]["storage_gb"] == 5


def test_without_a_quota_nothing_is_asked(project, django_assert_num_queries):
    with django_assert_num_queries(0):
        quotas.check(project, 10**18)
        quotas.check(None, 10**18)


@pytest.mark.django_db(transaction=True)
def test_two_who_come_at_once_do_not_both_take_the_last_room(home, root, project):
    """Many threads register six bytes each, where there is room for two of them."""
    Project.objects.filter(pk=project.pk).update(max_storage_gb=1)
    project.refresh_from_db()
    make_model(storage_path=str(home / "models" / "large"), size_bytes=GB - 13)
    refused: list[str] = []
    start = threading.Barrier(4)

    def register(number: int) -> None:
        folder = home / "datasets" / f"d{number}"
        folder.mkdir()
        (folder / "a.wav").write_bytes(b"123456")
        start.wait()
        try:
            services.register_dataset(
                user=root, project=project, name="x", storage_path=str(folder), modality="audio"
            )
        except services.CannotRegister as error:
            refused.append(error.field)
        finally:
            connection.close()

    threads = [threading.Thread(target=register, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["project_id", "project_id"]
    assert Dataset.objects.count() == 2
