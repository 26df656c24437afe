"""``/ws/jobs/<id>?after=<cursor>``: a job's metrics and events from there on, in order."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from activity.streaming import NOT_FOUND, SIGN_IN_FIRST, DatabaseStream
from training.api.serializers import JobEventSerializer, MetricSerializer
from training.lifecycle import group_of
from training.models import Job

ROWS_AT_ONCE = 1000


class JobConsumer(DatabaseStream, AsyncJsonWebsocketConsumer):
    """Messages: ``metrics`` (a batch), ``event`` (one), each with the cursor to go on from, and
    ``job``, how the job stands now, whenever that has changed."""

    async def connect(self) -> None:
        self.user = self.scope["user"]
        self.job_id = self.scope["url_route"]["kwargs"]["job_id"]
        self.last_state: dict[str, Any] | None = None
        if not self.user.is_authenticated:
            await self.refuse(SIGN_IN_FIRST)
        elif not await self.may_see():
            await self.refuse(NOT_FOUND)
        else:
            await self.begin([group_of(self.job_id)])

    async def job_changed(self, message: dict[str, Any]) -> None:
        await self.catch_up()

    @database_sync_to_async
    def may_see(self) -> bool:
        return bool(Job.objects.visible_to(self.user).filter(pk=self.job_id).exists())

    @database_sync_to_async
    def newest_cursor(self) -> int:
        return int(Job.objects.values_list("cursor", flat=True).get(pk=self.job_id))

    @database_sync_to_async
    def read_after(self, cursor: int) -> tuple[list[dict[str, Any]], int]:
        """The job first: what is written after that has a cursor beyond its own, and is for the
        next reading."""
        job = Job.objects.get(pk=self.job_id)
        until = min(job.cursor, cursor + ROWS_AT_ONCE)
        span = {"cursor__gt": cursor, "cursor__lte": until}
        rows = [
            *_tagged("metric", MetricSerializer(job.metrics.filter(**span), many=True).data),
            *_tagged("event", JobEventSerializer(job.events.filter(**span), many=True).data),
        ]
        messages = _batched(sorted(rows, key=itemgetter("cursor")))
        state = state_of(job)
        if state != self.last_state and until == job.cursor:
            self.last_state = state
            messages.append({"type": "job", "job": state})
        return messages, until


def state_of(job: Job) -> dict[str, Any]:
    """What of a job changes while one watches."""
    return {
        "id": str(job.pk),
        "status": job.status,
        "attempt": job.attempt,
        "progress": job.progress,
        "last_metrics": job.last_metrics,
        "evaluation": job.evaluation,
        "failure": job.failure,
        "waiting_reason": job.waiting_reason,
        "cancel_requested": job.cancel_requested_at is not None,
    }


def _tagged(kind: str, rows: Any) -> list[dict[str, Any]]:
    return [{"type": kind, "cursor": row["cursor"], kind: row} for row in rows]


def _batched(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring metrics become one message."""
    messages: list[dict[str, Any]] = []
    for row in rows:
        if row["type"] == "event":
            messages.append(row)
        elif messages and messages[-1]["type"] == "metrics":
            messages[-1]["metrics"].append(row["metric"])
            messages[-1]["cursor"] = row["cursor"]
        else:
            messages.append(
                {"type": "metrics", "cursor": row["cursor"], "metrics": [row["metric"]]}
            )
    return messages
