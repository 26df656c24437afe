"""A hub on loopback: the endpoints that huggingface_hub really calls, with Git LFS and ranges, and
every fault that a network or a hub can have, on request.

    python -m tests.hub.fake_hub FOLDER     serves FOLDER/<owner>/<name>, as model and dataset
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.hub import uploads

Content = bytes | Path
LFS_SUFFIXES = (".safetensors", ".gguf", ".parquet", ".bin", ".zip", ".png")
BLOCK = 64 * 1024


@dataclass
class Fault:
    """What happens to one request instead of, or beside, its answer."""

    status: int = 0  # answered instead
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # bytes of the body; then the connection is closed
    bytes_a_second: float = 0  # of the body
    hang_seconds: float = 0  # before the body
    wrong_byte: int | None = None  # this byte of the body is another one
    no_ranges: bool = False  # answers with the whole file, whatever was asked for
    late: int = 0  # a range begins so many bytes behind the one that was asked for
    other: bytes | None = None  # the file is this one now


@dataclass
class Asked:
    """A request, as a fault sees it."""

    method: str
    path: str
    range: str
    token: str


FaultOf = Callable[[Asked], Fault | None]


@dataclass
class Repo:
    kind: str
    id: str
    commits: dict[str, dict[str, Content]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private_to: str = ""  # the token that may see it

    def commit(self, files: dict[str, Content], ref: str = "main") -> str:
        sha = hashlib.sha1(f"{self.id}{ref}{len(self.commits)}".encode()).hexdigest()
        self.commits[sha] = files
        self.refs[ref] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


class FakeHub:
    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.renamed: dict[tuple[str, str], str] = {}
        self.objects: dict[str, Content] = {}  # LFS, by SHA-256
        self.asked: list[Asked] = []
        self.fault_of: FaultOf = lambda asked: None
        self.tokens: set[str] = {"hf_good"}
        self.server = _Server(self)
        self.hashes: dict[Path, tuple[str, str]] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def add(self, kind: str, repo_id: str, files: dict[str, Content], **fields: Any) -> Repo:
        """``kind`` is models or datasets."""
        repo = Repo(kind, repo_id, **fields)
        repo.commit(files)
        self.repos[kind, repo_id] = repo
        return repo

    def bodies(self) -> list[Asked]:
        """The requests for files' bytes."""
        return [a for a in self.asked if a.method == "GET" and "/resolve/" in a.path]

    def sha256(self, content: Content) -> str:
        return self._hashes(content)[0]

    def git_sha1(self, content: Content) -> str:
        return self._hashes(content)[1]

    def _hashes(self, content: Content) -> tuple[str, str]:
        if isinstance(content, Path):
            if content not in self.hashes:
                self.hashes[content] = _hashes(content.read_bytes())
            return self.hashes[content]
        return _hashes(content)


def _hashes(data: bytes) -> tuple[str, str]:
    blob = b"blob %d\0" % len(data) + data
    return hashlib.sha256(data).hexdigest(), hashlib.sha1(blob).hexdigest()


