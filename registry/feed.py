"""The registry's lines in the activity feed, written inside the transaction of the change."""

from __future__ import annotations

from typing import Any

from activity.record import record
from registry.models import Adapter, BaseModel, Dataset, DatasetTask


def tell_of_model(entry: BaseModel | Adapter, *, user: Any, message: str = "") -> None:
    what = "Adapter" if isinstance(entry, Adapter) else "Model"
    metadata = {
        "model_id": str(entry.pk),
        "model_name": entry.name,
        "model_kind": "adapter" if isinstance(entry, Adapter) else "base_model",
        "size_bytes": entry.size_bytes,
    }
    if job_id := entry.metadata.get("job_id"):
        metadata["job_id"] = job_id
    record(
        "model_created",
        entity_type="model",
        entity_id=entry.pk,
        title=f"{what} created: {entry.name}",
        message=message or arrival(entry) or f"{what} registered: {entry.name}",
        status="success",
        user=user,
        project_id=entry.project_id,
        metadata=metadata,
    )


def tell_of_failed_check(model: BaseModel, message: str) -> None:
    """The contract has no type for it; the action says what it is."""
    record(
        "model_created",
        entity_type="model",
        entity_id=model.pk,
        title=f"Model could not be checked: {model.name}",
        message=message,
        status="error",
        project_id=model.project_id,
        metadata={
            "action": "check_failed",
            "model_id": str(model.pk),
            "model_name": model.name,
            "model_kind": "base_model",
        },
    )


def tell_of_dataset(dataset: Dataset, *, user: Any, being_checked: bool = False) -> None:
    bad = not dataset.integrity_passed and dataset.integrity_checked
    came = arrival(dataset)
    facts = dataset.metadata if came else {}
    origin = {name: facts[name] for name in ("hf_repo_id", "url") if name in facts}
    waits = ", and its rows are being checked." if being_checked else ""
    record(
        "dataset_imported",
        entity_type="dataset",
        entity_id=dataset.pk,
        title=f"Dataset {'imported' if came else 'registered'}: {dataset.name}",
        message=(came or f"Dataset registered: {dataset.name}")
        + (", but its integrity check found errors." if bad else waits),
        status="warning" if bad else "success",
        user=user,
        project_id=dataset.project_id,
        metadata={
            "dataset_id": str(dataset.pk),
            "dataset_name": dataset.name,
            **origin,
            "size_bytes": dataset.size_bytes,
            "num_samples": dataset.num_samples,
        },
    )


def arrival(entry: BaseModel | Adapter | Dataset) -> str:
    """How it has come, where a transfer has brought it."""
    facts = entry.metadata
    what = "dataset" if isinstance(entry, Dataset) else "model"
    if "transfer_id" not in facts:
        return ""
    if facts.get("source") == "huggingface":
        return f"Successfully downloaded {what} from HuggingFace: {facts.get('hf_repo_id')}"
    return f"Successfully downloaded {what} from {facts.get('url')}"


def tell_of_check(dataset: Dataset, *, user: Any) -> None:
    """Of one that a worker has made, after the dataset was registered: no import, which the action
    says, as the contract has no type for it."""
    passed = dataset.integrity_passed or not dataset.integrity_checked
    rows = f"{dataset.num_samples or 0:,} usable rows"
    record(
        "dataset_imported",
        entity_type="dataset",
        entity_id=dataset.pk,
        title=f"Dataset checked: {dataset.name}",
        message=f"{dataset.name} was checked: {rows}"
        + ("." if passed else ", and its integrity check found errors."),
        status="success" if passed else "warning",
        user=user,
        project_id=dataset.project_id,
        metadata={
            "action": "checked",
            "dataset_id": str(dataset.pk),
            "dataset_name": dataset.name,
            "num_samples": dataset.num_samples,
        },
    )


def tell_of_failed_task(task: DatasetTask, message: str) -> None:
    what = "be checked" if task.kind == task.Kind.CHECK else "be copied"
    record(
        "dataset_imported",
        entity_type="dataset",
        entity_id=task.dataset_id,
        title=f"Dataset could not {what}: {task.dataset.name}",
        message=message,
        status="error",
        user=task.requested_by,
        project_id=task.dataset.project_id,
        metadata={
            "action": "check_failed" if task.kind == task.Kind.CHECK else "copy_failed",
            "dataset_id": str(task.dataset_id),
            "dataset_name": task.dataset.name,
        },
    )
