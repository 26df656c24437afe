"""HTTP requests, answered by a few threads that stay.

Django's own ASGI handler gives every request a new thread and so a new database connection, which
takes longer than most answers (docs/decisions/http.md).
"""

from __future__ import annotations

from typing import Any

from a2wsgi import WSGIMiddleware
from django.core.exceptions import BadRequest

THREADS = 16


class InThreads:
    """An ASGI application around a WSGI one. Half a request is not taken for a whole one: a body
    whose sender went away raises BadRequest where it is read."""

    def __init__(self, wsgi: Any) -> None:
        self.application = WSGIMiddleware(wsgi, workers=THREADS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def receive_all() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("The client went away before it had sent everything.")
            return message

        await self.application(scope, receive_all, send)