def size_of(content: Content) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def is_lfs(path: str, content: Content) -> bool:
    return path.endswith(LFS_SUFFIXES) or size_of(content) > 1_000_000


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    thread = threading.Thread(target=hub.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub: FakeHub) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub = hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to tell of."""
        if not isinstance(sys.exception() if sys.version_info >= (3, 11) else None, OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = BLOCK
    server: _Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer("HEAD")

    def do_GET(self) -> None:
        self.answer("GET")

    def do_POST(self) -> None:
        self.answer("POST")

    def do_PUT(self) -> None:
        self.answer("PUT")

    def answer(self, method: str) -> None:
        self.hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(method, path, self.headers.get("Range", ""), token)
        self.hub.asked.append(asked)
        self.fault = self.hub.fault_of(asked) or Fault()
        if self.fault.status:
            self.refuse(self.fault.status, "", **self.fault.headers)
        elif token and token not in self.hub.tokens:
            self.refuse(
                401, "", **{"X-Error-Message": "Invalid credentials in Authorization header"}
            )
        else:
            self.route(method, path, token)

    def route(self, method: str, path: str, token: str) -> None:
        parts = path.strip("/").split("/")
        if parts[0] == "objects" and method == "GET":
            self.send_content(self.hub.objects[parts[1]])
        elif uploads.answers(self, method, path, token):
            return
        elif parts[0] == "api" and parts[1] in ("models", "datasets"):
            self.api(parts[1], parts[2:], token)
        elif "resolve" in parts:
            kind = "datasets" if parts[0] == "datasets" else "models"
            at = parts.index("resolve")
            repo_id = "/".join(parts[:at]).removeprefix("datasets/")
            self.resolve(method, kind, repo_id, parts[at + 1], "/".join(parts[at + 2 :]), token)
        else:
            self.refuse(404, "")

    # -- What there is -------------------------------------------------------------------------

    def api(self, kind: str, parts: list[str], token: str) -> None:
        """/api/models/<owner>/<name>[/revision/<rev> | /tree/<rev>[/<folder>]]"""
        repo_id, rest = "/".join(parts[:2]), parts[2:]
        if new := self.hub.renamed.get((kind, repo_id)):
            self.redirect("/".join(["/api", kind, new, *rest]), 307)
            return
        repo = self.allowed(kind, repo_id, token)
        if repo is None:
            return
        revision, folder = "/".join(rest[1:]) if rest else "main", ""
        while (sha := repo.resolve(revision)) is None and rest[:1] == ["tree"] and "/" in revision:
            revision, _, name = revision.rpartition("/")
            folder = f"{name}/{folder}"
        if sha is None:
            self.refuse(404, "RevisionNotFound")
        elif rest and rest[0] == "tree":
            recursive = "recursive=true" in urlsplit(self.path).query.lower()
            self.send_json(self.entries(repo.commits[sha], folder, recursive))
        else:
            self.send_json(
                {
                    "_id": "0" * 24,
                    "id": repo.id,
                    "sha": sha,
                    "private": bool(repo.private_to),
                    "gated": "auto" if repo.gated else False,
                    "disabled": False,
                    "tags": [],
                    "siblings": [{"rfilename": p} for p in sorted(repo.commits[sha])],
                }
            )

    def entries(self, files: dict[str, Content], folder: str, recursive: bool) -> list[Any]:
        """What is in a folder (with a slash behind it; the root is empty)."""
        inside = {path: c for path, c in sorted(files.items()) if path.startswith(folder)}
        if recursive:
            return [self.entry(*each) for each in inside.items()]
        parts = {path: path.removeprefix(folder).partition("/") for path in inside}
        folders = {folder + name for name, slash, _ in parts.values() if slash}
        return [
            *({"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders),
            *(self.entry(path, inside[path]) for path, (_, slash, _) in parts.items() if not slash),
        ]

    def entry(self, path: str, content: Content) -> dict[str, Any]:
        size = size_of(content)
        entry = {
            "type": "file",
            "path": path,
            "size": size,
            "oid": self.hub.git_sha1(content if size < 10_000_000 else b""),
        }
        if is_lfs(path, content):
            oid = self.hub.sha256(content)
            entry["lfs"] = {"oid": oid, "size": size, "pointerSize": 134}
        return entry

    def allowed(self, kind: str, repo_id: str, token: str) -> Repo | None:
        repo = self.hub.repos.get((kind, repo_id))
        if repo is None or (repo.private_to and repo.private_to != token):
            # As the hub does: whoever is nobody is told 401, whatever there is.
            self.refuse(404 if token else 401, "RepoNotFound")
            return None
        return repo

    def resolve(
        self, method: str, kind: str, repo_id: str, revision: str, path: str, token: str
    ) -> None:
        repo_id = self.hub.renamed.get((kind, repo_id), repo_id)
        repo = self.allowed(kind, repo_id, token)
        if repo is None:
            return
        sha = repo.resolve(revision)
        if sha is None:
            self.refuse(404, "RevisionNotFound")
        elif repo.gated and not token:
            self.refuse(401, "GatedRepo")
        elif path not in repo.commits[sha]:
            self.refuse(404, "EntryNotFound")
        else:
            self.send_file(method, path, repo.commits[sha][path], sha)

    def send_file(self, method: str, path: str, content: Content, sha: str) -> None:
        facts = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if not is_lfs(path, content):
            self.send_content(content, method, ETag=f'"{self.hub.git_sha1(content)}"', **facts)
            return
        oid = self.hub.sha256(content)
        self.hub.objects[oid] = content
        linked = {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(size_of(content))}
        if method == "GET" and (self.fault != Fault()):
            self.send_content(content, method, ETag=f'"{oid}"', **facts)
        else:
            # To another host, as the hub does; clients then take what they need to know from here.
            storage = self.hub.address.replace("127.0.0.1", "localhost")
            self.redirect(f"{storage}/objects/{oid}", 302, **facts, **linked)

    # -- Answers ---------------------------------------------------------------------------------

    def send_content(self, content: Content, method: str = "GET", **headers: str) -> None:
        fault = self.fault
        content = content if fault.other is None else fault.other
        size = size_of(content)
        first, last = 0, size - 1
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        if asked and not fault.no_ranges:
            begin, _, end = asked.partition("-")
            first, last = int(begin) + fault.late, min(int(end or last), last)
            if first >= size:
                self.refuse(416, "")
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(last - first + 1))
        self.end(headers)
        if method != "HEAD":
            self.wfile.flush()
            if fault == Fault() and isinstance(content, Path):
                with open(content, "rb") as file:
                    self.connection.sendfile(file, first, last - first + 1)
            else:
                data = content.read_bytes() if isinstance(content, Path) else content
                self.send_slowly(data[first : last + 1], first)

    def send_slowly(self, data: bytes, first: int) -> None:
        """With whatever the fault has in store."""
        fault = self.fault
        if fault.wrong_byte is not None and first <= fault.wrong_byte < first + len(data):
            at = fault.wrong_byte - first
            data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        time.sleep(fault.hang_seconds)
        end = len(data) if fault.cut_after is None else min(fault.cut_after, len(data))
        step = int(fault.bytes_a_second / 20) or BLOCK
        for at in range(0, end, step):
            self.connection.sendall(data[at : min(at + step, end)])
            if fault.bytes_a_second:
                time.sleep(0.05)
        if end < len(data):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def send_json(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end({"Content-Type": "application/json"})
        self.wfile.write(body)

    def redirect(self, location: str, status: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end(headers)

    def refuse(self, status: int, code: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end({"X-Error-Code": code, **headers} if code else headers)

    def end(self, headers: dict[str, str]) -> None:
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def main(folder: Path) -> None:
    with running_hub() as hub:
        for repo in sorted(folder.glob("*/*")):
            files: dict[str, Content] = {
                path.relative_to(repo).as_posix(): path
                for path in sorted(repo.rglob("*"))
                if path.is_file()
            }
            for kind in ("models", "datasets"):
                hub.add(kind, f"{repo.parent.name}/{repo.name}", files)
            for path in files.values():
                hub.sha256(path)
        print(hub.address, flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
