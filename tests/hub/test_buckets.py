"""What comes from a bucket: brought whole, resumed at the byte, and shown nobody else's keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Project, User
from registry.hub import fetch, runner, services, tokens
from registry.hub.models import BucketKey, Kind, Status, Transfer
from registry.hub.sources.s3 import S3Source
from registry.hub.trouble import Trouble
from registry.models import BaseModel, Dataset
from tests.hub.buckets import BUCKET, Buckets, Fault, running_buckets
from tests.hub.conftest import ROWS, Run
from tests.hub.fake_hub import Content, FakeHub

IN_THE_DATABASE = pytest.mark.django_db(transaction=True)

SECRET = "a-very-secret-secret"


@pytest.fixture(scope="module")
def running() -> Iterator[Buckets]:
    with running_buckets() as buckets:
        yield buckets


@pytest.fixture
def buckets(running: Buckets, hub: FakeHub, settings: Any) -> Buckets:
    """One bucket with a folder of rows, on a server that our network allows for once."""
    settings.TRAINYARD_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    running.fault_of = lambda request: None
    running.client.create_bucket(Bucket=BUCKET)
    put(running, "sums/train.jsonl", ROWS)
    put(running, "sums/test.jsonl", ROWS[:500].rpartition(b"\n")[0])
    running.asked.clear()
    return running


def put(buckets: Buckets, name: str, data: bytes, **more: Any) -> None:
    """For everybody to read."""
    more = {"Bucket": BUCKET, "ACL": "public-read", **more}
    buckets.client.put_object(Key=name, Body=data, **more)


Bring = Callable[..., Transfer]


@pytest.fixture
def fetched(brought: Run, buckets: Buckets) -> Bring:
    def fetch(url: str = f"s3://{BUCKET}/sums", **fields: Any) -> Transfer:
        wanted = {"kind": Kind.S3_DATASET, "endpoint_url": buckets.address, **fields}
        return brought(wanted.pop("kind"), "", url=url, **wanted)

    return fetch


SourceOf = Callable[..., S3Source]


@pytest.fixture
def source_of(buckets: Buckets) -> SourceOf:
    def make(url: str = f"s3://{BUCKET}/sums", **fields: Any) -> S3Source:
        wanted = {"kind": Kind.S3_DATASET, "endpoint_url": buckets.address, **fields}
        return S3Source(Transfer(url=url, **wanted), None)

    return make


def failure_of(transfer: Transfer) -> tuple[str, str]:
    assert transfer.failure is not None, transfer.status
    return transfer.failure["kind"], transfer.failure["message"]


def faults(*them: Fault | None) -> Callable[[dict[str, Any]], Fault | None]:
    """For the requests for files' bytes, one after the other; then no more."""
    left = list(them)

    def fault_of(request: dict[str, Any]) -> Fault | None:
        is_body = request["REQUEST_METHOD"] == "GET" and request["PATH_INFO"].count("/") > 1
        return left.pop(0) if is_body and left else None

    return fault_of


@IN_THE_DATABASE
def test_a_folder_of_a_bucket_becomes_a_dataset(buckets: Buckets, fetched: Bring) -> None:
    put(buckets, "sums/", b"")  # the folder's own mark
    put(buckets, "sums-of-others/train.jsonl", b"{}")
    transfer = fetched()
    assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)
    assert (transfer.size_bytes, transfer.files_total) == (transfer.bytes_transferred, 2)
    dataset = Dataset.objects.get()
    assert (Path(dataset.storage_path) / "train.jsonl").read_bytes() == ROWS
    assert (dataset.name, dataset.statistics["splits"]) == ("sums", ["train", "test"])
    assert dataset.metadata["source"] == "s3"
    assert dataset.metadata["url"] == f"s3://{BUCKET}/sums"
    assert dataset.metadata["endpoint_url"] == buckets.address


@IN_THE_DATABASE
def test_one_file_of_a_bucket_comes_alone(fetched: Bring) -> None:
    assert fetched(f"s3://{BUCKET}/sums/train.jsonl").status == Status.COMPLETED
    dataset = Dataset.objects.get()
    assert [path.name for path in Path(dataset.storage_path).iterdir()] == ["train.jsonl"]


