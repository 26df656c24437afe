from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from activity.models import Activity
from registry.models import Dataset
from tests.factories import make_dataset, make_experiment, make_model
from tests.registry.conftest import pair
from tests.registry.files import write_rows

FIELDS = {
    "id",
    "project_id",
    "name",
    "version",
    "description",
    "modality",
    "size_bytes",
    "num_samples",
    "manifest_path",
    "storage_path",
    "checksum",
    "integrity_checked",
    "integrity_passed",
    "integrity_report",
    "statistics",
    "tags",
    "metadata",
    "created_at",
    "updated_at",
}


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.json()
    return [dataset["name"] for dataset in response.json()["datasets"]]


# --- Listing -------------------------------------------------------------------------------------


def test_the_list_has_the_contracts_envelope_and_fields(api):
    make_dataset()
    body = api.get("/api/datasets").json()
    assert (body["total"], body["limit"], body["offset"]) == (1, None, 0)
    assert set(body["datasets"][0]) == FIELDS


def test_the_newest_comes_first_and_limit_and_offset_page(api):
    for name in "abcd":
        make_dataset(name=name)
    assert names(api.get("/api/datasets")) == ["d", "c", "b", "a"]
    assert names(api.get("/api/datasets?limit=2&offset=1")) == ["c", "b"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("modality=image", ["b"]),
        ("search=RARE", ["a"]),
        ("q=b", ["b"]),
        ("q=rare&modality=image", []),
    ],
)
def test_the_list_is_narrowed(api, query: str, expected: list[str]):
    make_dataset(name="a", description="a Rare one")
    make_dataset(name="b", modality="image")
    assert names(api.get(f"/api/datasets?{query}")) == expected


def test_the_list_is_narrowed_to_a_project(api, stranger):
    elsewhere = stranger.memberships.get().project
    make_dataset(name="here")
    make_dataset(name="there", project=elsewhere)
    assert names(api.get(f"/api/datasets?project={elsewhere.pk}")) == ["there"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (
            "modality=smell",
            "modality: 'smell' is not one of text, image, audio, video, multimodal.",
        ),
        ("project=1", "project: “1” is not a valid UUID."),
        ("limit=x", "limit: 'x' is not a whole number of 0 or more."),
        ("compatible_with_model=7", "compatible_with_model: '7' is not a UUID."),
        (
            "compatible_with_model=00000000-0000-0000-0000-000000000000",
            "compatible_with_model: There is no base model 00000000-0000-0000-0000-000000000000.",
        ),
    ],
)
def test_a_value_that_cannot_be_is_named(api, query: str, says: str):
    response = api.get(f"/api/datasets?{query}")
    assert response.status_code == 400
    assert response.json()["error"] == says


def test_compatibility_is_there_only_when_asked_for(api):
    model = make_model()
    make_dataset(name="good")
    make_dataset(name="broken", integrity_passed=False)
    plain = api.get("/api/datasets").json()["datasets"]
    asked = api.get(f"/api/datasets?compatible_with_model={model.pk}").json()["datasets"]
    assert all("compatibility" not in dataset for dataset in plain)
    assert all(
        set(dataset["compatibility"]) == {"compatible", "warnings", "errors"} for dataset in asked
    )
    assert {dataset["name"]: dataset["compatibility"]["compatible"] for dataset in asked} == {
        "good": True,
        "broken": False,
    }


def test_a_strangers_model_is_nobody_to_compare_with(client_of, ana, stranger):
    theirs = make_model(project=stranger.memberships.get().project)
    response = client_of(ana).get(f"/api/datasets?compatible_with_model={theirs.pk}")
    assert response.status_code == 400


@pytest.mark.parametrize("count", [1, 12])
def test_the_list_costs_the_same_queries_however_long(
    client_of, ana, count: int, django_assert_num_queries
):
    model = make_model()
    for _ in range(count):
        make_dataset()
    client = client_of(ana)
    client.get("/api/datasets")
    with django_assert_num_queries(4):  # session, user, count, rows
        client.get("/api/datasets")
    with django_assert_num_queries(5):  # and the model
        client.get(f"/api/datasets?compatible_with_model={model.pk}")


# --- One dataset ---------------------------------------------------------------------------------


def test_the_detail_has_the_same_fields(api):
    response = api.get(f"/api/datasets/{make_dataset().pk}")
    assert response.status_code == 200
    assert set(response.json()) == FIELDS


def test_an_unknown_id_is_404_and_a_bad_one_400(api):
    assert api.get(f"/api/datasets/{uuid.uuid4()}").status_code == 404
    assert api.get("/api/datasets/seven").status_code == 400


