"""Local mode: this machine's owner, without a login, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def post(**extra: Any) -> Any:
    body = {"event_type": "job_created", "entity_type": "job", "title": "x"}
    return Client().post("/api/activity", body, content_type="application/json", **extra)


def test_a_request_of_this_machine_is_the_owners() -> None:
    assert Client().get("/api/projects").json()["projects"][0]["name"] == "Default"
    assert post().status_code == 201


def test_another_machine_is_refused() -> None:
    assert Client(REMOTE_ADDR="10.0.0.7").get("/api/projects").status_code == 403


def test_a_foreign_name_for_this_machine_is_refused() -> None:
    answer = Client(HTTP_HOST="evil.example").get("/api/projects")
    assert answer.status_code == 400
    assert "Invalid HTTP_HOST header: 'evil.example'" in answer.json()["error"]


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:9", "null"])
def test_a_page_of_another_site_may_not_write(origin: str) -> None:
    answer = post(HTTP_ORIGIN=origin, HTTP_HOST="localhost:5000")
    assert answer.status_code == 403
    assert answer.json() == {"error": f"A page of {origin} may not change anything here."}


def test_our_own_page_may_write() -> None:
    assert post(HTTP_ORIGIN="http://localhost:5000", HTTP_HOST="localhost:5000").status_code == 201


def test_only_json_is_taken() -> None:
    answer = Client().post("/api/activity", {"title": "x"})
    assert answer.status_code == 415
    assert "error" in answer.json()
