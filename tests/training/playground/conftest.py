"""A model that answers: its process is a script of a few lines, in the place of the real one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from registry.models import BaseModel
from tests.factories import make_model, make_worker
from tests.training.conftest import sent
from training import tasks
from training.models import Generation, Serving, Worker
from training.playground import placing, serving

__all__ = ["sent"]

URL = "/api/generations"
# What the real process does, without a model: takes each order and gives the words of SCRIPT.
FAKE = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
orders, at, taken_back = [], 0, set()
def say(event, order, **facts):
    line = {"event": event, "time": time.time(), "id": order["id"], **facts}
    with open(folder / "events.jsonl", "a") as file:
        print(json.dumps(line), file=file, flush=True)
def look():
    global at
    path = folder / "orders.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines[at:]:
        told = json.loads(line)
        taken_back.add(told.get("take_back"))
        if "order" in told:
            orders.append(told["order"])
    at = len(lines)
def write(order, text="Four.", reason="stop"):
    for side in order["sides"]:
        say("begun", order, side=side, prompt_tokens=7)
        say("text", order, side=side, text=text, tokens=2)
        say("done", order, side=side, finish_reason=reason, tokens=2, seconds=0.5)
    say("answered", order)
"""
LOOP = """
while True:
    look()
    while orders:
        answer(orders.pop(0))
    time.sleep(0.01)
"""


@pytest.fixture(autouse=True)
def short_waits(settings: Any) -> None:
    settings.TRAINYARD_PLAYGROUND_IDLE_SECONDS = 0
    settings.TRAINYARD_STANDBY = False


@pytest.fixture
def here() -> Worker:
    return make_worker(settings.TRAINYARD_WORKER)


@pytest.fixture
def model(home: Path) -> BaseModel:
    folder = home / "models" / "tiny"
    folder.mkdir()
    found = {"inspection": {"has_chat_template": True}}
    return make_model(storage_path=str(folder), metadata=found)


@pytest.fixture
def ask(api: APIClient, model: BaseModel, sent: Any, here: Worker) -> Callable[..., dict[str, Any]]:
    """The API's answer to a prompt."""

    def go(**body: Any) -> dict[str, Any]:
        if not {"job_id", "adapter_id", "base_model_id"} & set(body):
            body["base_model_id"] = str(model.pk)
        if "messages" not in body:
            body.setdefault("prompt", "two plus two is")
        answer = api.post(URL, body, format="json")
        assert answer.status_code == 202, answer.json()
        found: dict[str, Any] = answer.json()
        return found

    return go


@pytest.fixture
def serve(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Serving]:
    """Place what waits and answer it, with ``answer(order)`` defined by this script."""

    def go(script: str) -> Serving:
        path = tmp_path_factory.mktemp("fake") / "fake.py"
        path.write_text(FAKE + script + LOOP, encoding="utf-8")
        monkeypatch.setattr(serving, "COMMAND", [sys.executable, str(path)])
        placing.dispatch()
        found = Serving.objects.get(ended_at=None)
        tasks.serve(str(found.pk))
        found.refresh_from_db()
        return found

    return go


def status_of(asked: dict[str, Any]) -> str:
    return str(Generation.objects.values_list("status", flat=True).get(pk=asked["id"]))
