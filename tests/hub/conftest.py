"""A fake hub for a test, and a transfer that a worker would run, run in the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Project, User
from registry.hub import dispatch, fetch, runner, services
from registry.hub.models import Kind, Transfer
from tests.hub.fake_hub import Content, FakeHub, running_hub
from tests.registry.files import write_model

ROWS = b"".join(
    b'{"prompt": "%d plus %d is", "completion": "%d"}\n' % (a, b, a + b)
    for a in range(30)
    for b in range(30)
)


@pytest.fixture
def hub(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    settings.TRAINYARD_TRANSFER_BACKOFF_SECONDS = 0
    settings.TRAINYARD_TRANSFER_SILENCE_SECONDS = 5
    monkeypatch.setattr(fetch, "FIRST_WAIT_SECONDS", 0)
    monkeypatch.setattr(dispatch, "ring", lambda transfers: None)  # there is no worker here
    with running_hub() as hub:
        settings.HF_ENDPOINT = hub.address
        yield hub


@pytest.fixture
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Content]:
    folder = write_model(tmp_path_factory.mktemp("model"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


Run = Callable[..., Transfer]


@pytest.fixture
def transfer_of(project: Project, ana: User, home: Path) -> Run:
    """A transfer in the queue, of Ana's."""

    def make(kind: str, repo_id: str, **fields: Any) -> Transfer:
        return services.create(user=ana, project=project, kind=kind, hf_repo_id=repo_id, **fields)

    return make


@pytest.fixture
def brought(transfer_of: Run) -> Run:
    """``brought("hf_dataset", "ana/rows")``: the transfer after one attempt at it."""

    def bring(kind: str = Kind.HF_DATASET, repo_id: str = "ana/rows", **fields: Any) -> Transfer:
        transfer = transfer_of(kind, repo_id, **fields)
        runner.run(transfer, transfer.attempt)
        transfer.refresh_from_db()
        return transfer

    return bring
