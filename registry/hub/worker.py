"""What a worker that takes transfers does at its start and its end."""

from __future__ import annotations

from typing import Any

from celery import current_app, signals

from registry.hub import dispatch
from registry.hub.pulse import going_down


def takes_transfers() -> bool:
    return dispatch.QUEUE in current_app.amqp.queues.consume_from


@signals.worker_ready.connect
def _begin(**_: Any) -> None:
    """What it was moving when it ended goes on at once, not after a lease."""
    if takes_transfers():
        dispatch.reap_of_this_worker()
        dispatch.dispatch()


@signals.worker_shutting_down.connect
def _go_down(**_: Any) -> None:
    going_down.set()
