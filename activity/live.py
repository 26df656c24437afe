"""Telling open pages and workers that there is something new. The only caller of the channel layer.

A message is a doorbell: it names what to look at, and whoever hears it reads the database from
where they left off. So a message that is lost, doubled or late costs nothing.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from celery import current_app
from channels.layers import get_channel_layer
from django.db import transaction
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)


def push_on_commit(group: str, message_type: str, **facts: Any) -> None:
    """Ring for everyone in ``group`` once the transaction around this call has been committed."""
    transaction.on_commit(partial(push, group, message_type, **facts))


def push(group: str, message_type: str, **facts: Any) -> None:
    """Ring now. A broker that is away is logged: the open pages look for themselves in time."""
    layer = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(group, {"type": message_type, **facts})
    except (OSError, _redis_error()) as error:
        log.warning("nobody could be told of %s in %s: %s", message_type, group, error)


def send_on_commit(task: str, **options: Any) -> None:
    """Send a task once the transaction around this call has been committed. A broker that is away
    is logged: the clock looks for what was not sent."""
    transaction.on_commit(partial(_send, task, options))


def _send(task: str, options: dict[str, Any]) -> None:
    try:
        current_app.send_task(task, **options)
    except (OSError, OperationalError) as error:
        log.warning("%s could not be sent: %s", task, error)


def _redis_error() -> type[Exception]:
    from redis.exceptions import RedisError

    return RedisError
