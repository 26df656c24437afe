"""A file from a web address: brought whole, and never from inside our own network."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from registry.hub import runner
from registry.hub.models import Kind, Status, Transfer
from registry.hub.sources.web import name_in
from registry.models import Dataset
from tests.hub.conftest import ROWS, Run
from tests.hub.fake_hub import FakeHub, Fault

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def address(hub: FakeHub, settings: Any) -> str:
    """Of a file of rows, on a server that our network allows for once."""
    settings.TRAINYARD_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    hub.add("datasets", "ana/rows", {"train.jsonl": ROWS})
    return f"{hub.address}/datasets/ana/rows/resolve/main/train.jsonl"


Bring = Callable[..., Transfer]


@pytest.fixture
def fetched(brought: Run) -> Bring:
    def fetch(url: str, **fields: Any) -> Transfer:
        return brought(Kind.URL_DATASET, "", url=url, **fields)

    return fetch


def test_a_file_comes_and_resumes_at_the_byte(hub: FakeHub, address: str, fetched: Bring) -> None:
    faults = [None, Fault(cut_after=10_000)]
    hub.fault_of = lambda asked: faults.pop(0) if faults else None
    transfer = fetched(f"{address}?permission=secret")
    assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)
    dataset = Dataset.objects.get()
    assert (Path(dataset.storage_path) / "train.jsonl").read_bytes() == ROWS
    assert (dataset.name, dataset.num_samples) == ("train", 900)
    assert dataset.metadata["url"] == address  # what follows the ? may be a permission
    assert hub.asked[-1].range == f"bytes=10000-{len(ROWS) - 1}"


def test_another_range_than_was_asked_for_is_not_put_in_its_place(
    hub: FakeHub, address: str, fetched: Bring
) -> None:
    """No hash would tell: the size would be right in the end."""
    faults = [None, Fault(cut_after=10_000), Fault(late=100)]
    hub.fault_of = lambda asked: faults.pop(0) if faults else None
    transfer = fetched(address)
    assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)
    dataset = Dataset.objects.get()
    assert (Path(dataset.storage_path) / "train.jsonl").read_bytes() == ROWS


def test_a_file_that_changes_meanwhile_is_not_mixed(
    hub: FakeHub, address: str, fetched: Bring
) -> None:
    faults = [None, Fault(cut_after=10_000)]
    hub.fault_of = lambda asked: faults.pop(0) if faults else Fault(other=ROWS[::-1] + b"\n")
    transfer = fetched(address)
    assert transfer.failure is not None
    assert transfer.failure["kind"] == "changed"
    assert not Dataset.objects.exists()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/rows.jsonl",
        "http://localhost:9/rows.jsonl",
        "http://[::1]:9/rows.jsonl",
        "http://169.254.169.254/latest/meta-data/rows.jsonl",
        "http://10.1.2.3/rows.jsonl",
        "ftp://example.org/rows.jsonl",
        "file:///etc/passwd",
    ],
)
def test_nothing_inside_our_network_is_asked(hub: FakeHub, fetched: Bring, url: str) -> None:
    transfer = fetched(url)
    assert transfer.failure is not None
    assert transfer.failure["kind"] == "not_allowed"
    assert hub.asked == []


def test_nor_by_a_redirect_or_by_a_name_that_changes_its_mind(
    hub: FakeHub, fetched: Bring, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first name is allowed here; where it leads to is looked at anew."""
    settings.TRAINYARD_ALLOWED_NETWORKS = [ip_network("127.0.0.1/32")]
    elsewhere = {"Location": "http://127.0.0.2:9/rows.jsonl"}
    hub.fault_of = lambda asked: Fault(status=302, headers=elsewhere)
    transfer = fetched(f"{hub.address}/rows.jsonl")
    assert transfer.failure is not None
    assert "127.0.0.2, which is not a public address" in transfer.failure["message"]
    in_a_circle = {"Location": "/rows.jsonl"}
    hub.fault_of = lambda asked: Fault(status=302, headers=in_a_circle)
    again = fetched(f"{hub.address}/rows.jsonl")
    assert again.failure is not None
    assert "redirects more than" in again.failure["message"]


@pytest.mark.parametrize(
    ("fault", "kind"), [(404, "missing"), (403, "forbidden"), (503, "server_error")]
)
def test_what_the_server_says_is_told(
    hub: FakeHub, address: str, fetched: Bring, settings: Any, fault: int, kind: str
) -> None:
    settings.TRAINYARD_TRANSFER_TRIES = 1
    hub.fault_of = lambda asked: Fault(status=fault)
    transfer = fetched(address)
    assert transfer.failure is not None
    assert transfer.failure["kind"] == kind


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.org/a/rows.jsonl?x=1", "rows.jsonl"),
        ("https://x.org/a%2F..%2Fb.jsonl", "b.jsonl"),
        ("https://x.org/", "file"),
        ("https://x.org/.hidden", "hidden"),
        ("https://x.org/a b;c.csv", "a_b_c.csv"),
    ],
)
def test_a_file_is_called_as_its_path_ends(url: str, name: str) -> None:
    assert name_in(url) == name


def test_a_web_address_is_asked_for_by_its_kind(client_of: Any, ana: Any, hub: FakeHub) -> None:
    client = client_of(ana)
    url = "https://example.org/rows.jsonl"
    created = client.post("/api/transfers", {"kind": "url_dataset", "url": url}, format="json")
    assert created.status_code == 201, created.content
    assert (created.json()["url"], created.json()["name"]) == (url, "rows")
    for body, field in [
        ({"kind": "url_dataset"}, "url"),
        ({"kind": "url_dataset", "url": "http://10.0.0.1/x.jsonl"}, "url"),
        ({"kind": "url_dataset", "url": url, "hf_repo_id": "a/b"}, "hf_repo_id"),
        ({"kind": "url_dataset", "url": url, "allow_patterns": ["*"]}, "allow_patterns"),
        ({"kind": "hf_dataset", "hf_repo_id": "a/b", "url": url}, "url"),
    ]:
        refused = client.post("/api/transfers", body, format="json")
        assert refused.status_code == 400
        assert set(refused.json()["details"]) == {field}
    assert runner.source_of(Transfer.objects.get()).__class__.__name__ == "WebSource"
