"""What people and programs do with transfers: create, pause, resume, cancel, retry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from django.db import transaction
from django.utils import timezone

from accounts.models import Project
from activity import audit
from registry.hub import dispatch, lifecycle
from registry.hub.lifecycle import IllegalMove
from registry.hub.models import Status, Transfer


@transaction.atomic
def create(
    *,
    user: Any,
    project: Project | None,
    kind: str,
    hf_repo_id: str = "",
    url: str = "",
    name: str = "",
    also: Callable[[Transfer], object] | None = None,
    **fields: Any,
) -> Transfer:
    """Put a transfer into the queue. ``also`` is called with it inside the transaction."""
    transfer = Transfer.objects.create(
        project=project,
        created_by=user if user.is_authenticated else None,
        kind=kind,
        hf_repo_id=hf_repo_id,
        url=url,
        name=name or _name_of(hf_repo_id, url),
        queued_at=timezone.now(),
        **fields,
    )
    if also is not None:
        also(transfer)
    dispatch.wake()
    return transfer


def _name_of(hf_repo_id: str, url: str) -> str:
    """The last part of a repository's or a file's path."""
    if url.startswith("s3://"):
        return PurePosixPath(url.removeprefix("s3://")).name.partition(".")[0] or "bucket"
    path = PurePosixPath(hf_repo_id or unquote(urlsplit(url).path))
    return path.name if hf_repo_id else path.name.partition(".")[0] or "download"


@contextmanager
def _noted(transfer: Transfer, verb: str, actor: Any) -> Iterator[None]:
    before = transfer.status
    with transaction.atomic():
        yield
        audit.note(transfer, verb, actor=actor, changes={"status": [before, transfer.status]})


def pause(transfer: Transfer, *, actor: Any) -> Transfer:
    """It stops within a second, and what has come stays. Raises IllegalMove."""
    with _noted(transfer, "pause", actor):
        lifecycle.move(transfer, Status.PAUSED)
        dispatch.wake()
    return transfer


def resume(transfer: Transfer, *, actor: Any) -> Transfer:
    """Go on from the byte where it stopped. Raises IllegalMove."""
    with _noted(transfer, "resume", actor):
        lifecycle.move(transfer, Status.QUEUED, sources=frozenset({Status.PAUSED}))
        dispatch.wake()
    return transfer


def retry(transfer: Transfer, *, actor: Any) -> Transfer:
    """Try a failed one again from where it stopped, a cancelled one from the beginning. Raises
    IllegalMove."""
    sources = frozenset({Status.FAILED, Status.CANCELLED})
    with _noted(transfer, "retry", actor):
        lifecycle.move(transfer, Status.QUEUED, sources=sources, tries=0)
        dispatch.wake()
    return transfer


def cancel(transfer: Transfer, *, actor: Any) -> Transfer:
    """Stop it for good and remove what has come. Raises IllegalMove."""
    with _noted(transfer, "cancel", actor):
        lifecycle.move(transfer, Status.CANCELLED, bytes_transferred=0, files_done=0)
        transfer.files.update(sha256="")
        # A worker that is at it removes it when it notices; else it is the reconciler's.
        transaction.on_commit(lambda: dispatch.tidy(transfer), robust=True)
        dispatch.wake()
    return transfer


VERBS: dict[str, Callable[..., Transfer]] = {
    "pause": pause,
    "resume": resume,
    "cancel": cancel,
    "retry": retry,
}
# From where each of them can be done: the buttons that are shown.
POSSIBLE: dict[str, frozenset[str]] = {
    "pause": lifecycle.sources_of(Status.PAUSED),
    "resume": frozenset({Status.PAUSED}),
    "retry": frozenset({Status.FAILED, Status.CANCELLED}),
    "cancel": lifecycle.sources_of(Status.CANCELLED),
}

__all__ = ["POSSIBLE", "VERBS", "IllegalMove", "cancel", "create", "pause", "resume", "retry"]
