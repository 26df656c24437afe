"""A model goes out to the hub, and the hub has what was sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accounts.models import Project, User
from registry.hub import runner, services, tokens
from registry.hub.models import Kind, Status
from tests.factories import make_model
from tests.hub.conftest import Run
from tests.hub.fake_hub import FakeHub, Fault
from tests.registry.files import write_model

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # The hub's own library says it of itself.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


@pytest.fixture
def model(home: Path, project: Project) -> Any:
    folder = write_model(home / "exports" / "job" / "safetensors")
    (home / "exports" / "job" / "gguf").mkdir()
    (home / "exports" / "job" / "gguf" / "model.gguf").write_bytes(b"GGUF" + bytes(1000))
    return make_model(name="tiny", storage_path=str(folder))


def pushed(transfer_of: Run, model: Any, **fields: Any) -> Any:
    transfer = transfer_of(Kind.HF_UPLOAD, "ana/out", entry_id=model.pk, **fields)
    runner.run(transfer, 1)
    return transfer


def test_a_model_is_pushed_with_its_other_exports(
    hub: FakeHub, transfer_of: Run, model: Any, project: Project, ana: User
) -> None:
    tokens.keep(project, "hf_good", user=ana)
    transfer = pushed(transfer_of, model, exports=["gguf"])
    assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)
    repo = hub.repos["models", "ana/out"]
    folder = Path(model.storage_path)
    sent = {path.name: path.read_bytes() for path in folder.iterdir()}
    sent["gguf/model.gguf"] = b"GGUF" + bytes(1000)
    assert repo.commits[repo.refs["main"]] == sent
    assert repo.private_to == "hf_good"
    assert transfer.result["id"] == repo.refs["main"]
    assert transfer.bytes_transferred == transfer.size_bytes == sum(map(len, sent.values()))
    assert {file.path for file in transfer.files.all() if file.is_done} == set(sent)


def test_a_second_attempt_does_not_send_the_large_files_again(
    hub: FakeHub, transfer_of: Run, model: Any, project: Project, ana: User
) -> None:
    tokens.keep(project, "hf_good", user=ana)
    hub.fault_of = lambda asked: Fault(status=403) if "/commit/" in asked.path else None
    transfer = pushed(transfer_of, model)
    assert transfer.failure["kind"] == "forbidden"
    hub.fault_of = lambda asked: None
    sent_before = len([asked for asked in hub.asked if asked.method == "PUT"])
    services.retry(transfer, actor=ana)
    runner.run(transfer, transfer.attempt)
    assert (transfer.status, transfer.waiting_reason) == (Status.COMPLETED, "")
    assert len([asked for asked in hub.asked if asked.method == "PUT"]) == sent_before == 1


@pytest.mark.parametrize(
    ("token", "fields", "kind", "words"),
    [
        ("", {}, "no_token", "without a token"),
        ("hf_wrong_one", {}, "bad_token", "does not know the project's token"),
        ("hf_good", {"exports": ["onnx"]}, "no_files", "was not exported as onnx"),
        ("hf_good", {"ignore_patterns": ["*"]}, "nothing_matches", "leave out every file"),
    ],
)
def test_what_keeps_it_from_going_out_is_said(
    hub: FakeHub, transfer_of: Run, model: Any, project: Project, ana: User, settings: Any,
    token: str, fields: dict[str, Any], kind: str, words: str,
) -> None:  # fmt: skip
    settings.TRAINYARD_MODE = "server"  # nobody's own token helps out
    if token:
        tokens.keep(project, token, user=ana)
    transfer = pushed(transfer_of, model, **fields)
    assert transfer.failure["kind"] == kind
    assert words in transfer.failure["message"]
