"""tus 1.0 as its own page describes it, and what becomes of the files."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import BadRequest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from PIL import Image
from rest_framework.test import APIClient

from accounts.models import User
from registry import archives
from registry.models import Dataset, Upload
from registry.uploads import receiving
from tests.registry.conftest import pair

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("home")]

URL = "/api/uploads"
ROWS = "".join(json.dumps(pair(n)) + "\n" for n in range(40)).encode()
TUS = {"Tus-Resumable": "1.0.0"}
PART = "application/offset+octet-stream"


def announce(api: APIClient, name: str = "train.jsonl", size: int = len(ROWS)) -> Any:
    metadata = f"filename {base64.b64encode(name.encode()).decode()}"
    return api.post(URL, headers={**TUS, "Upload-Length": str(size), "Upload-Metadata": metadata})


def send(api: APIClient, address: str, offset: int, part: bytes, **headers: str) -> Any:
    headers = {**TUS, "Upload-Offset": str(offset), **headers}
    return api.generic("PATCH", address, part, content_type=PART, headers=headers)  # type: ignore[arg-type]


def whole(api: APIClient, content: bytes = ROWS, name: str = "train.jsonl") -> str:
    """The id of an upload that has come."""
    address = announce(api, name, len(content))["Location"]
    assert send(api, address, 0, content).status_code == 204
    return str(address.rpartition("/")[2])


def register(api: APIClient, *files: dict[str, str], **fields: Any) -> Any:
    body = {"name": "up", "files": list(files), **fields}
    return api.post(f"{URL}/register", body, format="json")


def left_over(home: Path) -> list[str]:
    return [path.name for folder in ("uploads", "datasets") for path in (home / folder).iterdir()]


def test_it_says_what_it_can_do(api: APIClient, settings: Any) -> None:
    settings.TRAINYARD_UPLOAD_LIMIT_MB = 3
    answer = api.options(URL)
    assert answer.status_code == 204
    assert answer["Tus-Version"] == answer["Tus-Resumable"] == "1.0.0"
    assert set(answer["Tus-Extension"].split(",")) == {
        "creation", "termination", "checksum", "expiration",
    }  # fmt: skip
    assert answer["Tus-Max-Size"] == str(3 * 1024 * 1024)
    assert answer["Tus-Checksum-Algorithm"] == "sha1,sha256"


def test_parts_become_a_dataset(api: APIClient, home: Path) -> None:
    answer = announce(api)
    assert (answer.status_code, answer["Upload-Offset"]) == (201, "0")
    address = answer["Location"]
    for begin, end in ((0, 100), (100, 250), (250, len(ROWS))):
        part = send(api, address, begin, ROWS[begin:end])
        assert (part.status_code, part["Upload-Offset"]) == (204, str(end)), part.content
        head = api.head(address)
        assert (head["Upload-Offset"], head["Upload-Length"]) == (str(end), str(len(ROWS)))
        assert head["Cache-Control"] == "no-store"
    upload = api.get(address).json()
    assert upload["sha256"] == hashlib.sha256(ROWS).hexdigest()
    made = register(api, {"upload_id": upload["id"]})
    assert made.status_code == 201, made.json()
    assert made["Location"] == f"/api/datasets/{made.json()['id']}"
    folder = home / "datasets" / made.json()["id"]
    assert (folder / "train.jsonl").read_bytes() == ROWS
    assert (made.json()["num_samples"], made.json()["integrity_passed"]) == (40, True)
    assert not Upload.objects.exists()
    assert list((home / "uploads").iterdir()) == []


def test_several_files_are_the_splits_of_one_dataset(api: APIClient, home: Path) -> None:
    made = register(
        api,
        {"upload_id": whole(api, name="a.jsonl"), "split": "train"},
        {"upload_id": whole(api, name="b.jsonl"), "split": "train"},
        {"upload_id": whole(api, name="dev.jsonl")},
    ).json()
    folder = home / "datasets" / made["id"]
    assert {path.name for path in folder.iterdir()} == {
        "train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl", "validation.jsonl",
    }  # fmt: skip
    assert made["statistics"]["rows"] == {"train": 80, "validation": 40}


def test_a_broken_connection_costs_nothing_that_had_come(
    api: APIClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = announce(api)["Location"]
    blocks: list[bytes | Exception] = [ROWS[:300], BadRequest("The client went away.")]

    def read(*_: Any) -> bytes:
        block = blocks.pop(0)
        if isinstance(block, Exception):
            raise block
        return block

    with monkeypatch.context() as broken:
        broken.setattr("django.core.handlers.wsgi.WSGIRequest.read", read)
        assert send(api, address, 0, ROWS).status_code == 400
    assert api.head(address)["Upload-Offset"] == "300"
    assert send(api, address, 300, ROWS[300:]).status_code == 204
    assert api.get(address).json()["sha256"] == hashlib.sha256(ROWS).hexdigest()


def test_what_a_crash_has_left_is_written_again(api: APIClient) -> None:
    address = announce(api)["Location"]
    send(api, address, 0, ROWS[:100])
    upload = Upload.objects.get()
    with open(upload.path, "ab") as file:
        file.write(b"half of what came before the server was killed")
    receiving._hashes._kept.clear()  # another process goes on
    assert api.head(address)["Upload-Offset"] == "100"
    assert send(api, address, 100, ROWS[100:]).status_code == 204
    assert upload.path.read_bytes() == ROWS
    assert api.get(address).json()["sha256"] == hashlib.sha256(ROWS).hexdigest()


def test_a_part_in_the_wrong_place_is_a_409(api: APIClient) -> None:
    address = announce(api)["Location"]
    answer = send(api, address, 7, ROWS[7:])
    assert answer.status_code == 409
    assert "0 have come" in answer.json()["error"]


def test_two_at_once_are_not_mixed(api: APIClient) -> None:
    address = announce(api)["Location"]
    with receiving._locked(Upload.objects.get()):
        assert send(api, address, 0, ROWS).status_code == 423
    assert send(api, address, 0, ROWS).status_code == 204


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_part_with_a_wrong_checksum_is_not_kept(api: APIClient, algorithm: str) -> None:
    address = announce(api)["Location"]

    def checksum(content: bytes) -> str:
        digest = hashlib.new(algorithm, content).digest()
        return f"{algorithm} {base64.b64encode(digest).decode()}"

    answer = send(api, address, 0, ROWS, **{"Upload-Checksum": checksum(b"other")})
    assert answer.status_code == 460
    assert api.head(address)["Upload-Offset"] == "0"
    answer = send(api, address, 0, ROWS, **{"Upload-Checksum": checksum(ROWS)})
    assert (answer.status_code, answer["Upload-Offset"]) == (204, str(len(ROWS)))


@pytest.mark.parametrize("rows", [2, 3])
def test_long_rows_that_come_at_once_are_no_wrong_file(api: APIClient, rows: int) -> None:
    """What is looked at of a file ends within a row."""
    content = (json.dumps({"text": "a" * 50_000}) + "\n").encode() * rows
    assert whole(api, content)


def test_a_wrong_file_is_told_before_the_rest_has_come(api: APIClient, home: Path) -> None:
    address = announce(api, size=10**10)["Location"]
    answer = send(api, address, 0, b'{"prompt": "a", "completion": "b"}\nhello\n')
    assert answer.status_code == 400
    assert answer.json()["details"]["file"] == (
        "Line 2 of 'train.jsonl' is not JSON. It must be one JSON object a line, and this one "
        "begins with 'hello'."
    )
    assert api.head(address).status_code == 404
    assert left_over(home) == []


@pytest.mark.parametrize(
    ("name", "size", "status", "field", "words"),
    [
        ("rows.exe", 5, 400, "filename", "none of the files that are taken"),
        ("train.jsonl", 0, 400, "Upload-Length", "is empty"),
        ("train.jsonl", 2 * 1024 * 1024, 413, None, "larger than 1 MB"),
    ],
)
def test_what_is_not_taken_is_refused_before_it_comes(
    api: APIClient, settings: Any, name: str, size: int, status: int, field: str, words: str
) -> None:
    settings.TRAINYARD_UPLOAD_LIMIT_MB = 1
    answer = announce(api, name, size)
    assert answer.status_code == status
    said = answer.json()["details"][field] if field else answer.json()["error"]
    assert words in said
    assert not Upload.objects.exists()


def test_what_the_disk_has_no_room_for_is_not_begun(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    free = receiving.RESERVE_BYTES + len(ROWS) + 10
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    assert announce(api).status_code == 201
    assert announce(api).status_code == 507  # the first one is still to come


def test_more_than_was_announced_is_refused(api: APIClient) -> None:
    address = announce(api, size=10)["Location"]
    assert send(api, address, 0, ROWS).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Offset": "many"}, 400),
        ({"Upload-Checksum": "md5 abc="}, 400),
        ({"Upload-Checksum": "sha1 %%%"}, 400),
    ],
)
def test_headers_that_cannot_be_are_refused(
    api: APIClient, headers: dict[str, str], status: int
) -> None:
    address = announce(api)["Location"]
    answer = send(api, address, 0, ROWS, **headers)
    assert answer.status_code == status
    assert answer["Tus-Resumable"] == "1.0.0"
    assert api.head(address)["Upload-Offset"] == "0"


def test_another_kind_of_body_is_a_415(api: APIClient) -> None:
    address = announce(api)["Location"]
    headers = {**TUS, "Upload-Offset": "0"}
    answer = api.generic("PATCH", address, "{}", content_type="application/json", headers=headers)
    assert answer.status_code == 415


def test_one_that_is_not_wanted_any_more_goes(api: APIClient, home: Path) -> None:
    address = announce(api)["Location"]
    send(api, address, 0, ROWS[:50])
    assert api.delete(address, headers=TUS).status_code == 204
    assert api.head(address).status_code == 404
    assert left_over(home) == []


def test_what_nobody_goes_on_with_is_forgotten(api: APIClient, home: Path) -> None:
    address = announce(api)["Location"]
    assert receiving.forget_expired() == 0
    Upload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert api.head(address).status_code == 410
    assert send(api, address, 0, ROWS).status_code == 410
    assert receiving.forget_expired() == 1
    assert left_over(home) == []


def test_half_a_file_is_no_dataset(api: APIClient) -> None:
    address = announce(api)["Location"]
    send(api, address, 0, ROWS[: len(ROWS) // 2])
    upload = Upload.objects.get()
    answer = register(api, {"upload_id": str(upload.pk)})
    assert answer.status_code == 400
    assert "has come to" in answer.json()["details"]["files"]
    assert not Dataset.objects.exists()


def test_a_failed_registration_leaves_the_upload_as_it_was(
    api: APIClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = whole(api)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("planted")

    with monkeypatch.context() as breaking, pytest.raises(RuntimeError):
        breaking.setattr("registry.feed.tell_of_dataset", broken)
        register(api, {"upload_id": upload_id})
    assert left_over(home) == [f"{upload_id}.part"]
    assert Upload.objects.get().path.read_bytes() == ROWS


def test_an_upload_is_a_matter_of_its_project(
    ana: User,
    bob: User,
    viewer: User,
    stranger: User,
    server_mode: None,
    token_of: Callable[..., APIClient],
) -> None:
    address = announce(token_of(ana))["Location"]
    assert send(token_of(bob), address, 0, ROWS[:10]).status_code == 204
    assert send(token_of(viewer), address, 10, ROWS[10:]).status_code == 403
    assert token_of(viewer).head(address)["Upload-Offset"] == "10"
    assert send(token_of(stranger), address, 10, ROWS[10:]).status_code == 404
    assert announce(token_of(viewer)).status_code == 403
    send(token_of(ana), address, 10, ROWS[10:])
    body = {"upload_id": str(Upload.objects.get().pk)}
    refused = register(token_of(stranger), body)
    assert refused.status_code in (400, 403)
    assert not Dataset.objects.exists()


# --- Images --------------------------------------------------------------------------------------


def picture(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


PETS = {
    f"pets/{split}/{kind}/{n}.png": picture(colour)
    for split in ("train", "validation")
    for kind, colour in (("cat", "red"), ("dog", "blue"))
    for n in range(2)
}


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inside in files.items():
            archive.writestr(name, inside)
    return content.getvalue()


def tarred(files: dict[str, bytes], link: str = "") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, inside in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(inside)
            archive.addfile(member, io.BytesIO(inside))
        if link:
            member = tarfile.TarInfo("cat/link.png")
            member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content"), [("pets.zip", zipped(PETS)), ("pets.tar.gz", tarred(PETS))]
)
def test_an_archive_of_folders_becomes_a_dataset_of_images(
    api: APIClient, home: Path, name: str, content: bytes
) -> None:
    upload_id = whole(api, content, name)
    made = register(api, {"upload_id": upload_id}, modality="image")
    assert made.status_code == 201, made.json()
    body = made.json()
    assert (body["num_samples"], body["integrity_passed"]) == (8, True)
    assert body["statistics"]["rows"] == {"train": 4, "validation": 4}
    folder = home / "datasets" / body["id"]
    assert (folder / "train" / "cat" / "0.png").read_bytes() == picture("red")
    assert left_over(home).count(f"{upload_id}.part") == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.zip", zipped({"../../etc/cat/1.png": picture("red")}), "leads out of its folder"),
        ("a.tar.gz", tarred({}, link="/etc/passwd"), "neither a file of rows nor an image"),
        ("a.zip", zipped({"cat/virus.exe": b"MZ"}), "neither a file of rows nor an image"),
        ("a.zip", zipped({"cat/1.png": b"\0" * 4_000_000}), "unpacks to far more"),
        (
            "a.zip",
            zipped({"__MACOSX/x": b"", ".DS_Store": b""}),
            "neither a file of rows nor an image",
        ),
        ("a.zip", zipped(PETS)[:300] + b"PK\x05\x06", "cannot be unpacked"),
    ],
    ids=["out of it", "link", "program", "bomb", "nothing", "torn"],
)
def test_an_archive_that_is_not_sound_is_refused_and_leaves_nothing(
    api: APIClient,
    home: Path,
    name: str,
    content: bytes,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "ALWAYS_BYTES", 1_000_000)
    upload_id = whole(api, content, name)
    answer = register(api, {"upload_id": upload_id}, modality="image")
    assert answer.status_code == 400, answer.json()
    assert words in answer.json()["details"]["files"]
    assert left_over(home) == [f"{upload_id}.part"]


# --- The page ------------------------------------------------------------------------------------


def test_without_scripts_the_form_brings_its_files(api: APIClient, home: Path, client: Any) -> None:
    page = client.get("/datasets/new").content.decode()
    assert "New dataset" in page
    fields = {
        "name": "by form",
        "version": "2",
        "modality": "text",
        "project": api.get("/api/projects").json()["projects"][0]["id"],
        "train": SimpleUploadedFile("rows.jsonl", ROWS),
        "test": SimpleUploadedFile("more.jsonl", ROWS),
    }
    answer = client.post("/datasets/new", fields)
    dataset = Dataset.objects.get()
    assert answer["Location"] == f"/datasets/{dataset.pk}"
    assert (dataset.name, dataset.version) == ("by form", "2")
    assert dataset.statistics["rows"] == {"train": 40, "test": 40}
    assert list((home / "uploads").iterdir()) == []


def test_a_form_that_cannot_be_says_why(client: Any, api: APIClient, settings: Any) -> None:
    project = api.get("/api/projects").json()["projects"][0]["id"]
    fields = {"name": "x", "version": "1", "modality": "text", "project": project}
    answer = client.post("/datasets/new", fields)
    assert answer.status_code == 422
    assert "There is no file." in answer.content.decode()
    settings.TRAINYARD_UPLOAD_LIMIT_MB = 0
    answer = client.post("/datasets/new", {**fields, "train": SimpleUploadedFile("a.jsonl", ROWS)})
    assert answer.status_code == 413
    assert "The file is larger" in answer.content.decode()


def test_what_has_come_before_is_used_or_removed_on_the_page(client: Any, api: APIClient) -> None:
    first, second = whole(api), whole(api, name="other.jsonl")
    page = client.get("/datasets/new").content.decode()
    assert f"upload-{first}" in page
    assert client.post(f"/uploads/{second}/discard")["Location"] == "/datasets/new"
    project = api.get("/api/projects").json()["projects"][0]["id"]
    fields = {"name": "x", "version": "1", "modality": "text", "project": project}
    client.post("/datasets/new", {**fields, f"upload-{first}": "train"})
    assert Dataset.objects.get().num_samples == 40
    assert not Upload.objects.exists()