@IN_THE_DATABASE
def test_a_whole_bucket_with_patterns_is_a_model(
    buckets: Buckets, fetched: Bring, model_files: dict[str, Content]
) -> None:
    buckets.client.create_bucket(Bucket="models")
    for name, content in model_files.items():
        assert isinstance(content, bytes)
        put(buckets, name, content, Bucket="models")
    put(buckets, "old/model.safetensors", b"no", Bucket="models")
    put(buckets, "ein Bär + 1.md", b"words", Bucket="models")
    transfer = fetched("s3://models", kind=Kind.S3_MODEL, ignore_patterns=["old/*"])
    assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)
    assert transfer.left_out[0]["path"] == "old/model.safetensors"
    model = BaseModel.objects.get()
    assert model.name == "models"
    assert (Path(model.storage_path) / "ein Bär + 1.md").read_bytes() == b"words"


@IN_THE_DATABASE
def test_a_cut_connection_goes_on_at_the_byte(buckets: Buckets, fetched: Bring) -> None:
    buckets.fault_of = faults(Fault(cut_after=10_000))
    transfer = fetched(f"s3://{BUCKET}/sums/train.jsonl")
    assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)
    ranges = [request.get("HTTP_RANGE") for request in buckets.bodies()]
    assert ranges == [None, f"bytes=10000-{len(ROWS) - 1}"]


@IN_THE_DATABASE
def test_a_range_that_does_not_say_where_it_begins_is_asked_for_again(
    buckets: Buckets, fetched: Bring
) -> None:
    buckets.fault_of = faults(Fault(cut_after=10_000), Fault(without="Content-Range"))
    transfer = fetched(f"s3://{BUCKET}/sums/train.jsonl")
    assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)
    rest = f"bytes=10000-{len(ROWS) - 1}"
    assert [request.get("HTTP_RANGE") for request in buckets.bodies()] == [None, rest, rest]


@IN_THE_DATABASE
def test_a_paused_one_goes_on_at_the_byte_and_a_cancelled_one_leaves_nothing(
    buckets: Buckets, fetched: Bring, ana: User, settings: Any, home: Path
) -> None:
    settings.TRAINYARD_TRANSFER_TRIES = 1
    refused = Fault(status=503, code="InternalError")
    buckets.fault_of = faults(Fault(cut_after=10_000), refused, refused, refused)
    transfer = fetched(f"s3://{BUCKET}/sums/train.jsonl")
    assert failure_of(transfer)[0] == "server_error"
    buckets.fault_of = faults(Fault(cut_after=5_000), refused, refused, refused)
    services.retry(transfer, actor=ana)
    runner.run(transfer, transfer.attempt)
    assert buckets.bodies()[-4]["HTTP_RANGE"] == f"bytes=10000-{len(ROWS) - 1}"
    services.cancel(transfer, actor=ana)
    assert not any((home / "transfers").iterdir())


@IN_THE_DATABASE
def test_a_server_without_ranges_begins_anew(buckets: Buckets, fetched: Bring) -> None:
    def fault_of(request: dict[str, Any]) -> Fault | None:
        first = request.pop("HTTP_RANGE", None) is None
        return first_body(request) if first else None

    first_body = faults(Fault(cut_after=10_000))
    buckets.fault_of = fault_of
    transfer = fetched(f"s3://{BUCKET}/sums/train.jsonl")
    assert (transfer.status, transfer.failure) == (Status.COMPLETED, None)


@IN_THE_DATABASE
def test_wrong_bytes_are_found_by_the_md5_that_the_etag_is(
    buckets: Buckets, fetched: Bring
) -> None:
    wrong = Fault(other=bytes(len(ROWS)))
    buckets.fault_of = faults(*[wrong] * fetch.MOST_TRIES)
    transfer = fetched(f"s3://{BUCKET}/sums/train.jsonl")
    assert "is not what its own hash says" in transfer.waiting_reason
    assert not Dataset.objects.exists()


