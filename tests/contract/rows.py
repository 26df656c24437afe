"""A little of everything, made inside the process of a server's home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings

from tests import factories


def make_everything() -> dict[str, str]:
    """The ids of what was made, by name."""
    from activity.models import Activity
    from training.models import Status

    folder = Path(settings.TRAINYARD_MODELS) / "tiny-llama"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    model = factories.make_model(
        name="tiny-llama",
        hidden_size=64,
        num_layers=2,
        vocab_size=400,
        stage="production",
        storage_path=str(folder),
    )
    dataset = factories.make_dataset(statistics=STATISTICS, name="dates")
    adapter = factories.make_adapter(model)
    experiment = factories.make_experiment(base_model=model, dataset=dataset, preflight=REPORT)
    job = factories.make_job(experiment=experiment, status=Status.COMPLETED, name="first")
    factories.make_job(experiment=experiment, status=Status.FAILED)
    factories.make_job(experiment=experiment)
    factories.make_metrics(job, [3.0, 2.0, 1.5])
    factories.make_event(job, "checkpoint", step=2)
    factories.make_checkpoint(job, 2)
    factories.make_artifact(job)
    factories.make_worker(gpus=1)
    recipe = factories.make_recipe()
    for transfer_status in ("RUNNING", "FAILED", "COMPLETED"):
        factories.make_transfer(status=transfer_status)
    factories.make_activity(title="Job completed: first", event_type="job_completed")
    found: dict[str, Any] = {
        "model": model,
        "dataset": dataset,
        "adapter": adapter,
        "experiment": experiment,
        "job": job,
        "recipe": recipe,
        "activity": Activity.objects.all()[0],
    }
    return {name: str(row.pk) for name, row in found.items()} | {"project": str(model.project_id)}


STATISTICS = {
    "splits": ["train", "validation"],
    "num_splits": 2,
    "rows": {"train": 20_000, "validation": 100},
    "row_format": "prompt_completion",
    "mean_characters": 80.0,
    "max_characters": 120,
}
REPORT = {
    "ok": True,
    "warnings": [],
    "errors": [],
    "estimated_vram_mb": 512,
    "vram_breakdown": {"model_params_gb": 0.1, "total_with_buffer_gb": 0.5},
    "time_per_step_ms": 12.5,
    "throughput": {"samples_per_second": 64.0, "tokens_per_second": 32_768.0},
    "headroom_mb": None,
    "fits": None,
    "bottleneck": "compute",
    "total_time_s": 12.5,
    "total_time_range_s": [10.0, 20.0],
    "time_breakdown_s": {"start": 2.5, "training": 10.0},
    "rows": {"basis": "guessed", "mean_tokens": 80.0, "steps": None},
    "disk_required_mb": 100,
    "host_memory_required_mb": 1500,
    "download_mb": 0,
    "confidence": {"memory_percent": 5.0, "time_percent": 20.0, "basis": "CPU"},
    "fixes": [],
}
