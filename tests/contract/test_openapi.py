"""The OpenAPI document: current, complete, and served with its pages from this machine alone."""

from __future__ import annotations

import re
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.staticfiles import finders
from django.core.management import call_command
from rest_framework.test import APIClient

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"
METHODS = ("get", "post", "patch", "delete")


@cache
def document() -> dict[str, Any]:
    written: dict[str, Any] = yaml.safe_load(COMMITTED.read_text(encoding="utf-8"))
    return written


def operations() -> list[tuple[str, str]]:
    paths = document()["paths"]
    return [(method, path) for path in paths for method in METHODS if method in paths[path]]


def operation(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][path][method]
    return found


def list_operations() -> list[str]:
    return [
        path
        for method, path in operations()
        if method == "get" and "limit" in {p["name"] for p in operation(method, path)["parameters"]}
    ]


def test_the_committed_document_is_current() -> None:
    """`make schema` writes it. A warning of the generator is an error here."""
    now = StringIO()
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=now)
    assert yaml.safe_load(now.getvalue()) == document(), "run `make schema`"


def test_it_is_of_version_3_1() -> None:
    assert document()["openapi"] == "3.1.0"


@pytest.mark.parametrize(("method", "path"), operations())
def test_every_operation_says_how_it_fails(method: str, path: str) -> None:
    answers = operation(method, path)["responses"]
    expected = {"400", "401", "403", "default"}
    expected |= {"404"} if "{" in path else set()
    expected |= {"409"} if method != "get" else set()
    assert expected <= set(answers)
    for code in expected:
        name = answers[code]["$ref"].rsplit("/", 1)[1]
        body = document()["components"]["responses"][name]["content"]["application/json"]
        assert body == {"schema": {"$ref": "#/components/schemas/Error"}}


@pytest.mark.parametrize("path", list_operations())
def test_every_list_has_the_envelope_and_the_common_parameters(path: str) -> None:
    found = operation("get", path)
    names = {parameter["name"] for parameter in found["parameters"]}
    assert {"limit", "offset", "ordering"} <= names
    name = found["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    envelope = document()["components"]["schemas"][name.rsplit("/", 1)[1]]
    assert {"total", "limit", "offset"} < set(envelope["required"])
    [plural] = set(envelope["required"]) - {"total", "limit", "offset"}
    assert envelope["properties"][plural]["type"] == "array"


def test_every_resource_of_the_contract_is_in_it() -> None:
    for method, path in [
        ("get", "/api/base-models"),
        ("get", "/api/base-models/{id}"),
        ("get", "/api/datasets"),
        ("get", "/api/activity"),
        ("post", "/api/activity"),
        ("post", "/api/activity/{id}/mark-read"),
        ("post", "/api/activity/mark-all-read"),
        ("post", "/api/experiments/preflight"),
        ("post", "/api/jobs"),
        ("get", "/api/recipes/{id}"),
    ]:
        assert operation(method, path)


def test_an_upload_is_multipart() -> None:
    body = operation("post", "/api/datasets")["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    upload = document()["components"]["schemas"]["UploadRequest"]["properties"]["file"]
    assert upload["format"] == "binary"


def test_anybody_on_this_machine_can_read_it(api: APIClient) -> None:
    answer = api.get("/api/schema", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    assert answer.json()["paths"].keys() == document()["paths"].keys()


def test_the_page_loads_nothing_from_elsewhere(api: APIClient) -> None:
    page = api.get("/api/docs", headers={"Accept": "text/html"})
    assert page.status_code == 200
    named = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert len(named) >= 3
    for name in named:
        assert name.startswith("/static/"), name
        assert finders.find(name.removeprefix("/static/")), name


@pytest.mark.parametrize("path", ["/api/schema", "/api/docs"])
def test_in_server_mode_one_signs_in_first(path: str, api: APIClient, server_mode: None) -> None:
    assert api.get(path).status_code == 401
