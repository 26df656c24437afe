"""``/healthz`` and ``/readyz``."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from trainyard.celery import app

pytestmark = pytest.mark.django_db
NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
def celery_broker(monkeypatch: pytest.MonkeyPatch, broker: str, settings: Any) -> None:
    settings.REDIS_URL = broker
    monkeypatch.setattr(app.conf, "broker_url", broker.replace("unix://", "redis+socket://"))


def test_this_process_answers() -> None:
    assert Client().get("/healthz").json() == {"ok": True}


@pytest.mark.usefixtures("celery_broker")
def test_ready_when_everything_answers() -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ok": True, "database": "ok", "broker": "ok", "channel_layer": "ok"}


@pytest.mark.usefixtures("celery_broker")
def test_not_ready_without_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.conf, "broker_url", NOBODY)
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["broker"].startswith("no answer")
    assert answer.json()["channel_layer"] == "ok"


@pytest.mark.usefixtures("celery_broker")
def test_not_ready_without_the_channel_layer(settings: Any) -> None:
    settings.REDIS_URL = NOBODY
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["channel_layer"].startswith("no answer")
