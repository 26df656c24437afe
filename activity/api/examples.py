"""What the OpenAPI document shows of the activity feed."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample

IMPORTED = {
    "id": "7d3c1c1e-6f0d-4c43-9d64-0f6b9a2f5b11",
    "event_type": "dataset_imported",
    "entity_type": "dataset",
    "entity_id": "c9a8f6a4-2a4e-4a39-8a36-5a1f0b1f3a55",
    "title": "Dataset imported: alpaca-cleaned",
    "message": "Successfully downloaded dataset from HuggingFace: yahma/alpaca-cleaned",
    "status": "success",
    "user_id": "2b0d4f0c-7f43-4c3e-9f39-0a6d3b2f8e21",
    "project_id": "b1e6a1de-5b7c-4f6e-8d2e-9a7c5f3b1d42",
    "metadata": {
        "dataset_id": "c9a8f6a4-2a4e-4a39-8a36-5a1f0b1f3a55",
        "dataset_name": "alpaca-cleaned",
        "hf_repo_id": "yahma/alpaca-cleaned",
        "size_bytes": 25_000_000,
        "num_samples": 52_000,
    },
    "read": False,
    "cursor": 118,
    "created_at": "2025-10-30T12:00:00Z",
}
COMPLETED = {
    "event_type": "job_completed",
    "entity_type": "job",
    "entity_id": "5f0c2c67-3f0f-4a3b-9a56-7b3e6f1d2c88",
    "title": "Training completed: Llama-2-7B Fine-tune",
    "message": "Successfully completed training job in 2h 34m",
    "status": "success",
    "metadata": {"job_name": "Llama-2-7B Fine-tune", "duration_seconds": 9240},
}

ACTIVITY = [OpenApiExample("A dataset was imported", IMPORTED, response_only=True)]
ACTIVITY_CREATE = [OpenApiExample("A training ended", COMPLETED, request_only=True)]
MARK_ALL_READ = [
    OpenApiExample("Of one project", {"project_id": IMPORTED["project_id"]}, request_only=True),
    OpenApiExample("Fifteen were unread", {"marked_read": 15}, response_only=True),
]

WEBHOOK = {
    "project_id": IMPORTED["project_id"],
    "name": "Team chat",
    "url": "https://hooks.slack.com/services/T000/B000/XXXX",
    "kind": "slack",
    "event_types": ["job_completed", "job_failed"],
}
WEBHOOK_CREATE = [OpenApiExample("To Slack", WEBHOOK, request_only=True)]