@IN_THE_DATABASE
def test_a_file_that_changes_meanwhile_is_not_mixed(buckets: Buckets, fetched: Bring) -> None:
    first = faults(Fault(cut_after=10_000))

    def fault_of(request: dict[str, Any]) -> Fault | None:
        fault = first(request)
        if fault:
            buckets.fault_of = lambda request: None
            put(buckets, "sums/train.jsonl", ROWS[::-1])
        return fault

    buckets.fault_of = fault_of
    transfer = fetched(f"s3://{BUCKET}/sums/train.jsonl")
    assert failure_of(transfer)[0] == "changed"
    assert not Dataset.objects.exists()


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (Fault(403, "AccessDenied"), "forbidden", "does not let everybody read the bucket 'rows'"),
        (Fault(403, "InvalidAccessKeyId"), "bad_token", "does not know the project's key"),
        (
            Fault(400, "IllegalLocationConstraintException"),
            "wrong_region",
            "is not in the region us-east-1: it is in another one",
        ),
        (
            Fault(301, "PermanentRedirect", headers=(("x-amz-bucket-region", "eu-central-1"),)),
            "wrong_region",
            "it is in eu-central-1",
        ),
        (Fault(500, "InternalError"), "server_error", "answered 500: InternalError"),
        (Fault(503, "SlowDown"), "rate_limited", "too many requests"),
        (Fault(other=b"<html>Not S3</html>"), "network", "The connection to"),
    ],
)
def test_what_the_server_says_is_told(
    buckets: Buckets, source_of: SourceOf, fault: Fault, kind: str, said: str
) -> None:
    buckets.fault_of = lambda request: fault
    with pytest.raises(Trouble, match=said) as caught:
        source_of().plan()
    assert caught.value.kind == kind
    assert caught.value.passes == (kind in ("server_error", "rate_limited", "network"))


def test_what_is_not_there_is_named(source_of: SourceOf) -> None:
    with pytest.raises(Trouble, match="has no bucket 'no-such-bucket'"):
        source_of("s3://no-such-bucket/x").plan()
    with pytest.raises(Trouble, match="There is nothing at s3://rows/SUMS"):
        source_of(f"s3://{BUCKET}/SUMS").plan()
    with pytest.raises(Trouble, match=r"The connection to 127\.0\.0\.1:9 failed"):
        source_of(endpoint_url="http://127.0.0.1:9").plan()


def test_nothing_inside_our_network_is_asked(
    buckets: Buckets, source_of: SourceOf, settings: Any
) -> None:
    settings.TRAINYARD_ALLOWED_NETWORKS = []
    for endpoint in (buckets.address, buckets.address.replace("127.0.0.1", "localhost")):
        with pytest.raises(Trouble, match="TRAINYARD_ALLOWED_NETWORKS") as caught:
            source_of(endpoint_url=endpoint).plan()
        assert caught.value.kind == "not_allowed"
    assert buckets.asked == []


def test_a_checksum_that_the_server_has_is_compared(buckets: Buckets, source_of: SourceOf) -> None:
    """Its ETag is no MD5, as of what is encrypted or came in parts."""
    put(buckets, "sums/train.jsonl", ROWS, ChecksumAlgorithm="SHA256")
    source = source_of()
    expected = source.plan().files[1].expected
    assert source.hash_of("train.jsonl", expected) == f"sha256:{hashlib.sha256(ROWS).hexdigest()}"
    put(buckets, "sums/train.jsonl", ROWS, ServerSideEncryption="aws:kms")
    assert source.hash_of("train.jsonl", expected) == ""
    put(buckets, "sums/train.jsonl", ROWS)
    assert source.hash_of("train.jsonl", expected) == f"md5:{hashlib.md5(ROWS).hexdigest()}"


