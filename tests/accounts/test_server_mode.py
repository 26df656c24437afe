"""Server mode, with everything running for real: nobody comes in without a login or a token."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from tests.trainyard.running.instances import ROOT, Instance

PASSWORD = "correct horse battery staple"
WRITES_PER_MINUTE = 30
SERVER = {
    "TRAINYARD_MODE": "server",
    "SECRET_KEY": "of this test alone, and longer than fifty characters",
    "ALLOWED_HOSTS": "127.0.0.1,trainyard.example.org",
    "TRAINYARD_HTTPS": "false",
    "TRAINYARD_ADMIN_PASSWORD": PASSWORD,
    "TRAINYARD_WRITES_PER_MINUTE": str(WRITES_PER_MINUTE),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("server"), extra=SERVER)
    instance.start()
    try:
        yield instance
    finally:
        instance.kill_everything()


@pytest.fixture
def browser(server: Instance) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=10) as client:
        yield client


def sign_in(browser: httpx.Client, password: str = PASSWORD) -> httpx.Response:
    form = browser.get("/login", params={"next": "/jobs"})
    fields = dict(re.findall(r'name="(csrfmiddlewaretoken|next)" value="([^"]*)"', form.text))
    return browser.post("/login", data={**fields, "username": "admin", "password": password})


def new_token(browser: httpx.Client, user: str = "admin") -> dict[str, str]:
    """The headers of a program that acts for the user."""
    body = {"name": "ci", "scope": "write"}
    answer = browser.post("/api/tokens", json=body, auth=(user, PASSWORD))
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def test_the_api_answers_nobody(browser: httpx.Client) -> None:
    for answer in (
        browser.get("/api/projects"),
        browser.post("/api/tokens", json={"name": "x"}),
        browser.get("/api/projects", auth=("admin", PASSWORD)),
        browser.post("/api/tokens", json={"name": "x"}, auth=("admin", "wrong")),
    ):
        assert answer.status_code == 401
        assert set(answer.json()) == {"error"}


def test_pages_lead_to_the_login_and_the_admin_to_its_own(browser: httpx.Client) -> None:
    for path in ("/", "/jobs", "/models", "/datasets", "/activity"):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/login?next={path}")
    answer = browser.get("/admin/")
    assert answer.headers["Location"] == "/admin/login/?next=/admin/"
    assert browser.get("/healthz").status_code == 200


def test_the_login_form_works_and_so_does_signing_out(browser: httpx.Client) -> None:
    answer = sign_in(browser)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/jobs")
    assert browser.get("/jobs").status_code == 200
    assert browser.get("/api/projects").status_code == 200
    browser.post("/logout", headers={"X-CSRFToken": browser.cookies[csrf_cookie(browser)]})
    assert browser.get("/api/projects").status_code == 401


def test_a_wrong_password_is_refused(browser: httpx.Client) -> None:
    answer = sign_in(browser, "wrong")
    assert answer.status_code == 200
    assert "correct username and password" in answer.text
    assert browser.get("/jobs").status_code == 302


def test_a_session_writes_with_its_csrf_token_only(browser: httpx.Client) -> None:
    sign_in(browser)
    body = {"name": "from a browser"}
    assert browser.post("/api/tokens", json=body).status_code == 403
    token = {"X-CSRFToken": browser.cookies[csrf_cookie(browser)]}
    assert browser.post("/api/tokens", json=body, headers=token).status_code == 201


def csrf_cookie(browser: httpx.Client) -> str:
    return next(name for name in browser.cookies if "csrf" in name)


def test_a_token_works_until_it_is_revoked(browser: httpx.Client) -> None:
    headers = new_token(browser)
    tokens = browser.get("/api/tokens", headers=headers).json()["tokens"]
    path = f"/api/tokens/{tokens[0]['id']}"
    assert browser.delete(path, headers=headers).status_code == 204
    assert browser.get("/api/tokens", headers=headers).status_code == 401


def test_another_host_name_is_refused(browser: httpx.Client) -> None:
    assert browser.get("/healthz", headers={"Host": "trainyard.example.org"}).status_code == 200
    assert browser.get("/api/projects", headers={"Host": "evil.example"}).status_code == 400


def socket(server: Instance, headers: dict[str, str]) -> ClientConnection:
    address = f"127.0.0.1:{server.port}"
    return connect(
        f"ws://{address}/ws/activity?after=0",
        additional_headers={"Origin": f"http://{address}", **headers},
        proxy=None,
    )


def test_a_socket_is_closed_to_nobody_and_open_to_a_token(
    server: Instance, browser: httpx.Client
) -> None:
    for headers in ({}, {"Authorization": "Bearer ty_wrong"}):
        with socket(server, headers) as client, pytest.raises(ConnectionClosedError) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
    headers = new_token(browser)
    project = browser.get("/api/projects", headers=headers).json()["projects"][0]
    event = {
        "event_type": "model_created",
        "entity_type": "model",
        "title": "It is there",
        "project_id": project["id"],
    }
    assert browser.post("/api/activity", json=event, headers=headers).status_code == 201
    with socket(server, headers) as client:
        assert json.loads(client.recv(timeout=10))["activity"]["title"] == "It is there"


def test_too_many_writes_are_told_when_to_come_back(
    server: Instance, browser: httpx.Client
) -> None:
    """By a user of its own: others of this module write as the administrator."""
    subprocess.run(
        [sys.executable, "manage.py", "createsuperuser", "--noinput"],
        cwd=ROOT,
        env={
            **server.environment,
            "DJANGO_SUPERUSER_USERNAME": "busy",
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "DJANGO_SUPERUSER_EMAIL": "busy@example.org",
        },
        check=True,
        capture_output=True,
    )
    headers = new_token(browser, "busy")
    answers = [
        browser.post("/api/activity/mark-all-read", json={}, headers=headers)
        for _ in range(WRITES_PER_MINUTE)
    ]
    assert [answer.status_code for answer in answers] == [200] * (WRITES_PER_MINUTE - 1) + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert browser.get("/api/projects", headers=headers).status_code == 200


@pytest.mark.parametrize("missing", ["SECRET_KEY", "ALLOWED_HOSTS"])
def test_it_does_not_start_without(missing: str, tmp_path: Path) -> None:
    without = {**SERVER, missing: ""}
    refusal = Instance(tmp_path / "home", extra=without).refusal()
    assert refusal == f"Cannot start. {missing}: must be set when TRAINYARD_MODE is server\n"
    assert not os.path.exists(tmp_path / "home" / "db.sqlite3")
