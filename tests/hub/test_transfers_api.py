"""/api/transfers: create, look, filter, pause and the rest, and what is refused."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from accounts.models import Project, User
from registry.hub import dispatch
from registry.hub.models import Status, Transfer, TransferFile
from tests.factories import make_model, make_transfer
from tests.hub.conftest import ROWS
from tests.hub.fake_hub import FakeHub

pytestmark = pytest.mark.django_db
BODY = {"kind": "hf_dataset", "hf_repo_id": "yahma/alpaca-cleaned"}


@pytest.fixture(autouse=True)
def no_worker(monkeypatch: pytest.MonkeyPatch, home: Any) -> None:
    monkeypatch.setattr(dispatch, "ring", lambda transfers: None)


def test_a_transfer_is_created_and_waits(client_of: Any, ana: User, project: Project) -> None:
    client = client_of(ana)
    answer = client.post("/api/transfers", {**BODY, "allow_patterns": ["*.json"]}, format="json")
    assert answer.status_code == 201, answer.content
    shown = answer.json()
    assert shown["status"] == "QUEUED"
    assert (shown["name"], shown["hf_revision"]) == ("alpaca-cleaned", "main")
    assert (shown["project_id"], shown["user_id"]) == (str(project.pk), str(ana.pk))
    assert shown["progress"]["percent"] == 0
    assert shown["size_bytes"] is None
    assert client.get(f"/api/transfers/{shown['id']}").json()["id"] == shown["id"]
    assert client.get("/api/transfers").json()["total"] == 1


def test_the_same_key_creates_it_once(client_of: Any, ana: User) -> None:
    client = client_of(ana)
    answers = [
        client.post("/api/transfers", BODY, format="json", headers={"Idempotency-Key": "once"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert Transfer.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "ftp"}, "kind"),
        ({"hf_repo_id": "../../etc"}, "hf_repo_id"),
        ({"hf_repo_id": "a/b/c"}, "hf_repo_id"),
        ({"hf_repo_id": "https://huggingface.co/a/b"}, "hf_repo_id"),
        ({"hf_repo_id": ""}, "hf_repo_id"),
        ({"hf_revision": "a b"}, "hf_revision"),
        ({"hf_revision": "../main"}, "hf_revision"),
        ({"allow_patterns": "*.json"}, "allow_patterns"),
        ({"ignore_patterns": ["x"] * 101}, "ignore_patterns"),
        ({"bandwidth_limit": 0}, "bandwidth_limit"),
        ({"bandwidth_limit": "fast"}, "bandwidth_limit"),
        ({"project_id": str(uuid.uuid4())}, "project_id"),
        ({"model_id": str(uuid.uuid4())}, "model_id"),
        ({"kind": "hf_upload"}, "model_id"),
        ({"kind": "hf_upload", "model_id": str(uuid.uuid4())}, "model_id"),
        ({"kind": "hf_upload", "exports": ["../x"]}, "exports[0]"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    client_of: Any, ana: User, change: dict[str, Any], field: str
) -> None:
    answer = client_of(ana).post("/api/transfers", {**BODY, **change}, format="json")
    assert answer.status_code == 400, answer.content
    assert set(answer.json()["details"]) == {field}
    assert not Transfer.objects.exists()


def test_an_upload_names_a_model_that_one_may_give_away(
    client_of: Any, ana: User, stranger: User
) -> None:
    model = make_model(name="tiny")
    body = {"kind": "hf_upload", "hf_repo_id": "ana/out", "model_id": str(model.pk)}
    answer = client_of(ana).post("/api/transfers", body, format="json")
    assert answer.status_code == 201, answer.content
    assert (answer.json()["model_id"], answer.json()["name"]) == (str(model.pk), "tiny")
    assert answer.json()["private"] is True
    refused = client_of(stranger).post("/api/transfers", body, format="json")
    assert refused.status_code == 400


def test_a_viewer_starts_nothing(client_of: Any, viewer: User) -> None:
    assert client_of(viewer).post("/api/transfers", BODY, format="json").status_code == 403


def test_the_verbs_move_it_and_an_illegal_one_is_a_conflict(client_of: Any, ana: User) -> None:
    client = client_of(ana)
    transfer = make_transfer()
    path = f"/api/transfers/{transfer.pk}"
    for verb, status in [
        ("pause", "PAUSED"),
        ("resume", "QUEUED"),
        ("cancel", "CANCELLED"),
        ("retry", "QUEUED"),
    ]:
        answer = client.post(f"{path}/{verb}")
        assert (answer.status_code, answer.json()["status"]) == (200, status)
    refused = client.post(f"{path}/resume")
    assert refused.status_code == 409
    assert "is QUEUED and cannot become QUEUED" in refused.json()["error"]


def test_the_list_is_narrowed_and_ordered(client_of: Any, ana: User) -> None:
    client = client_of(ana)
    small = make_transfer(status=Status.RUNNING, size_bytes=10, name="apple")
    large = make_transfer(status=Status.FAILED, size_bytes=20, kind="hf_model")

    def ids(query: str) -> list[str]:
        return [row["id"] for row in client.get(f"/api/transfers?{query}").json()["transfers"]]

    assert ids("ordering=-size_bytes") == [str(large.pk), str(small.pk)]
    assert ids("status=RUNNING&status=PAUSED") == [str(small.pk)]
    assert ids("kind=hf_model") == [str(large.pk)]
    assert ids("q=APPL") == [str(small.pk)]
    for wrong in ("status=MOVING", "kind=ftp", "colour=red"):
        assert client.get(f"/api/transfers?{wrong}").status_code == 400


def test_the_list_asks_the_database_as_often_for_many_as_for_one(
    client_of: Any, ana: User, django_assert_num_queries: Any
) -> None:
    client = client_of(ana)
    for _ in range(5):
        make_transfer(status=Status.RUNNING)
    with django_assert_num_queries(4):  # who asks, how many, and they
        client.get("/api/transfers")


def test_it_shows_how_far_it_is(client_of: Any, ana: User) -> None:
    transfer = make_transfer(
        status=Status.RUNNING, size_bytes=1000, bytes_transferred=250, rate_bytes_s=50.0
    )
    TransferFile.objects.create(transfer=transfer, path="a", size_bytes=10, sha256="0" * 64)
    TransferFile.objects.create(transfer=transfer, path="b", size_bytes=990)
    client = client_of(ana)
    progress = client.get(f"/api/transfers/{transfer.pk}").json()["progress"]
    assert (progress["percent"], progress["eta_s"]) == (25.0, 15.0)
    files = client.get(f"/api/transfers/{transfer.pk}/files").json()["files"]
    assert [(file["path"], file["is_done"]) for file in files] == [("a", True), ("b", False)]


def test_the_size_is_known_before_anything_is_written_down(
    client_of: Any, ana: User, hub: FakeHub
) -> None:
    hub.add("datasets", "yahma/alpaca-cleaned", {"train.jsonl": ROWS, "load.py": b"import os"})
    answer = client_of(ana).post("/api/transfers/check", BODY, format="json")
    assert answer.status_code == 200, answer.content
    shown = answer.json()
    assert (shown["ok"], shown["size_bytes"], shown["files_total"]) == (True, len(ROWS), 1)
    assert shown["files"] == [{"path": "train.jsonl", "size_bytes": len(ROWS)}]
    assert shown["left_out"][0]["reason"] == "code, which is never run here"
    assert not Transfer.objects.exists()
    missing = client_of(ana).post(
        "/api/transfers/check", {**BODY, "hf_repo_id": "no/thing"}, format="json"
    )
    assert missing.json()["ok"] is False
    assert missing.json()["failure"]["kind"] == "missing"