@IN_THE_DATABASE
def test_the_projects_key_is_shown_to_its_own_server_only(
    buckets: Buckets, fetched: Bring, project: Project, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-operators")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-operators-secret")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    tokens.keep_key(project, "", "of-amazon", SECRET, user=ana)
    assert fetched(bandwidth_limit=10**9).status == Status.COMPLETED
    assert not any("HTTP_AUTHORIZATION" in request for request in buckets.asked)
    tokens.keep_key(project, buckets.address, "of-ana", SECRET, user=ana)
    buckets.asked.clear()
    assert fetched(region="eu-north-1").status == Status.COMPLETED
    signed = {request["HTTP_AUTHORIZATION"].partition("/s3/")[0] for request in buckets.asked}
    [said] = {
        words.partition("Credential=")[2].rpartition("/")[0].split("/")[0] for words in signed
    }
    assert said == "of-ana"
    assert all("eu-north-1" in words for words in signed)


@pytest.mark.django_db
def test_a_bucket_is_asked_for_by_its_kind(client_of: Any, ana: User, hub: FakeHub) -> None:
    client = client_of(ana)
    body = {
        "kind": "s3_dataset",
        "url": "s3://rows/sums",
        "endpoint_url": "https://s3.example.org/",
    }
    created = client.post("/api/transfers", body, format="json")
    assert created.status_code == 201, created.content
    assert created.json()["endpoint_url"] == "https://s3.example.org"
    assert created.json()["name"] == "sums"
    for changes, field in [
        ({"url": ""}, "url"),
        ({"url": "https://example.org/rows"}, "url"),
        ({"url": "s3://UPPER/rows"}, "url"),
        ({"url": "s3://"}, "url"),
        ({"endpoint_url": "http://10.0.0.1"}, "endpoint_url"),
        ({"endpoint_url": "file:///etc"}, "endpoint_url"),
        ({"region": "not a region"}, "region"),
        ({"hf_revision": "main"}, "hf_revision"),
        ({"hf_repo_id": "a/b"}, "hf_repo_id"),
        ({"kind": "url_dataset", "url": "s3://rows/sums", "endpoint_url": ""}, "url"),
        ({"kind": "url_dataset", "url": "https://x.org/a.csv"}, "endpoint_url"),
    ]:
        refused = client.post("/api/transfers", {**body, **changes}, format="json")
        assert refused.status_code == 400, changes
        assert set(refused.json()["details"]) == {field}, changes


@pytest.mark.django_db
def test_a_key_is_set_replaced_and_removed_by_an_owner(
    client_of: Any, ana: User, bob: User, project: Project
) -> None:
    client = client_of(ana)
    body = {
        "project_id": str(project.pk),
        "endpoint_url": "https://s3.example.org/",
        "access_key_id": "AKIA",
        "secret_access_key": SECRET,
    }
    answer = client.post("/api/bucket-keys", body, format="json")
    assert answer.status_code == 201, answer.content
    assert SECRET not in answer.content.decode()
    kept = BucketKey.objects.get()
    assert (kept.secret, kept.endpoint_url) == (SECRET, "https://s3.example.org")
    assert SECRET not in kept.encrypted
    client.post("/api/bucket-keys", {**body, "access_key_id": "AKIB"}, format="json")
    assert BucketKey.objects.get().access_key_id == "AKIB"
    other = client_of(bob)
    assert other.get("/api/bucket-keys").json()["total"] == 1
    assert other.post("/api/bucket-keys", body, format="json").status_code == 403
    assert other.delete(f"/api/bucket-keys/{kept.pk}").status_code == 403
    for wrong in ({"secret_access_key": "short"}, {"endpoint_url": "http://10.0.0.1"}):
        refused = client.post("/api/bucket-keys", {**body, **wrong}, format="json")
        assert (refused.status_code, set(refused.json()["details"])) == (400, set(wrong))
    assert client.delete(f"/api/bucket-keys/{kept.pk}").status_code == 204


@IN_THE_DATABASE
def test_a_key_of_another_secret_key_is_asked_for_again(
    buckets: Buckets, fetched: Bring, project: Project, ana: User, settings: Any
) -> None:
    tokens.keep_key(project, buckets.address, "of-ana", SECRET, user=ana)
    settings.SECRET_KEY = "another one"
    kind, said = failure_of(fetched())
    assert (kind, "SECRET_KEY" in said) == ("bad_token", True)
