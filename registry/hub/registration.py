"""From the files of a finished download to an entry of the registry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from registry import feed, services
from registry.hub import outcome, places, selection
from registry.hub.models import Transfer
from registry.hub.selection import Plan
from registry.hub.trouble import Trouble
from registry.models import BaseModel, Dataset, Modality
from registry.services import CannotRegister, Received
from registry.storage import Manifest


def register(transfer: Transfer, attempt: int, plan: Plan, files: Manifest) -> None:
    """Bring the files to their place, look into them, and write entry, events and the transfer's
    end in one transaction. Raises Trouble where they are no model or no dataset."""
    folder = places.destination_of(transfer)
    settle(places.files_of(transfer.pk))
    os.rename(places.files_of(transfer.pk), folder)
    received = Received(transfer.entry_id, folder, files)
    common: dict[str, Any] = {
        "user": transfer.created_by,
        "project": transfer.project,
        "name": transfer.name,
        "received": received,
        "metadata": {**_origin(transfer, plan), "transfer_id": str(transfer.pk)},
    }
    try:
        if transfer.makes == "model":
            services.register_model(
                **common,
                hf_repo_id=plan.repo_id,
                hf_revision=plan.commit if plan.repo_id else "",
                also=lambda entry: _end(transfer, attempt, "base_model", entry),
            )
        else:
            services.register_dataset(
                **common,
                modality=_modality(files),
                also=lambda entry: _end(transfer, attempt, "dataset", entry),
            )
    except CannotRegister as error:
        if error.field == "project_id":
            advice = "Make room in the project, then retry."
            raise Trouble("over_quota", str(error), advice) from error
        what = transfer.makes
        raise Trouble(
            f"not_a_{what}",
            f"The files of '{transfer}' came whole, but they are no {what} that can be used here: "
            f"{error}",
            "Look at the repository's page; patterns can choose other files of it.",
            keep=False,
        ) from error


def _end(transfer: Transfer, attempt: int, kind: str, entry: BaseModel | Dataset) -> None:
    result = {"kind": kind, "id": str(entry.pk), "name": entry.name}
    message = feed.arrival(entry)
    outcome.completed(transfer, attempt, result, message)


def _origin(transfer: Transfer, plan: Plan) -> dict[str, str]:
    if transfer.is_from_the_web:
        return {"source": "url", "url": str(transfer)}
    if transfer.is_from_a_bucket:
        at = {"endpoint_url": transfer.endpoint_url} if transfer.endpoint_url else {}
        return {"source": "s3", "url": str(transfer), **at}
    return {
        "source": "huggingface",
        "hf_repo_id": plan.repo_id,
        "hf_revision": transfer.hf_revision,
        "hf_commit": plan.commit,
    }


def _modality(files: Manifest) -> str:
    """Of images where there are images and no rows."""
    suffixes = {suffix for name in files for suffix in Path(name).suffixes}
    lower = {suffix.lower() for suffix in suffixes}
    if lower & set(selection.IMAGES) and not lower & (set(selection.ROWS) - {".txt", ".json"}):
        return Modality.IMAGE
    return Modality.TEXT


def settle(folder: Path) -> None:
    """Have the disk take everything before the database says that it is there."""
    for here, _, names in os.walk(folder):
        for name in names:
            _sync(Path(here, name))
        _sync(Path(here))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
