"""The pages of transfers, as plain pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Project, User
from registry.hub import dispatch
from registry.hub.models import BucketKey, HubToken, Status, Transfer, TransferFile
from tests.factories import make_model, make_transfer
from tests.hub.conftest import ROWS
from tests.hub.fake_hub import FakeHub
from tests.pages import Page

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(ana: User, home: Any, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(dispatch, "ring", lambda transfers: None)
    client = Client()
    client.force_login(ana)
    return client


@pytest.fixture
def page_of(client: Client) -> Any:
    def get(address: str, status: int = 200) -> Page:
        response = client.get(address)
        assert response.status_code == status
        page = Page(response)
        page.check_outline()
        return page

    return get


def test_an_empty_list_says_how_to_begin(page_of: Any) -> None:
    page = page_of("/transfers")
    assert "curl http://testserver/api/transfers" in page.words
    assert "/transfers/new" in {a["href"] for a in page.all("a")}


def test_the_list_shows_what_moves_and_what_can_be_done(page_of: Any) -> None:
    running = make_transfer(
        status=Status.RUNNING, size_bytes=1000, bytes_transferred=500, rate_bytes_s=100.0,
        phase="moving",
    )  # fmt: skip
    failed = make_transfer(status=Status.FAILED)
    make_transfer(waiting_reason="The hub answered 503. Tries again, 2 of 8.")
    page = page_of("/transfers")
    assert "500 B of 1000 B, 0 of 2 files · 100 B/s · 5 s left" in page.words
    assert "Not there." in page.words
    assert "Tries again, 2 of 8." in page.words
    assert page.forms_to(f"/transfers/{running.pk}/pause")
    assert page.forms_to(f"/transfers/{failed.pk}/retry")
    assert not page.forms_to(f"/transfers/{failed.pk}/pause")
    assert "Not there." not in page_of("/transfers?status=RUNNING").words


def test_transfers_are_sorted_and_narrowed_to_a_kind(page_of: Any) -> None:
    for name, kind in (("pear", "hf_model"), ("apple", "hf_dataset"), ("plum", "hf_dataset")):
        make_transfer(name=name, kind=kind)
    fruit = "pear", "apple", "plum"

    def names(query: str) -> list[str]:
        words = page_of(f"/transfers?{query}").words
        return sorted((name for name in fruit if name in words), key=words.find)

    assert names("") == ["plum", "apple", "pear"]
    assert names("sort=oldest") == list(fruit)
    assert names("sort=name") == ["apple", "pear", "plum"]
    assert names("kind=hf_dataset&sort=name") == ["apple", "plum"]


def test_the_list_does_not_ask_for_each_row(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(10):
        make_transfer(status=Status.RUNNING)
    with django_assert_max_num_queries(7):
        client.get("/transfers")


def test_a_transfers_page_shows_its_files_and_why_it_failed(page_of: Any) -> None:
    transfer = make_transfer(
        status=Status.FAILED,
        left_out=[{"path": "x.bin", "size_bytes": 5, "reason": "may run code"}],
        notes=["'a/b' was renamed."],
        hf_commit="c" * 40,
    )
    TransferFile.objects.create(transfer=transfer, path="a.json", size_bytes=10, sha256="0" * 64)
    words = page_of(f"/transfers/{transfer.pk}").words
    for said in ("Not there. Look.", "a.json checked", "x.bin may run code", "was renamed"):
        assert said in words


def test_a_button_moves_it_and_one_that_is_too_late_says_so(client: Client) -> None:
    transfer = make_transfer()
    assert client.post(f"/transfers/{transfer.pk}/pause").status_code == 302
    transfer.refresh_from_db()
    assert transfer.status == Status.PAUSED
    late = client.post(f"/transfers/{transfer.pk}/retry")
    assert late.status_code == 409
    assert "cannot become" in late.content.decode()


def test_a_viewer_looks_and_a_stranger_does_not(viewer: User, stranger: User) -> None:
    transfer = make_transfer()
    for user, status, after in ((viewer, 200, 403), (stranger, 404, 404)):
        client = Client()
        client.force_login(user)
        page = client.get(f"/transfers/{transfer.pk}")
        assert page.status_code == status
        assert b"/cancel" not in page.content
        assert client.post(f"/transfers/{transfer.pk}/cancel").status_code == after


def test_a_new_one_is_looked_at_before_it_starts(
    page_of: Any, client: Client, hub: FakeHub, project: Project
) -> None:
    page_of("/transfers/new")
    hub.add("datasets", "ana/rows", {"train.jsonl": ROWS, "load.py": b""})
    asked = "kind=hf_dataset&hf_repo_id=ana/rows&hf_revision=&allow_patterns=*.jsonl *.py"
    page = page_of(f"/transfers/new?{asked}")
    assert "train.jsonl 41.5 KiB" in page.words
    assert "load.py code, which is never run here" in page.words
    assert [f for f in page.forms_to("/transfers/new") if f.get("method") == "post"]
    hidden = {i["name"]: i["value"] for i in page.all("input") if i.get("type") == "hidden"}
    hidden.pop("csrfmiddlewaretoken")
    started = client.post("/transfers/new", hidden)
    transfer = Transfer.objects.get()
    assert started["Location"] == f"/transfers/{transfer.pk}"
    assert transfer.allow_patterns == ["*.jsonl", "*.py"]
    assert transfer.project == project


def test_what_the_hub_does_not_have_is_said_on_the_page(page_of: Any, hub: FakeHub) -> None:
    page = page_of("/transfers/new?kind=hf_model&hf_repo_id=no/thing")
    assert "There is no model 'no/thing' on the hub, or not for us." in page.words
    assert not [f for f in page.forms_to("/transfers/new") if f.get("method") == "post"]
    assert "This is owner/name" in page_of("/transfers/new?kind=hf_model&hf_repo_id=a b").words


def test_a_model_is_pushed_from_its_page(page_of: Any, client: Client, home: Any) -> None:
    model = make_model(name="tiny", storage_path=str(home / "models"))
    (home / "models" / "config.json").write_text("{}")
    [address] = [
        a["href"] for a in page_of(f"/models/{model.pk}").all("a") if "hf_upload" in str(a["href"])
    ]
    assert "Push to the hub" in page_of(address).words
    client.post(
        "/transfers/new",
        {"kind": "hf_upload", "model_id": str(model.pk), "hf_repo_id": "ana/out", "private": "on"},
    )
    transfer = Transfer.objects.get()
    assert (transfer.entry_id, transfer.private) == (model.pk, True)


def test_tokens_are_set_and_removed_on_their_page(
    page_of: Any, client: Client, ana: User, bob: User, project: Project
) -> None:
    page_of("/transfers/tokens")
    body = {"project_id": str(project.pk), "token": "hf_secret_of_ana"}
    assert client.post("/transfers/tokens", body).status_code == 302
    assert HubToken.objects.get().secret == "hf_secret_of_ana"
    page = page_of("/transfers/tokens")
    assert "Has a token" in page.words
    assert "hf_secret_of_ana" not in str(page.tags)
    assert client.post("/transfers/tokens", {**body, "token": "a b"}).status_code == 422
    other = Client()
    other.force_login(bob)
    token = HubToken.objects.get()
    assert other.post("/transfers/tokens", body).status_code == 403
    assert other.post(f"/transfers/tokens/{token.pk}/remove").status_code == 403
    assert client.post(f"/transfers/tokens/{token.pk}/remove").status_code == 302
    assert not HubToken.objects.exists()


def test_keys_of_buckets_are_set_and_removed_there_too(
    page_of: Any, client: Client, bob: User, project: Project
) -> None:
    body = {
        "project_id": str(project.pk),
        "endpoint_url": "https://s3.example.org/",
        "access_key_id": "AKIA",
        "secret_access_key": "a-very-secret-secret",
    }
    assert client.post("/transfers/keys", body).status_code == 302
    page = page_of("/transfers/tokens")
    assert "https://s3.example.org AKIA" in page.words
    assert "a-very-secret-secret" not in str(page.tags)
    for wrong in ({"endpoint_url": "http://10.0.0.1"}, {"secret_access_key": "short"}):
        assert client.post("/transfers/keys", {**body, **wrong}).status_code == 422
    other = Client()
    other.force_login(bob)
    key = BucketKey.objects.get()
    assert other.post("/transfers/keys", body).status_code == 403
    assert other.post(f"/transfers/keys/{key.pk}/remove").status_code == 403
    assert client.post(f"/transfers/keys/{key.pk}/remove").status_code == 302
    assert not BucketKey.objects.exists()


def test_a_bucket_is_imported_by_the_same_form(page_of: Any, client: Client) -> None:
    page = page_of("/transfers/new?kind=s3_dataset&hf_repo_id=rows")
    assert "This is s3://bucket" in page.words
    client.post(
        "/transfers/new",
        {"kind": "s3_dataset", "hf_repo_id": "s3://rows/sums", "region": "eu-central-1"},
    )
    transfer = Transfer.objects.get()
    assert (transfer.url, transfer.region, transfer.endpoint_url) == (
        "s3://rows/sums", "eu-central-1", "",
    )  # fmt: skip
    assert "Amazon S3" in page_of(f"/transfers/{transfer.pk}").words


def test_the_admin_shows_transfers_and_does_what_their_buttons_do(
    root: User, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "ring", lambda transfers: None)
    client = Client()
    client.force_login(root)
    transfer = make_transfer(status=Status.RUNNING)
    listed = reverse("admin:registry_transfer_changelist")
    assert transfer.hf_repo_id.encode() in client.get(listed, {"q": transfer.hf_repo_id}).content
    page = reverse("admin:registry_transfer_change", args=[transfer.pk])
    assert client.get(page).status_code == 200
    path = reverse("admin:registry_transfer_cancel_this", args=[transfer.pk])
    done = client.post(path, {"confirmed": "Cancel transfer"})
    assert done.status_code == 302
    transfer.refresh_from_db()
    assert transfer.status == Status.CANCELLED
    start = client.get(reverse("admin:registry_transfer_start_import"))
    assert start["Location"] == "/transfers/new"
