"""What is asked of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    name: str
    path: str
    cookie: str = ""
    # The case of MLflow's that it is held against.
    like: str = ""
    # An object of the list that is changed before each request, so that nothing remembered holds.
    changed: str = ""


def cases(facts: dict[str, Any]) -> list[Case]:
    """``facts`` is what `benchmarks.latency.fill` has printed."""
    models, datasets, activity = (
        f"/api/{name}?limit=50" for name in ("base-models", "datasets", "activity")
    )
    deep, rare, project = facts["deep"], facts["rare"], facts["project"]
    model = f"/api/base-models/{facts['model']}"
    return [
        Case("base-models", models, like="plain"),
        Case("base-models, family and stage", f"{models}&family=llama&stage=production"),
        Case("base-models, trainable text", f"{models}&trainable=true&modality=text"),
        Case("base-models, search rare", f"{models}&search={rare}", like="search, rare"),
        Case("base-models, search frequent", f"{models}&search=llama", like="search, frequent"),
        Case("base-models, search nothing", f"{models}&search=doesnotoccur"),
        Case("base-models, one project", f"{models}&project={project}"),
        Case("base-models, deep offset", f"{models}&offset={deep}", like="deep offset"),
        Case("base-models, a member's", models, facts["cookie"]),
        Case("base-models, just changed", models, changed=model),
        Case(
            "base-models, trainable text, just changed",
            f"{models}&trainable=true&modality=text",
            changed=model,
        ),
        Case("base-models, search frequent, just changed", f"{models}&search=llama", changed=model),
        Case("datasets", datasets),
        Case("datasets, modality", f"{datasets}&modality=audio"),
        Case("datasets, search rare", f"{datasets}&search={rare}"),
        Case("datasets, search frequent", f"{datasets}&search=code"),
        Case("datasets, deep offset", f"{datasets}&offset={deep}"),
        Case("datasets, compatible", f"{datasets}&compatible_with_model={facts['model']}"),
        Case("datasets, a member's", datasets, facts["cookie"]),
        Case("activity", activity),
        Case("activity, entity_type", f"{activity}&entity_type=job"),
        Case("activity, event_type", f"{activity}&event_type=job_failed"),
        Case("activity, one project", f"{activity}&project_id={project}"),
        Case("activity, unread", f"{activity}&unread_only=true"),
        Case("activity, deep offset", f"{activity}&offset={deep}"),
        Case("activity, a member's", activity, facts["cookie"]),
        Case("one base model", model),
        Case("one dataset", f"/api/datasets/{facts['dataset']}"),
        Case("one activity", f"/api/activity/{facts['activity']}"),
    ]
