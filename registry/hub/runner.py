"""One attempt at one transfer, in a thread of a worker that takes transfers."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, transaction
from django.utils import timezone

from registry import quotas, storage
from registry.hub import dispatch, lifecycle, outcome, places, registration, tokens, upload
from registry.hub.fetch import Fetch, disk_trouble
from registry.hub.lifecycle import IllegalMove
from registry.hub.models import Phase, Status, Transfer, TransferFile
from registry.hub.pulse import Pulse, going_down
from registry.hub.selection import Plan, RemoteFile
from registry.hub.sources import Source
from registry.hub.sources.cache import CacheSource
from registry.hub.sources.hub import HubSource
from registry.hub.sources.web import WebSource
from registry.hub.trouble import Failure, Stopped, Trouble
from registry.storage import Manifest

log = logging.getLogger(__name__)

# What the disk keeps free for everything else.
RESERVE_BYTES = 2**30


def run(transfer: Transfer, attempt: int) -> str:
    """The state that it is in afterwards. Raises IllegalMove for whoever comes second."""
    claim(transfer, attempt)
    useless = False
    try:
        with Pulse(transfer) as pulse, places.held(transfer.pk, pulse.pause):
            work(transfer, pulse)
    except Stopped:
        _stopped(transfer, attempt)
    except Trouble as trouble:
        log.info("transfer %s, attempt %s: %s", transfer.pk, attempt, trouble)
        _ended(outcome.troubled, transfer, attempt, trouble)
        useless = not trouble.keep
    except IllegalMove as error:  # paused or cancelled in the last moment
        log.info("transfer %s, attempt %s: %s", transfer.pk, attempt, error)
        _stopped(transfer, attempt)
    except (DatabaseError, InterfaceError):
        # Nothing is lost: the reconciler takes it up again from where it stopped.
        log.exception("transfer %s, attempt %s: the database does not answer", transfer.pk, attempt)
        raise
    except Exception as error:
        log.exception("transfer %s, attempt %s broke", transfer.pk, attempt)
        _ended(outcome.failed, transfer, attempt, _our_own_fault(error))
        raise
    finally:
        dispatch.dispatch()
    transfer.refresh_from_db()
    if useless or transfer.status in (Status.COMPLETED, Status.CANCELLED):
        dispatch.tidy(transfer)
    return transfer.status


@transaction.atomic
def claim(transfer: Transfer, attempt: int) -> None:
    """QUEUED to RUNNING, once for each attempt. Raises IllegalMove for whoever comes second."""
    first_time = transfer.started_at is None
    now = timezone.now()
    lifecycle.move(
        transfer,
        Status.RUNNING,
        attempt=attempt,
        sources=frozenset({Status.QUEUED}),
        started_at=transfer.started_at or now,
        heartbeat_at=now,
        worker=settings.TRAINYARD_WORKER,
    )
    if first_time:
        lifecycle.tell(transfer, "started", "info")


def work(transfer: Transfer, pulse: Pulse) -> None:
    try:
        if transfer.is_upload:
            upload.send(transfer, pulse)
        else:
            download(transfer, pulse)
    except OSError as error:
        raise disk_trouble(error) from error


def download(transfer: Transfer, pulse: Pulse) -> None:
    source = source_of(transfer)
    plan = agreed_plan(transfer, source, pulse)
    files = list(transfer.files.all())
    _take_back(transfer)
    here = {file.pk for file in files if file.is_done and _is_whole(transfer, file)}
    missing = [file for file in files if file.pk not in here]
    parts = sum(min(_part_bytes(transfer, file), file.size_bytes) for file in missing)
    whole = sum(file.size_bytes for file in files if file.pk in here)
    refuse_without_room(transfer, plan.size_bytes - whole - parts)
    pulse.begin(Phase.MOVING, bytes_moved=whole + parts, files_done=len(here))
    Fetch(source, plan, pulse, _write_down).all(missing)
    pulse.begin(Phase.CHECKING, bytes_moved=plan.size_bytes, files_done=len(files))
    registration.register(transfer, pulse.attempt, plan, manifest_of(transfer))


def source_of(transfer: Transfer) -> Source:
    if transfer.is_from_the_web:
        return WebSource(transfer)
    if transfer.is_from_a_bucket:
        # Here, because few transfers need it, and it takes half a second and 30 MB.
        from registry.hub.sources.s3 import S3Source

        return S3Source(transfer, tokens.key_of(transfer))
    if settings.HF_HUB_OFFLINE:
        return CacheSource(transfer)
    return HubSource(transfer, tokens.of(transfer))


def agreed_plan(transfer: Transfer, source: Source, pulse: Pulse) -> Plan:
    """The plan that the transfer has, or a new one, written down before the first byte."""
    if transfer.hf_commit:
        files = [RemoteFile(f.path, f.size_bytes, f.expected) for f in transfer.files.all()]
        return Plan(transfer.hf_commit, transfer.hf_repo_id, files)
    pulse.begin(Phase.LISTING)
    plan = source.plan()
    refuse_too_large(transfer, plan.size_bytes)
    for file in plan.files:
        places.file_in(places.files_of(transfer.pk), file.path)  # refuses what leads elsewhere
    keep_plan(transfer, plan)
    return plan


@transaction.atomic
def keep_plan(transfer: Transfer, plan: Plan) -> None:
    """Raises Stopped where the transfer is another's by now."""
    ours = Transfer.objects.filter(
        pk=transfer.pk, attempt=transfer.attempt, status=Status.RUNNING, hf_commit=""
    )
    known = ours.update(
        hf_commit=plan.commit,
        size_bytes=plan.size_bytes,
        files_total=len(plan.files),
        left_out=plan.left_out,
        notes=plan.notes,
        tries=0,  # that is further than before
    )
    if not known:
        raise Stopped
    TransferFile.objects.bulk_create(
        [
            TransferFile(
                transfer=transfer, path=f.path, size_bytes=f.size_bytes, expected=f.expected
            )
            for f in plan.files
        ],
        batch_size=500,
    )
    transfer.refresh_from_db()


