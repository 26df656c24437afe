"""The command lines of the API's documentation, with real ids, against a running server."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.contract.conftest import Served


def curl(*arguments: str) -> tuple[int, Any]:
    """The status and the JSON of the answer."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("no curl on this machine")
    end = subprocess.run(
        [program, "--silent", "--show-error", "--write-out", "\n%{http_code}", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    body, _, status = end.stdout.rpartition("\n")
    return int(status), json.loads(body)


@pytest.mark.parametrize(
    ("path", "plural", "found"),
    [
        ("base-models?trainable=true", "models", "model"),
        ("base-models?q=llama", "models", "model"),
        ("base-models?stage=production&modality=text", "models", "model"),
        ("datasets?compatible_with_model={model}", "datasets", "dataset"),
        ("datasets?modality=text", "datasets", "dataset"),
        ("datasets?q=instruction", "datasets", None),
        ("activity?unread_only=true", "activities", "activity"),
        ("activity?entity_type=job", "activities", "activity"),
        ("activity?project_id={project}&limit=20", "activities", "activity"),
    ],
)
def test_the_lists(served: Served, path: str, plural: str, found: str | None) -> None:
    status, body = curl(f"{served.address}/api/{path.format(**served.ids)}")
    assert status == 200, body
    ids = [row["id"] for row in body[plural]]
    assert served.ids[found] in ids if found else ids == []


def body_of(served: Served, **more: Any) -> str:
    ids = {f"{key}_id": served.ids[name] for key, name in NAMES.items()}
    return json.dumps({**ids, **more})


NAMES = {"base_model": "model", "dataset": "dataset", "recipe": "recipe"}
JSON = ("-H", "Content-Type: application/json")


def test_preflight(served: Served) -> None:
    plan = body_of(
        served,
        train={"max_steps": 1000, "global_batch_size": 8, "grad_accum": 4},
        resources={"gpus": 1, "gpu_type": "a100"},
    )
    status, report = curl(
        *("-X", "POST", f"{served.address}/api/experiments/preflight"), *JSON, "-d", plan
    )
    assert (status, report["ok"], report["errors"]) == (200, True, [])
    assert report["estimated_vram_mb"] > 0


def test_creating_a_job(served: Served) -> None:
    before = curl(f"{served.address}/api/jobs?limit=0")[1]["total"]
    plan = body_of(
        served,
        name="My Training Job",
        train={"max_steps": 1000, "global_batch_size": 8},
        resources={"gpus": 1},
        metadata={"origin": "template", "template_id": served.ids["recipe"]},
    )
    status, job = curl(*("-X", "POST", f"{served.address}/api/jobs"), *JSON, "-d", plan)
    assert status == 201, job
    assert (job["name"], job["metadata"]["origin"]) == ("My Training Job", "template")
    assert curl(f"{served.address}/api/jobs?limit=0")[1]["total"] == before + 1
    curl("-X", "POST", f"{served.address}/api/jobs/{job['id']}/cancel")
