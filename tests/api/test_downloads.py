"""Files and folders as answers: ranges, archives, and nothing from outside."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections
from django.http import Http404
from django.test import RequestFactory

from api import downloads

TEXT = bytes(range(256)) * 5


@pytest.fixture(autouse=True)
def _no_database() -> Iterator[None]:
    """As Django's own test client has it: an answer that is over closes no connection."""
    request_finished.disconnect(close_old_connections)
    yield
    request_finished.connect(close_old_connections)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(TEXT)
    (tmp_path / "secret").write_bytes(b"not for you")
    return folder


def ask(path: Path, root: Path, *, method: str = "GET", sha256: str = "", **headers: str) -> Any:
    request = RequestFactory().generic(method, "/", headers=headers)
    return downloads.file(request, path, root=root, sha256=sha256)


def body(response: Any) -> bytes:
    content = response.getvalue()
    response.close()
    return bytes(content)


def test_a_file_comes_whole_with_its_digest(root: Path) -> None:
    sha256 = hashlib.sha256(TEXT).hexdigest()
    response = ask(root / "model.safetensors", root, sha256=sha256)
    assert response.status_code == 200
    assert response["Content-Length"] == str(len(TEXT))
    assert response["ETag"] == f'"{sha256}"'
    assert response["Content-Disposition"] == 'attachment; filename="model.safetensors"'
    assert body(response) == TEXT


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=100-", 100, 1279),
        ("bytes=-10", 1270, 1279),
        ("bytes=1000-99999", 1000, 1279),
        ("bytes=-99999", 0, 1279),
    ],
)
def test_a_range_of_it(root: Path, wanted: str, first: int, last: int) -> None:
    response = ask(root / "model.safetensors", root, Range=wanted)
    assert body(response) == TEXT[first : last + 1]
    if (first, last) != (0, 1279):
        assert response.status_code == 206
        assert response["Content-Range"] == f"bytes {first}-{last}/1280"
    assert response["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("wanted", ["bytes=1280-", "bytes=-0"])
def test_a_range_beyond_the_end(root: Path, wanted: str) -> None:
    response = ask(root / "model.safetensors", root, Range=wanted)
    assert (response.status_code, response["Content-Range"]) == (416, "bytes */1280")


@pytest.mark.parametrize("wanted", ["bytes=5-2", "bytes=0-1,4-5", "rows=1-2", "bytes=-", "x"])
def test_what_is_no_single_range_is_passed_over(root: Path, wanted: str) -> None:
    response = ask(root / "model.safetensors", root, Range=wanted)
    assert (response.status_code, body(response)) == (200, TEXT)


def test_a_range_of_another_version_is_the_whole(root: Path) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": '"old"'}
    response = ask(root / "model.safetensors", root, sha256="ab" * 32, **headers)
    assert (response.status_code, body(response)) == (200, TEXT)
    headers["If-Range"] = f'"{"ab" * 32}"'
    again = ask(root / "model.safetensors", root, sha256="ab" * 32, **headers)
    assert (again.status_code, body(again)) == (206, TEXT[:10])


def test_what_one_has_is_not_sent_again(root: Path) -> None:
    headers = {"If-None-Match": f'"{"ab" * 32}"'}
    assert ask(root / "model.safetensors", root, sha256="ab" * 32, **headers).status_code == 304


def test_a_head_has_no_body_and_takes_no_place(root: Path) -> None:
    for _ in range(downloads.MOST_AT_ONCE + 1):
        response = ask(root / "model.safetensors", root, method="HEAD")
        assert (response.status_code, response.content) == (200, b"")
        assert response["Content-Length"] == "1280"


def test_nothing_from_outside(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "secret")
    (root / "up").symlink_to(root.parent)
    outside = ["../secret", "link", "up/secret", "nothing", ".", "\ud800"]
    for path in outside:
        with pytest.raises((Http404, UnicodeEncodeError)):
            ask(root / path, root)
    with pytest.raises(Http404):
        ask(Path("/etc/passwd"), root)


def test_a_pipe_is_no_file(root: Path) -> None:
    import os

    os.mkfifo(root / "pipe")
    with pytest.raises(Http404):
        ask(root / "pipe", root)


def test_a_folder_comes_as_an_archive_of_known_length(root: Path) -> None:
    (root / "shards").mkdir()
    (root / "shards" / ("long-name-" * 15)).write_bytes(b"x" * 700)
    (root / "empty").write_bytes(b"")
    (root / "link").symlink_to(root.parent / "secret")
    request = RequestFactory().get("/")
    response = downloads.archive(request, root, root=root.parent, name="job-step-3")
    content = body(response)
    assert response["Content-Length"] == str(len(content))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive.getmembers()
        }
    assert files == {
        "job-step-3/empty": b"",
        "job-step-3/model.safetensors": TEXT,
        f"job-step-3/shards/{'long-name-' * 15}": b"x" * 700,
    }


def test_what_is_removed_meanwhile_is_still_sent(root: Path) -> None:
    request = RequestFactory().get("/")
    response = downloads.archive(request, root, root=root.parent, name="a")
    (root / "model.safetensors").unlink()
    assert TEXT in body(response)


@pytest.fixture
def busy(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    monkeypatch.setattr(downloads, "_places", threading.BoundedSemaphore(downloads.MOST_AT_ONCE))
    running = [ask(root / "model.safetensors", root) for _ in range(downloads.MOST_AT_ONCE)]
    yield running
    for response in running:
        response.close()


def test_downloads_leave_threads_for_the_pages(root: Path, busy: list[Any]) -> None:
    refused = ask(root / "model.safetensors", root)
    assert (refused.status_code, refused["Retry-After"]) == (503, "10")
    busy.pop().close()  # somebody has gone in the middle
    assert body(ask(root / "model.safetensors", root)) == TEXT