def refuse_too_large(transfer: Transfer, size_bytes: int) -> None:
    if reason := quotas.refusal(transfer.project, size_bytes):
        raise Trouble("over_quota", reason, "Take a part of it by allow_patterns, or make room.")
    limit = settings.TRAINYARD_TRANSFER_LIMIT_GB
    if limit and size_bytes > limit * 10**9:
        raise Trouble(
            "too_large",
            f"It is {size_bytes / 10**9:,.1f} GB, and a transfer may have {limit:,} GB here "
            "(TRAINYARD_TRANSFER_LIMIT_GB).",
            "Take a part of it by allow_patterns, or ask the operator for more.",
        )


def refuse_without_room(transfer: Transfer, missing_bytes: int) -> None:
    """What other transfers are still to bring counts as taken."""
    others = Transfer.objects.filter(status=Status.RUNNING).exclude(pk=transfer.pk)
    promised = sum(
        max((size or 0) - moved, 0)
        for size, moved in others.values_list("size_bytes", "bytes_transferred")
    )
    free = places.free_bytes() - promised - RESERVE_BYTES
    if missing_bytes > free:
        raise Trouble(
            "no_room",
            f"{missing_bytes / 10**9:,.1f} GB are still to come, and the disk has "
            f"{max(free, 0) / 10**9:,.1f} GB for them.",
            "Make room, or take a part by allow_patterns; then retry.",
        )


def manifest_of(transfer: Transfer) -> Manifest:
    rows = transfer.files.values_list("path", "sha256", "size_bytes")
    return {path: {"sha256": sha256, "size": size} for path, sha256, size in rows}


def _write_down(done: Sequence[tuple[int, str]]) -> None:
    rows = [TransferFile(pk=pk, sha256=sha256) for pk, sha256 in done]
    TransferFile.objects.bulk_update(rows, ["sha256"], batch_size=200)


def _take_back(transfer: Transfer) -> None:
    """An attempt that was killed between bringing the files to their place and registering them
    has left them there, and more around it."""
    storage.remove(*places.around(transfer))
    destination, files = places.destination_of(transfer), places.files_of(transfer.pk)
    if destination.is_dir() and not any(files.iterdir()):
        files.rmdir()
        os.rename(destination, files)


def _is_whole(transfer: Transfer, file: TransferFile) -> bool:
    """It was compared with its hash when it got its name; here it only must not have gone."""
    path = places.file_in(places.files_of(transfer.pk), file.path)
    return path.is_file() and path.stat().st_size == file.size_bytes


def _part_bytes(transfer: Transfer, file: TransferFile) -> int:
    part = places.part_of(transfer.pk, file.pk)
    return part.stat().st_size if part.is_file() else 0


def _stopped(transfer: Transfer, attempt: int) -> None:
    """Somebody has moved it meanwhile, or the worker goes down."""
    if going_down.is_set():
        _ended(outcome.put_back, transfer, attempt)


def _ended(ending: Any, transfer: Transfer, attempt: int, *what: Any) -> None:
    try:
        ending(transfer, attempt, *what)
    except IllegalMove as error:
        log.info("transfer %s, attempt %s is over: %s", transfer.pk, attempt, error)


def _our_own_fault(error: Exception) -> Failure:
    return {
        "kind": "bug",
        "message": f"The platform failed at it: {type(error).__name__}: {error}",
        "advice": "The worker's log has the details. Retrying goes on from where it stopped.",
    }
