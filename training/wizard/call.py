"""What the API makes the same job from."""

from __future__ import annotations

from typing import Any

from training.wizard import fields
from training.wizard.sheet import Sheet

# Of a draft that begins with a checkpoint: answers that no step asks for.
RESUMED_JOB = "resume_from_checkpoint.job_id"
RESUMED_STEP = "resume_from_checkpoint.step"


def body(sheet: Sheet) -> dict[str, Any]:
    """What the wizard itself creates the job from; only what differs from the API's defaults."""
    rows = {"base_model": sheet.model, "dataset": sheet.dataset, "recipe": sheet.recipe}
    settings = sheet.settings
    found: dict[str, Any] = {
        "name": sheet.value("name"),
        "project_id": str(sheet.draft.project_id),
        **{f"{name}_id": str(row.pk) for name, row in rows.items() if row is not None},
        **{name: settings[name] for name in settings},
    }
    if resumed := resumed_from(sheet):
        found["resume_from_checkpoint"] = resumed
    if sheet.draft.metadata:
        found["metadata"] = sheet.draft.metadata
    if sheet.value("start") == fields.NO:
        found["start"] = False
    return found


def resumed_from(sheet: Sheet) -> dict[str, Any] | None:
    """The checkpoint that the job is to begin with."""
    answers = sheet.draft.answers
    if RESUMED_JOB not in answers:
        return None
    return {"job_id": answers[RESUMED_JOB], "step": int(answers[RESUMED_STEP])}
