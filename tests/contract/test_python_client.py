"""A client that openapi-python-client makes from the document works against a running server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Served
from tests.contract.test_openapi import COMMITTED

CONFIG = {
    "project_name_override": "trainyard-client",
    "package_name_override": "trainyard_client",
    "post_hooks": [],  # nobody will read it
    # What tus calls the bytes of a part of an upload.
    "content_type_overrides": {"application/offset+octet-stream": "application/octet-stream"},
}
PROGRAM = """
import json, sys
from uuid import UUID
from trainyard_client import Client
from trainyard_client.api.base_models import base_models_list
from trainyard_client.api.jobs import jobs_metrics_list, jobs_retrieve
from trainyard_client.models import JobStatus, Modality

client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)
models = base_models_list.sync(client=client, modality=Modality.TEXT, limit=10)
job = jobs_retrieve.sync(id=UUID(sys.argv[2]), client=client)
metrics = jobs_metrics_list.sync(id=job.id, client=client, points=2)
print(json.dumps({
    "models": [model.name for model in models.models],
    "total": models.total,
    "job": [str(job.id), job.name, job.status is JobStatus.COMPLETED, job.progress.step],
    "artifacts": [artifact.kind for artifact in job.artifacts],
    "steps": [row.step for row in metrics.metrics],
}))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the generated package lies in."""
    folder = tmp_path_factory.mktemp("client")
    config = folder / "config.json"
    config.write_text(json.dumps(CONFIG))
    end = subprocess.run(
        [
            *(Path(sys.executable).with_name("openapi-python-client"), "generate"),
            *("--path", COMMITTED, "--output-path", folder / "trainyard_client"),
            *("--meta", "none", "--config", config, "--fail-on-warning"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert end.returncode == 0, end.stdout + end.stderr
    return folder


def test_it_lists_models_and_reads_a_job(served: Served, package: Path) -> None:
    end = subprocess.run(
        [sys.executable, "-c", PROGRAM, served.address, served.ids["job"]],
        cwd=package,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert end.returncode == 0, end.stderr
    answer: dict[str, Any] = json.loads(end.stdout)
    assert answer["models"] == ["tiny-llama"]
    assert answer["total"] == 1
    assert answer["job"] == [served.ids["job"], "first", True, 3]
    assert answer["artifacts"] == ["model"]
    assert answer["steps"] == [1, 3]
