"""What the parts of our pages are given on /styleguide: things as they might be, in no database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from django import forms

from accounts.lists import Asked
from registry.pictures import histogram
from training.lineage import Node, Picture
from training.views.jobs import DEEDS
from training.wizard import picture
from training.wizard.catalogue import Words
from training.wizard.fields import Field

NOBODY = UUID(int=0)
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LONG = "a-name-without-an-end-" * 4


class Thing(SimpleNamespace):
    """A row as templates see one. It has a name, and every attribute that it is given."""

    pk = NOBODY
    created_at = NOW

    def __str__(self) -> str:
        return str(self.name)


class ExamplesAsked(Asked):
    orders = {"newest": ("pk",), "name": ("pk",)}
    selects = ("kind", "sort")

    kind = forms.ChoiceField(
        choices=[("", "Any"), ("one", "One kind"), ("other", "Another kind")], required=False
    )


def _some(*rows: Any) -> SimpleNamespace:
    return SimpleNamespace(all=list(rows))


EXPERIMENT = Thing(
    name="An experiment",
    recipe=Thing(name="LoRA"),
    base_model=Thing(name="Llama-2-7B"),
    dataset=Thing(name="alpaca-cleaned 1.0"),
)


def _job(status: str, label: str, percent: float, **facts: Any) -> Thing:
    is_final = status in ("COMPLETED", "FAILED", "CANCELLED")
    return Thing(
        **{
            "name": f"{label}, fine-tuned",
            "status": status,
            "get_status_display": label,
            "experiment": EXPERIMENT,
            "is_final": is_final,
            "started_at": NOW,
            "finished_at": NOW + timedelta(minutes=7) if is_final else None,
            "attempt": 1,
            "worker": "a-machine",
            "max_steps": 100,
            "step": round(percent),
            "last_metrics": {"loss": 1.23, "tokens_per_s": 12_345.0, "memory_mb": 14_540.0},
            "progress": {
                "percent": percent,
                "step": round(percent),
                "max_steps": 100,
                "eta_s": None,
            },
            **facts,
        }
    )


RUNNING = _job(
    "RUNNING",
    "Running",
    60,
    spark="0,2 20,9 40,14 60,17 80,20 100,21 120,23",
    progress={"percent": 60, "step": 60, "max_steps": 100, "eta_s": 19},
)
QUEUED = _job("QUEUED", "Queued", 0, waiting_reason="Waits for 2 GPUs.", last_metrics={})
FAILED = _job(
    "FAILED",
    "Failed",
    40,
    attempt=2,
    failure={
        "kind": "out_of_memory",
        "message": "The GPU ran out of memory.",
        "advice": "Halve the rows at a time.",
    },
)
JOBS = (RUNNING, QUEUED, _job("COMPLETED", "Completed", 100), FAILED)
FIXES = (
    {
        "title": "Rows at a time: 8 → 4",
        "estimated_vram_mb": 11_200,
        "keeps_result": True,
        "fits": True,
        "time_per_step_ms": 410,
    },
    {
        "title": "Precision: fp32 → bf16",
        "estimated_vram_mb": 17_800,
        "keeps_result": False,
        "fits": False,
        "time_per_step_ms": 380,
    },
)


def _activity(status: str, event_type: str, title: str, *, read: bool) -> Thing:
    facts = {"status": status, "event_type": event_type, "entity_id": None, "read": read}
    return Thing(name=title, title=title, message="60 of 100 steps were done.", **facts)


ACTIVITIES = (
    _activity("success", "job_completed", "Training completed: unread", read=False),
    _activity("error", "job_failed", f"Training failed: {LONG}", read=True),
    _activity("info", "dataset_imported", "Dataset imported: dates", read=True),
)


def _device(name: str, **facts: Any) -> Thing:
    return Thing(**{"name": name, "memory_mb": 81_559, "job": None, "busy": False, **facts})


MACHINES = (
    Thing(
        name="default",
        workers=_some(
            Thing(
                name="a-machine",
                alive=True,
                devices=_some(
                    _device("H100 80GB", job=RUNNING),
                    _device("H100 80GB", busy=True),
                    _device("CPU"),
                ),
            ),
            Thing(name="another-machine", alive=False, seen_at=NOW, devices=_some(_device("L4"))),
        ),
    ),
    Thing(name="cpu only", workers=_some()),
)

EVALUATION = (
    {
        "name": "eval_loss",
        "before": 3.1,
        "after": 1.5,
        "tone": "good",
        "bars": [{"percent": 100.0}, {"percent": 48.4}],
    },
    {
        "name": "accuracy",
        "before": 0.41,
        "before_error": 0.02,
        "after": 0.39,
        "after_error": 0.02,
        "tone": "bad",
        "bars": [{"percent": 41.0}, {"percent": 39.0}],
    },
)
CHECKPOINTS = (
    {
        "checkpoint": {"step": 60, "size_bytes": 48 * 2**20, "created_at": NOW},
        "is_best": True,
        "is_there": True,
        "cannot_go": "It is the newest.",
        "numbers": {"eval_loss": 1.5},
    },
    {
        "checkpoint": {"step": 40, "size_bytes": 48 * 2**20, "created_at": NOW},
        "is_there": True,
        "elsewhere": JOBS[2],
    },
    {"checkpoint": {"step": 20, "size_bytes": 48 * 2**20, "created_at": NOW}},
)
EVENTS = (
    {"event": "checkpoint", "step": 40, "message": "Step 40, 48.0 MiB.", "created_at": NOW},
    {"event": "failed", "message": "The GPU ran out of memory.", "created_at": NOW},
)
STEP_ROWS = [{"step": n, "loss": 3 / n, "learning_rate": 2e-4, "tokens_per_s": 9e3} for n in (1, 2)]
CURVE = "0,20 60,60 120,95 180,120 240,138 300,150 360,160 420,171 480,180 540,186 600,190 720,196"
DRAWINGS = (
    {
        "label": "Loss",
        "ends": (3.0, 1.2),
        "first": {"step": 1},
        "last": {"step": 60},
        "points": CURVE,
    },
)
FOUND_LINES = {
    "lines": [
        {"offset": 0, "text": "step 40: loss 1.50"},
        {"offset": 9, "text": f"step 60 {LONG}"},
    ],
    "next_offset": 99,
    "size": 99,
}

FINDINGS = (
    {
        "file": "train.jsonl",
        "line": 7,
        "field": "completion",
        "level": "error",
        "message": "The completion is empty, so there is nothing to learn.",
        "fix": "Fill it in, or remove the row.",
    },
    {"file": "train.jsonl", "line": 12, "level": "warning", "message": "The row is there twice."},
)
DATASET = Thing(
    name="alpaca-cleaned",
    integrity_report={"findings": FINDINGS, "errors": 1, "warnings": 1},
    statistics={"layout": "alpaca"},
)
AT_WORK = (
    {
        "kind": "check",
        "status": "running",
        "percent": 40,
        "rows": 21_000,
        "read_bytes": 10_000_000,
        "size_bytes": 25_000_000,
    },
)
SAMPLES = (
    {
        "where": "train.jsonl, line 1",
        "tokens": 22,
        "learned": 8,
        "pieces": [
            ("<s>[INST] When is the fourth of July? [/INST] ", "read"),
            ("It is on 07-04.", "learned"),
            (" Every year, and so on", "cut"),
        ],
        "shortened": True,
    },
    {
        "where": "train.jsonl, line 2",
        "tokens": 9,
        "learned": 0,
        "pieces": [("<s>[INST] And the fifth? [/INST]", "read")],
    },
    {"where": "train.jsonl, line 3", "problem": "The template of this model refuses the row."},
)
LABELS = ({"name": "spam", "share": 0.25, "percent": 25.0, "rows": 250},)


def _field(path: str, kind: str, label: str, value: str, **facts: Any) -> Field:
    words = Words(label, "What it does, in a sentence.")
    return Field(
        **{"path": path, "words": words, "kind": kind, "value": value, "default": value, **facts}
    )


FIELDS = (
    _field("example.rate", "text", "As it is", "2e-4"),
    _field("example.wrong", "text", "With an error", "quick", error="A valid number is required."),
    _field("example.said", "text", "Said otherwise", "3", default="2", why="The recipe has 2."),
    _field(
        "example.one", "choice", "One of several", "a", choices=[("a", "linear"), ("b", "cosine")]
    ),
    _field("example.switch", "switch", "A switch", "true"),
    _field(
        "export",
        "many",
        "Several of several",
        "gguf",
        choices=[("safetensors", "safetensors"), ("gguf", "GGUF")],
    ),
)
STEPS = tuple(
    {"step": {"name": name, "label": label}, "number": number, **facts}
    for number, (name, label, facts) in enumerate(
        (
            ("model", "Done", {"done": True, "reachable": True}),
            ("data", "Here", {"current": True, "reachable": True}),
            ("style", "Wrong", {"wrong": True, "reachable": True}),
            ("settings", "To come", {}),
        ),
        1,
    )
)
MEMORY = picture.of(
    {
        "vram_breakdown": {
            "model_params_gb": 6.5,
            "gradients_gb": 1.2,
            "optimizer_gb": 2.4,
            "activations_gb": 4.0,
            "cuda_context_gb": 0.5,
            "buffer_gb": 0.8,
            "reused_gb": 0.4,
        },
        "estimated_vram_mb": 15_400,
        "headroom_mb": -1_400,
    }
)


def _lineage() -> Picture:
    model = Node("Model", "Llama-2-7B", link="#main")
    data = Node("Dataset", "alpaca-cleaned", link="#main", row=1)
    job = Node("Job", "A job that goes on", link="#main", tone="RUNNING", column=1)
    result = Node("Adapter", LONG, column=2, is_here=True)
    return Picture([model, data, job, result], [(model, job), (data, job), (job, result)])


DELIVERIES = tuple(
    {
        "pk": f"example-{state}",
        "state": state,
        "get_state_display": state.capitalize(),
        "event_type": "job_completed",
        "response_status": code,
        "duration_ms": 42,
        "attempts": tries,
        "created_at": NOW,
        "due_at": NOW,
        "error": error,
        "request_body": '{"event": "job_completed"}',
        "response_body": "ok",
    }
    for state, code, tries, error in (
        ("delivered", 200, 1, ""),
        ("pending", 503, 2, "It answered 503."),
        ("failed", 404, 8, "It answered 404."),
    )
)


def of_everything() -> dict[str, Any]:
    return {
        "form": ExamplesAsked({}).valid(),
        "deeds": list(DEEDS.items()),
        "jobs": JOBS,
        "counts": {"RUNNING": 1, "QUEUED": 1, "COMPLETED": 1, "FAILED": 1, "total": 4},
        "models": 3,
        "datasets": 2,
        "job": FAILED,
        "fixes": FIXES,
        "activities": ACTIVITIES,
        "partitions": MACHINES,
        "evaluation": EVALUATION,
        "checkpoints": CHECKPOINTS,
        "may_change": True,
        "events": EVENTS,
        "rows_shown": STEP_ROWS,
        "drawings": DRAWINGS,
        "chart": {"width": 720, "height": 240},
        "curve": CURVE,
        "words": "step",
        "found": FOUND_LINES,
        "dataset": DATASET,
        "findings": FINDINGS,
        "codes": {"empty": 1, "duplicate": 1},
        "finding": "",
        "at_work": AT_WORK,
        "next_version": "1.1",
        "only_train": True,
        "histogram": histogram((2**n, 5 + n * n % 9) for n in range(3, 12)),
        "samples": SAMPLES,
        "labels": LABELS,
        "max_length": 20,
        "fields": FIELDS,
        "steps": STEPS,
        "draft": Thing(name="A draft"),
        "webhook": Thing(name="A webhook"),
        "picture": MEMORY,
        "lineage": _lineage(),
        "deliveries": DELIVERIES,
    }
