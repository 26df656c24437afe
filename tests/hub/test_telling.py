"""Who hears that a transfer has ended, and what stays of one that there is no room for."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.db import transaction

from accounts.models import Membership, Project, User
from activity import news
from activity.models import Activity, Channel, Choice
from activity.tasks import deliver
from registry.hub import dispatch, fetch, runner, services
from registry.hub.models import Kind, Status
from registry.models import BaseModel, Dataset
from registry.services import delete
from tests.activity.receiver import listening
from tests.factories import make_webhook
from tests.hub.conftest import ROWS, Run
from tests.hub.fake_hub import FakeHub

pytestmark = pytest.mark.django_db(transaction=True)
FILES: dict[str, Any] = {"train.jsonl": ROWS}


@pytest.fixture
def with_mail(settings: Any, ana: User) -> None:
    settings.TRAINYARD_SENDS_EMAIL = True
    settings.TRAINYARD_URL = "https://yard.example.org"
    ana.email = "ana@example.org"
    ana.save()
    for event in ("transfer_completed", "transfer_failed", "dataset_imported"):
        Choice.objects.create(user=ana, channel=Channel.EMAIL, event_type=event, wanted=True)


def test_an_import_reaches_feed_browser_mail_and_webhook(
    hub: FakeHub, brought: Run, with_mail: None, ana: User, settings: Any
) -> None:
    settings.TRAINYARD_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    hub.add("datasets", "ana/rows", FILES)
    with listening() as receiver:
        make_webhook(url=receiver.url(), event_types=["transfer_completed", "dataset_imported"])
        transfer = brought()
        deliver()
        posted = [json.loads(one.body) for one in receiver.posted]
    ours = Activity.objects.filter(project=transfer.project).order_by("cursor")
    assert [one.event_type for one in ours] == [
        "transfer_started", "transfer_completed", "dataset_imported",
    ]  # fmt: skip
    assert {one["type"] for one in posted} == {"transfer_completed", "dataset_imported"}
    [ended] = [one["data"] for one in posted if one["type"] == "transfer_completed"]
    assert ended["message"] == "Successfully downloaded dataset from HuggingFace: ana/rows"
    assert ended["url"].endswith(f"/transfers/{transfer.pk}")
    assert ended["metadata"]["result_id"] == str(transfer.entry_id)
    shown = [one["activity"] for one in news.after(ana, 0)[0] if one["notify"]]
    assert "transfer_completed" in {one["event_type"] for one in shown}
    assert [letter.to for letter in mail.outbox] == [["ana@example.org"]] * 2
    assert any("Transfer completed: ana/rows" in letter.subject for letter in mail.outbox)


def test_a_failure_reaches_them_with_its_reason(
    hub: FakeHub, brought: Run, with_mail: None, ana: User
) -> None:
    transfer = brought(repo_id="ana/nothing")
    assert transfer.status == Status.FAILED
    deliver()
    told = Activity.objects.get(event_type="transfer_failed")
    assert (told.status, told.metadata["failure_kind"]) == ("error", "missing")
    assert told.user == ana
    [letter] = mail.outbox
    assert letter.subject == "Transfer failed: ana/nothing"
    assert "There is no dataset 'ana/nothing' on the hub" in letter.body
    shown = [one["activity"]["event_type"] for one in news.after(ana, 0)[0] if one["notify"]]
    assert shown == ["transfer_failed"]


# --- Room ----------------------------------------------------------------------------------------


def around(home: Path) -> list[str]:
    folders = ("datasets", "models", "store/sha256", "store/incoming")
    files = [path for folder in folders for path in (home / folder).rglob("*")]
    return sorted(path.name for path in files if path.is_file())


def test_what_the_project_has_no_room_for_does_not_come(
    hub: FakeHub, brought: Run, project: Project, home: Path
) -> None:
    Project.objects.filter(pk=project.pk).update(max_storage_gb=0)
    hub.add("datasets", "ana/rows", FILES)
    transfer = brought()
    assert transfer.failure is not None
    assert transfer.failure["kind"] == "over_quota"
    assert transfer.failure["message"] == (
        f"Project {project} uses 0 bytes of its 0 GB, so there is no room for {len(ROWS):,} bytes "
        "more. Delete what is not needed, or ask for a larger quota."
    )
    assert hub.bodies() == []
    assert around(home) == []


def test_room_that_is_gone_when_all_has_come_ends_in_the_same_sentence(
    hub: FakeHub, transfer_of: Run, brought: Run, project: Project, home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Another import was faster. What has come stays for a retry, and goes with a cancel."""
    hub.add("datasets", "ana/rows", FILES)
    transfer = transfer_of(Kind.HF_DATASET, "ana/rows")
    bring = fetch.Fetch.all

    def bring_and_fill(*arguments: Any) -> None:
        bring(*arguments)
        Project.objects.filter(pk=project.pk).update(max_storage_gb=0)

    monkeypatch.setattr(fetch.Fetch, "all", bring_and_fill)
    runner.run(transfer, 1)
    transfer.refresh_from_db()
    assert transfer.failure is not None
    assert transfer.failure["kind"] == "over_quota"
    assert transfer.failure["message"].endswith("ask for a larger quota.")
    assert not Dataset.objects.exists()
    services.cancel(transfer, actor=transfer.created_by)
    dispatch.reconcile()
    assert not list((home / "datasets").glob("*"))
    assert not list((home / "transfers").glob("*-*"))


def test_one_model_of_two_projects_is_on_the_disk_once(
    hub: FakeHub, brought: Run, model_files: Any, ana: User, home: Path,
) -> None:  # fmt: skip
    hub.add("models", "ana/tiny", model_files)
    other = Project.objects.create(name="Other")
    Membership.objects.create(project=other, user=ana, role="owner")
    brought(Kind.HF_MODEL, "ana/tiny")
    again = services.create(user=ana, project=other, kind=Kind.HF_MODEL, hf_repo_id="ana/tiny")
    runner.run(again, 1)
    one, two = BaseModel.objects.order_by("created_at")
    assert one.project != two.project == other
    for name in model_files:
        first, second = Path(one.storage_path) / name, Path(two.storage_path) / name
        assert first.samefile(second), name
        assert first.stat().st_nlink == 3  # and the store's own
    with transaction.atomic():
        delete(one)
    assert not Path(one.storage_path).exists()
    kept = {path.name: path.read_bytes() for path in Path(two.storage_path).iterdir()}
    assert kept == model_files
