"""What a transfer would bring, before anything is written down."""

from __future__ import annotations

from dataclasses import dataclass

from registry.hub import places
from registry.hub.models import Transfer
from registry.hub.selection import LeftOut, Plan
from registry.hub.trouble import Failure, Trouble

MOST_FILES_SHOWN = 500


@dataclass(frozen=True)
class Check:
    """``ok`` is whether the transfer would succeed as far as anybody can tell now. ``passes``: it
    would not now, but what stands in the way may pass by itself."""

    ok: bool
    hf_commit: str
    size_bytes: int | None
    files_total: int
    files: list[dict[str, object]]
    left_out: list[LeftOut]
    notes: list[str]
    free_bytes: int
    failure: Failure | None
    passes: bool


def check(transfer: Transfer) -> Check:
    """Ask the hub about a transfer that is in no database yet. For downloads and uploads."""
    # Here, because the web process asks the hub only now and then, and its library takes 0.3 s.
    from registry.hub import runner, upload

    plan = Plan("", transfer.hf_repo_id, [])
    trouble: Trouble | None = None
    try:
        if transfer.is_upload:
            plan = upload.plan(transfer)
        else:
            plan = runner.source_of(transfer).plan()
            runner.refuse_too_large(transfer, plan.size_bytes)
            runner.refuse_without_room(transfer, plan.size_bytes)
    except Trouble as error:
        trouble = error
    files: list[dict[str, object]] = [
        {"path": file.path, "size_bytes": file.size_bytes} for file in plan.files[:MOST_FILES_SHOWN]
    ]
    return Check(
        ok=trouble is None,
        hf_commit=plan.commit,
        size_bytes=plan.size_bytes if plan.files else None,
        files_total=len(plan.files),
        files=files,
        left_out=plan.left_out,
        notes=plan.notes,
        free_bytes=places.free_bytes(),
        failure=trouble.failure if trouble else None,
        passes=trouble is not None and trouble.passes,
    )
