"""Models that are uploaded: file by file, as an archive, or with a form."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from accounts.models import Project
from registry import archives
from registry.models import BaseModel, Upload
from registry.uploads import model_registration
from tests.pages import Page
from tests.registry.files import PARAMS, write_json, write_model, write_shards
from tests.registry.test_resumable_uploads import URL, announce, send, whole

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("home")]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return contents(write_model(tmp_path / "here"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inside in files.items():
            archive.writestr(name, inside)
    return content.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, inside in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(inside)
            archive.addfile(member, io.BytesIO(inside))
    return content.getvalue()


def sent(api: APIClient, files: dict[str, bytes]) -> list[str]:
    return [whole(api, content, name) for name, content in files.items()]


def register(api: APIClient, upload_ids: list[str], **fields: Any) -> Any:
    body = {"name": "mine", "files": [{"upload_id": one} for one in upload_ids], **fields}
    return api.post(f"{URL}/register-model", body, format="json")


def left_over(home: Path) -> set[str]:
    folders = ("uploads", "datasets", "models")
    return {path.name for folder in folders for path in (home / folder).iterdir()}


def test_files_become_a_model_that_is_inspected_and_shown(
    api: APIClient, client: Any, home: Path, files: dict[str, bytes]
) -> None:
    made = register(api, sent(api, files), family="llama", description="My own.")
    assert made.status_code == 201, made.json()
    body = made.json()
    assert made["Location"] == f"/api/base-models/{body['id']}"
    assert (body["name"], body["family"], body["status"]) == ("mine", "llama", "active")
    assert body["metadata"]["inspection"]["params"] == PARAMS
    assert body["metadata"]["source"] == "upload"
    assert body["storage_path"] == str(home / "models" / body["id"])
    assert contents(Path(body["storage_path"])) == files
    assert (home / "models" / f"{body['id']}.manifest.jsonl").exists()
    assert not Upload.objects.exists()
    assert list((home / "uploads").iterdir()) == []
    told = api.get("/api/activity?limit=1").json()["activities"][0]
    assert (told["event_type"], told["metadata"]["model_id"]) == ("model_created", body["id"])
    assert api.get("/api/base-models").json()["models"][0]["id"] == body["id"]
    page = Page(client.get(f"/models/{body['id']}"))
    page.check_outline()
    assert "model.safetensors" in page.words


def test_shards_are_looked_at_together(api: APIClient, tmp_path: Path) -> None:
    files = contents(write_shards(tmp_path / "shards"))
    without = {n: c for n, c in files.items() if n != "model-00002-of-00002.safetensors"}
    ids = sent(api, without)
    refused = register(api, ids)
    assert refused.status_code == 400
    assert "model-00002-of-00002.safetensors" in refused.json()["details"]["files"]
    last = whole(api, files["model-00002-of-00002.safetensors"], "model-00002-of-00002.safetensors")
    made = register(api, [*ids, last])
    assert made.status_code == 201, made.json()
    assert made.json()["metadata"]["inspection"]["params"] == PARAMS


@pytest.mark.parametrize("around", ["", "my-model/"])
@pytest.mark.parametrize(("name", "pack"), [("m.zip", zipped), ("m.tar.gz", tarred)])
def test_an_archive_of_its_folder_becomes_a_model(
    api: APIClient, files: dict[str, bytes], name: str, pack: Any, around: str
) -> None:
    inside = {f"{around}{one}": content for one, content in files.items()}
    inside |= {f"{around}pytorch_model.bin": b"\x80pickle", f"{around}run.py": b"print()"}
    made = register(api, [whole(api, pack(inside), name)])
    assert made.status_code == 201, made.json()
    assert contents(Path(made.json()["storage_path"])) == files


def torn(content: bytes) -> bytes:
    return content[:200] + b"\0" * 40 + content[240:]


@pytest.mark.parametrize(
    ("name", "pack", "words"),
    [
        ("a.zip", lambda files: torn(zipped(files)), "cannot be unpacked"),
        ("a.tar.gz", lambda files: tarred(files)[:700], "cannot be unpacked"),
        ("a.zip", lambda files: zipped({"../../x/config.json": b"{}"}), "leads out of its folder"),
        ("a.zip", lambda files: zipped({"pytorch_model.bin": b"x"}), "no file of a model"),
        ("a.zip", lambda files: zipped({"config.json": b" " * 4_000_000}), "it is no model"),
        ("a.zip", lambda files: zipped({"config.json": b"{}"}), "There are no weights"),
        ("a.zip", lambda files: zipped({"README.md": b"# A"}), "no config.json in what was sent"),
        ("a.zip", lambda files: zipped({**files, "config.json": b"{"}), "config.json"),
        (
            "a.zip",
            lambda files: zipped({**files, "model.safetensors": files["model.safetensors"][:-9]}),
            "model.safetensors",
        ),
        ("a.zip", lambda files: zipped({"train.jsonl": b"{}\n"}), "no file of a model"),
    ],
    ids=[
        "torn",
        "cut",
        "out",
        "pickle",
        "bomb",
        "weights",
        "config",
        "bad config",
        "short",
        "rows",
    ],
)
def test_what_is_no_model_is_refused_and_leaves_nothing(
    api: APIClient,
    home: Path,
    files: dict[str, bytes],
    name: str,
    pack: Any,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "ALWAYS_BYTES", 1_000_000)
    upload_id = whole(api, pack(files), name)
    answer = register(api, [upload_id])
    assert answer.status_code == 400, answer.json()
    said = answer.json()["details"]["files"]
    assert words in said
    assert str(home) not in said
    assert left_over(home) == {f"{upload_id}.part"}
    assert not BaseModel.objects.exists()


def test_an_archive_that_takes_too_long_says_what_to_do(
    api: APIClient, home: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_registration, "READ_AT_ONCE_BYTES", 1000)
    upload_id = whole(api, zipped(files), "m.zip")
    assert "Send the files" in register(api, [upload_id]).json()["details"]["files"]
    assert left_over(home) == {f"{upload_id}.part"}


def test_a_pickle_is_refused_before_it_comes(api: APIClient) -> None:
    for name, words in (("pytorch_model.bin", "pickle"), ("modeling.py", "code")):
        answer = announce(api, name, 10)
        assert answer.status_code == 400
        assert words in answer.json()["details"]["filename"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("model.safetensors", b"PK\x03\x04" + b"\0" * 60), ("a.gguf", b"GGML....")],
)
def test_weights_that_begin_like_something_else_are_told_early(
    api: APIClient, home: Path, name: str, content: bytes
) -> None:
    address = announce(api, name, len(content))["Location"]
    answer = send(api, address, 0, content)
    assert answer.status_code == 400
    assert "does not begin like one" in answer.json()["details"]["file"]
    assert left_over(home) == set()


def test_a_file_is_not_taken_twice(api: APIClient, home: Path, files: dict[str, bytes]) -> None:
    ids = sent(api, files)
    again = whole(api, b"{}", "config.json")
    answer = register(api, [*ids, again])
    assert "was sent twice" in answer.json()["details"]["files"]
    assert "named twice" in register(api, [*ids, ids[0]]).json()["details"]["files"]
    assert left_over(home) == {f"{one}.part" for one in [*ids, again]}
    assert register(api, ids).status_code == 201


def test_a_project_without_room_takes_none(
    api: APIClient, home: Path, project: Project, files: dict[str, bytes]
) -> None:
    ids = sent(api, files)
    project.max_storage_gb = 0
    project.save()
    answer = register(api, ids)
    assert "no room" in answer.json()["details"]["project_id"]
    assert left_over(home) == {f"{one}.part" for one in ids}


def test_only_who_may_write_makes_a_model(
    api: APIClient, client_of: Any, viewer: Any, stranger: Any, files: dict[str, bytes]
) -> None:
    ids = sent(api, files)
    assert register(client_of(viewer), ids).status_code == 403
    assert register(client_of(stranger), ids).status_code in (400, 403)
    assert not BaseModel.objects.exists()


def test_one_request_brings_the_files_or_an_archive(
    api: APIClient, home: Path, files: dict[str, bytes]
) -> None:
    parts = [SimpleUploadedFile(name, content) for name, content in files.items()]
    given = {"name": "in one go", "family": "llama", "file": parts}
    made = api.post("/api/base-models", given, format="multipart")
    assert made.status_code == 201, made.json()
    assert contents(Path(made.json()["storage_path"])) == files
    packed = {"name": "packed", "file": SimpleUploadedFile("m.zip", zipped(files))}
    made = api.post("/api/base-models", packed, format="multipart")
    assert (made.status_code, made.json()["metadata"]["file_name"]) == (201, "m.zip")
    before = left_over(home)
    rows = {"name": "rows", "file": SimpleUploadedFile("train.jsonl", b"{}")}
    refused = api.post("/api/base-models", rows, format="multipart")
    assert (refused.status_code, list(refused.json()["details"])) == (400, ["file"])
    nothing = api.post("/api/base-models", {"name": "nothing"}, format="multipart")
    assert (nothing.status_code, list(nothing.json()["details"])) == (400, ["file"])
    assert left_over(home) == before


# --- The page ------------------------------------------------------------------------------------


def test_the_form_brings_the_files_itself(
    client: Any, home: Path, project: Project, files: dict[str, bytes]
) -> None:
    assert "/models/upload" in client.get("/models").content.decode()
    Page(client.get("/models/upload")).check_outline()
    fields = {
        "name": "by form",
        "project": str(project.pk),
        "model": [SimpleUploadedFile(name, content) for name, content in files.items()],
    }
    answer = client.post("/models/upload", fields)
    model = BaseModel.objects.get()
    assert answer["Location"] == f"/models/{model.pk}"
    assert contents(Path(model.storage_path)) == files
    assert list((home / "uploads").iterdir()) == []


def test_what_was_sent_before_is_ticked_on_the_page(
    api: APIClient, client: Any, project: Project, files: dict[str, bytes]
) -> None:
    ids = sent(api, files)
    other = whole(api, b"other", "notes.txt")
    page = client.get("/models/upload").content.decode()
    assert f"upload-{ids[0]}" in page
    gone = client.post(f"/uploads/{other}/discard", {"page": "model-upload"})
    assert gone["Location"] == "/models/upload"
    fields = {"name": "x", "project": str(project.pk)}
    answer = client.post("/models/upload", {**fields, **{f"upload-{one}": "on" for one in ids}})
    assert answer.status_code == 302
    assert not Upload.objects.exists()


def test_a_page_offers_what_it_has_a_use_for(
    api: APIClient, client: Any, files: dict[str, bytes]
) -> None:
    rows = whole(api, name="train.jsonl")
    weights = whole(api, files["model.safetensors"], "model.safetensors")
    archive = whole(api, zipped(files), "either.zip")
    for path, offered in (("/datasets/new", rows), ("/models/upload", weights)):
        page = Page(client.get(path))
        shown = {attrs["data-upload"] for _, attrs in page.tags if "data-upload" in attrs}
        assert shown == {offered, archive}


def test_a_form_that_cannot_be_says_why(
    client: Any, project: Project, settings: Any, tmp_path: Path
) -> None:
    fields = {"name": "x", "project": str(project.pk)}
    answer = client.post("/models/upload", fields)
    assert answer.status_code == 422
    assert "There is no file." in answer.content.decode()
    assert client.post("/models/upload", {**fields, "name": ""}).status_code == 422
    adapter = write_json(tmp_path / "adapter_config.json", {"peft_type": "LORA"}).read_bytes()
    sending = {**fields, "model": SimpleUploadedFile("adapter_config.json", adapter)}
    assert "holds an adapter" in client.post("/models/upload", sending).content.decode()
    settings.TRAINYARD_UPLOAD_LIMIT_MB = 0
    sending = {**fields, "model": SimpleUploadedFile("config.json", b"{}")}
    assert client.post("/models/upload", sending).status_code == 413


def test_a_viewer_has_no_form(client: Any, viewer: Any) -> None:
    client.force_login(viewer)
    assert client.get("/models/upload").status_code == 403
