"""What the page of a model or adapter shows of its files."""

from __future__ import annotations

from typing import Any

from registry import storage
from registry.inspect import role_of
from registry.models import Adapter, BaseModel
from registry.verification import manifest_path

MOST_SHOWN = 200


def contents(entry: BaseModel | Adapter) -> dict[str, Any]:
    """For ``registry/_files.html``."""
    manifest = (storage.read_manifest(manifest_path(entry)) if entry.storage_path else None) or {}
    inspection = entry.metadata.get("inspection")
    inspection = inspection if isinstance(inspection, dict) else {}
    return {
        "files": [
            {"name": name, "role": role_of(name), **facts}
            for name, facts in sorted(manifest.items())[:MOST_SHOWN]
        ],
        "files_total": len(manifest),
        "inspection": inspection,
        "findings": inspection.get("findings", []),
        "file_problems": inspection.get("file_problems", []),
    }
