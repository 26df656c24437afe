"""What tests of jobs need beside the cast."""

from __future__ import annotations

from typing import Any

import pytest
from celery import current_app


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The messages that would go to the broker, instead of going there."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(
        current_app._get_current_object(),
        "send_task",
        lambda name, args=(), **options: messages.append({"name": name, "args": args, **options}),
    )
    return messages
