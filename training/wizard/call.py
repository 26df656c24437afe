"""The call of the API that makes the same job: as JSON, and as a line for the shell."""

from __future__ import annotations

import json
import shlex
from typing import Any

from training.wizard import fields
from training.wizard.sheet import Sheet


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
    if sheet.draft.metadata:
        found["metadata"] = sheet.draft.metadata
    if sheet.value("start") == fields.NO:
        found["start"] = False
    return found


def curl(sheet: Sheet, address: str, *, with_token: bool) -> str:
    """Runs as it stands, where a token is needed with one in TRAINYARD_TOKEN."""
    lines = [
        f"curl {shlex.quote(f'{address}/api/jobs')}",
        "-H 'Content-Type: application/json'",
        *(['-H "Authorization: Bearer $TRAINYARD_TOKEN"'] if with_token else []),
        f"-d {shlex.quote(json.dumps(body(sheet), indent=2, ensure_ascii=False))}",
    ]
    return " \\\n  ".join(lines)
