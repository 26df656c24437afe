"""The worker of a real platform posts what happens, also when its message was lost."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.activity.receiver import listening
from tests.survival.conftest import Yard
from tests.trainyard.running.instances import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_an_event_is_delivered_and_a_broker_that_dies_loses_none(yard: Yard) -> None:
    with listening() as receiver:
        chosen = {"name": "ours", "url": receiver.url(), "event_types": ["job_paused"]}
        webhook = yard.post("/api/webhooks", chosen)

        def happen(title: str) -> None:
            event = {"event_type": "job_paused", "entity_type": "job", "title": title}
            yard.post("/api/activity", {**event, "project_id": webhook["project_id"]})

        happen("first")
        [posted] = receiver.wait_for(1)
        assert b'"first"' in posted.body

        broker = yard.instance.pid_of("valkey")
        assert broker is not None
        os.kill(broker, signal.SIGKILL)
        happen("while the broker was away")
        assert b"was away" in receiver.wait_for(2)[1].body

        def log() -> list[dict[str, Any]]:
            return list(yard.get(f"/api/webhooks/{webhook['id']}/deliveries")["deliveries"])

        wait_for("the log", lambda: [d["state"] for d in log()] == ["delivered"] * 2, 30)
    yard.request("DELETE", f"/api/webhooks/{webhook['id']}")
