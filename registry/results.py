"""What jobs make: the verbs that register a trained model or adapter, with its lineage."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from registry import facts, feed, storage, store
from registry.inspect import Inspected
from registry.models import Adapter, BaseModel
from registry.storage import Manifest
from registry.verification import manifest_path


@transaction.atomic
def create_trained_model(
    *,
    name: str,
    project_id: uuid.UUID | None,
    base_model: BaseModel,
    storage_path: str,
    inspected: Inspected,
    metadata: dict[str, Any],
    user: Any,
    files: Manifest | None = None,
    checksum: str = "",
) -> BaseModel:
    """Register the model that a job has trained, inside the transaction of the job's move.

    The files have been read before (``inspected``; ``files`` is their manifest where the caller has
    one), so nothing here waits for a disk.
    """
    fields = facts.with_facts({"family": base_model.family}, inspected, has_files=True)
    model = BaseModel.objects.create(
        id=uuid.uuid4(),
        project_id=project_id,
        name=name,
        description=f"Fine-tuned from {base_model.name}.",
        storage_path=storage_path,
        tokenizer_path=storage_path if inspected.has_tokenizer else "",
        size_bytes=storage.total_size(files) if files else inspected.size_bytes,
        checksum=storage.checksum(files) if files else checksum,
        verified_at=timezone.now() if files else None,
        metadata={**metadata, **facts.found_in(inspected)},
        **fields,
    )
    _tell_trained(model, base_model, files, user)
    return model


@transaction.atomic
def create_trained_adapter(
    *,
    name: str,
    project_id: uuid.UUID | None,
    base_model: BaseModel,
    method: str,
    storage_path: str,
    size_bytes: int,
    checksum: str,
    r: int | None,
    lora_alpha: int | None,
    target_modules: Any,
    metadata: dict[str, Any],
    model_card: str,
    user: Any,
    files: Manifest | None = None,
) -> Adapter:
    """Register the adapter that a job has trained, inside the transaction of the job's move."""
    adapter = Adapter.objects.create(
        id=uuid.uuid4(),
        project_id=project_id,
        name=name,
        description=f"A {method} adapter for {base_model.name}.",
        base_model=base_model,
        method=method,
        storage_path=storage_path,
        size_bytes=size_bytes,
        checksum=checksum,
        verified_at=timezone.now() if files else None,
        r=r,
        lora_alpha=lora_alpha,
        target_modules=target_modules,
        metadata=metadata,
        model_card=model_card,
    )
    _tell_trained(adapter, base_model, files, user)
    return adapter


def _tell_trained(
    entry: BaseModel | Adapter, base_model: BaseModel, files: Manifest | None, user: Any
) -> None:
    if files:
        # After the commit: a job whose move is rolled back leaves no manifest behind. A partial has
        # no name, by which Django would tell of its failure.
        transaction.on_commit(lambda: _keep_result(entry, files), robust=True)
    feed.tell_of_model(entry, user=user, message=f"Trained from {base_model.name}: {entry.name}")


def _keep_result(entry: BaseModel | Adapter, files: Manifest) -> None:
    path = manifest_path(entry)
    storage.write_manifest(path, files)
    storage.write_seen(storage.seen_path(path), store.adopt(Path(entry.storage_path), files))
