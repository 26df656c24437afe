"""The registry's lines in the activity feed, written inside the transaction of the change."""

from __future__ import annotations

from typing import Any

from activity.record import record
from registry.models import Adapter, BaseModel, Dataset


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
        message=message or f"{what} registered: {entry.name}",
        status="success",
        user=user,
        project_id=entry.project_id,
        metadata=metadata,
    )


def tell_of_dataset(dataset: Dataset, *, user: Any) -> None:
    bad = not dataset.integrity_passed and dataset.integrity_checked
    record(
        "dataset_imported",
        entity_type="dataset",
        entity_id=dataset.pk,
        title=f"Dataset registered: {dataset.name}",
        message=f"Dataset registered: {dataset.name}"
        + (", but its integrity check found errors." if bad else ""),
        status="warning" if bad else "success",
        user=user,
        project_id=dataset.project_id,
        metadata={
            "dataset_id": str(dataset.pk),
            "dataset_name": dataset.name,
            "size_bytes": dataset.size_bytes,
            "num_samples": dataset.num_samples,
        },
    )