def test_a_stranger_sees_nothing(client_of, stranger):
    path = f"/api/datasets/{make_dataset().pk}"
    client = client_of(stranger)
    assert names(client.get("/api/datasets")) == []
    assert client.get(path).status_code == 404
    assert client.patch(path, {"name": "x"}, format="json").status_code == 404
    assert client.delete(path).status_code == 404
    assert client.post(f"{path}/check").status_code == 404


def test_a_viewer_looks_and_does_not_touch(client_of, viewer):
    path = f"/api/datasets/{make_dataset().pk}"
    client = client_of(viewer)
    assert client.get(path).status_code == 200
    assert client.patch(path, {"name": "x"}, format="json").status_code == 403
    assert client.delete(path).status_code == 403
    assert client.post(f"{path}/check").status_code == 403


# --- Registering by path -------------------------------------------------------------------------


def test_a_folder_is_checked_and_registered_where_it_lies(client_of, ana, project, home, rows):
    given = {
        "name": "dates",
        "version": "2.0",
        "description": "Dates in words",
        "modality": "text",
        "storage_path": "dates",
        "tags": ["small"],
        "metadata": {"source": "us"},
    }
    response = client_of(ana).post("/api/datasets", given, format="json")
    assert response.status_code == 201, response.json()
    body = response.json()
    assert {key: body[key] for key in given} == {**given, "storage_path": str(rows)}
    assert body["project_id"] == str(project.pk)
    assert (body["integrity_checked"], body["integrity_passed"]) == (True, True)
    assert body["num_samples"] == 10
    assert body["statistics"]["splits"] == ["train", "validation"]
    assert body["statistics"]["num_splits"] == 2
    assert body["manifest_path"] == str(home / "datasets" / f"{body['id']}.manifest.jsonl")
    assert Path(body["manifest_path"]).read_text().count("\n") == 2
    assert sorted(path.name for path in rows.iterdir()) == ["train.jsonl", "validation.jsonl"]


def test_a_registered_dataset_is_told_in_the_feed(client_of, ana, project, rows):
    given = {"name": "dates", "storage_path": "dates"}
    body = client_of(ana).post("/api/datasets", given, format="json").json()
    told = Activity.objects.get()
    assert (told.event_type, told.entity_type, told.status) == (
        "dataset_imported",
        "dataset",
        "success",
    )
    assert told.message == "Dataset registered: dates"
    assert (told.user, told.project) == (ana, project)
    assert told.metadata == {
        "dataset_id": body["id"],
        "dataset_name": "dates",
        "size_bytes": body["size_bytes"],
        "num_samples": 10,
    }


def test_bad_rows_do_not_keep_a_dataset_out(api, rows):
    write_rows(rows / "train.jsonl", [pair(1), "nonsense"])
    response = api.post("/api/datasets", {"name": "x", "storage_path": "dates"}, format="json")
    assert response.status_code == 201
    body = response.json()
    assert (body["integrity_checked"], body["integrity_passed"]) == (True, False)
    finding = body["integrity_report"]["findings"][0]
    assert (finding["file"], finding["line"], finding["code"]) == ("train.jsonl", 2, "not_json")
    assert Activity.objects.get().status == "warning"


def test_images_are_registered_and_not_judged(api, home):
    (home / "datasets" / "cats").mkdir()
    (home / "datasets" / "cats" / "1.png").write_bytes(b"\x89PNG")
    given = {"name": "cats", "modality": "image", "storage_path": "cats"}
    body = api.post("/api/datasets", given, format="json").json()
    assert (body["integrity_checked"], body["integrity_passed"]) == (False, False)
    assert body["size_bytes"] == 4


def test_a_folder_of_classes_is_registered_and_judged(api, home):
    for colour in ("red", "blue"):
        (home / "datasets" / "colours" / "train" / colour).mkdir(parents=True)
        path = home / "datasets" / "colours" / "train" / colour / "1.png"
        Image.new("RGB", (4, 4), colour).save(path)
    given = {"name": "colours", "modality": "image", "storage_path": "colours"}
    body = api.post("/api/datasets", given, format="json").json()
    assert (body["integrity_checked"], body["integrity_passed"]) == (True, True)
    assert (body["num_samples"], body["statistics"]["row_format"]) == (2, "labelled_image")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"storage_path": "dates"}, "name"),
        ({"name": "x"}, "storage_path"),
        ({"name": "x", "storage_path": ""}, "storage_path"),
        ({"name": "x", "storage_path": "/etc"}, "storage_path"),
        ({"name": "x", "storage_path": "nowhere"}, "storage_path"),
        ({"name": "x", "storage_path": "empty"}, "storage_path"),
        ({"name": "x", "storage_path": "dates", "modality": "smell"}, "modality"),
        ({"name": "x", "storage_path": "dates", "version": "v" * 41}, "version"),
        ({"name": "x", "storage_path": "dates", "metadata": {"\x00": 1}}, "metadata"),
    ],
)
def test_what_cannot_be_registered_is_a_sentence_about_its_field(
    api, home, rows, given: dict[str, Any], field: str
):
    (home / "datasets" / "empty").mkdir()
    response = api.post("/api/datasets", given, format="json")
    assert response.status_code == 400
    assert list(response.json()["details"]) == [field]
    assert not Dataset.objects.exists()
    assert sorted(path.name for path in (home / "datasets").iterdir()) == ["dates", "empty"]


def test_an_upload_of_another_project_is_not_taken_by_its_path(client_of, ana, home):
    folder = home / "datasets" / str(uuid.uuid4())
    write_rows(folder / "train.jsonl", [pair(1)])
    for path in (folder, folder / "train.jsonl", f"{folder}.manifest.jsonl"):
        Path(f"{folder}.manifest.jsonl").write_text("{}")
        given = {"name": "mine now", "storage_path": str(path)}
        response = client_of(ana).post("/api/datasets", given, format="json")
        assert response.status_code == 400
        assert "belongs to an entry" in response.json()["error"]


# --- Changing, checking, deleting ----------------------------------------------------------------


def test_words_about_a_dataset_are_changed_and_facts_are_not(client_of, ana):
    dataset = make_dataset()
    path = f"/api/datasets/{dataset.pk}"
    changes = {"name": "Better", "version": "3", "description": "d", "tags": ["a"]}
    client = client_of(ana)
    assert client.patch(path, changes, format="json").status_code == 200
    dataset.refresh_from_db()
    assert {key: getattr(dataset, key) for key in changes} == changes
    for fact in ({"num_samples": 1}, {"integrity_passed": False}, {"storage_path": "/x"}):
        assert client.patch(path, fact, format="json").status_code == 400


def test_a_check_takes_the_files_as_they_are_now(api, rows):
    given = {"name": "dates", "storage_path": "dates"}
    made = api.post("/api/datasets", given, format="json").json()
    write_rows(rows / "train.jsonl", [pair(n) for n in range(4)])
    write_rows(rows / "test.jsonl", [pair(20)])
    response = api.post(f"/api/datasets/{made['id']}/check")
    assert response.status_code == 200
    body = response.json()
    assert body["num_samples"] == 7
    assert body["checksum"] != made["checksum"]
    assert body["integrity_passed"]
    assert body["integrity_report"]["counts"] == {"file_changed": 2}
    again = api.post(f"/api/datasets/{made['id']}/check").json()
    assert again["integrity_report"]["counts"] == {}
    assert again["checksum"] == body["checksum"]


def test_a_check_without_files_is_a_sentence(api, rows):
    made = api.post("/api/datasets", {"name": "x", "storage_path": "dates"}, format="json").json()
    for path in rows.iterdir():
        path.unlink()
    rows.rmdir()
    response = api.post(f"/api/datasets/{made['id']}/check")
    assert response.status_code == 400
    assert "storage_path" in response.json()["details"]


def test_a_dataset_registered_by_path_is_deleted_without_its_files(
    api, home, rows, django_capture_on_commit_callbacks
):
    made = api.post("/api/datasets", {"name": "x", "storage_path": "dates"}, format="json").json()
    with django_capture_on_commit_callbacks(execute=True):
        assert api.delete(f"/api/datasets/{made['id']}").status_code == 204
    assert not Dataset.objects.exists()
    assert list((home / "datasets").iterdir()) == [rows]
    assert len(list(rows.iterdir())) == 2


def test_a_dataset_in_use_is_not_deleted(api):
    experiment = make_experiment()
    response = api.delete(f"/api/datasets/{experiment.dataset_id}")
    assert response.status_code == 409
    assert Dataset.objects.filter(pk=experiment.dataset_id).exists()


def test_what_uses_it_is_named_to_those_who_may_see_it(client_of, ana, stranger):
    elsewhere = stranger.memberships.get().project
    dataset = make_dataset()
    for number in range(2):
        make_experiment(dataset=dataset, project=elsewhere, name=f"secret {number}")
    path = f"/api/datasets/{dataset.pk}"
    hidden = client_of(ana).delete(path)
    assert hidden.status_code == 409
    assert hidden.json()["error"] == "Still in use by 2 that you may not see."
    make_experiment(dataset=dataset, name="dates")
    said = client_of(ana).delete(path).json()["error"]
    assert said == "Still in use by experiment 'dates' and 2 more."
