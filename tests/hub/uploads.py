"""The fake hub's other half: what it takes. Repositories, LFS objects, commits."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any


def answers(handler: Any, method: str, path: str, token: str) -> bool:
    """Whether the request was one of an upload; then it has been answered."""
    parts = path.strip("/").split("/")
    if path == "/api/repos/create":
        _create(handler, token)
    elif path == "/api/validate-yaml":
        handler.send_json({"errors": [], "warnings": []})
    elif path.endswith(".git/info/lfs/objects/batch"):
        _batch(handler)
    elif method == "PUT" and parts[0] == "upload":
        _receive(handler, parts[1])
    elif method == "POST" and parts[:2] == ["api", "models"] and "preupload" in parts:
        _preupload(handler, "/".join(parts[2:4]))
    elif method == "POST" and parts[:2] == ["api", "models"] and "commit" in parts:
        _commit(handler, "/".join(parts[2:4]), parts[-1])
    else:
        return False
    return True


def _create(handler: Any, token: str) -> None:
    body = json.loads(handler.body)
    repo_id = f"{body['organization']}/{body['name']}" if body.get("organization") else body["name"]
    if not token:
        handler.refuse(401, "")
    elif ("models", repo_id) in handler.hub.repos:
        url = f"{handler.hub.address}/{repo_id}"
        handler.send_json({"error": "You already created this model repo", "url": url}, 409)
    else:
        repo = handler.hub.add("models", repo_id, {})
        repo.private_to = token if body.get("visibility") == "private" else ""
        handler.send_json({"url": f"{handler.hub.address}/{repo_id}", "name": repo_id})


def _preupload(handler: Any, repo_id: str) -> None:
    from tests.hub.fake_hub import is_lfs

    repo = handler.hub.repos["models", repo_id]
    there = repo.commits[repo.refs["main"]]
    files = []
    for file in json.loads(handler.body)["files"]:
        large = is_lfs(file["path"], b"") or file["size"] > 1_000_000
        oid = None
        if content := there.get(file["path"]):
            oid = handler.hub.sha256(content) if large else handler.hub.git_sha1(content)
        mode = "lfs" if large else "regular"
        files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    handler.send_json({"files": files})


def _batch(handler: Any) -> None:
    objects = []
    for wanted in json.loads(handler.body)["objects"]:
        answer: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in handler.hub.objects:
            url = f"{handler.hub.address}/upload/{wanted['oid']}"
            answer["actions"] = {"upload": {"href": url, "header": {}}}
        objects.append(answer)
    handler.send_json({"transfer": "basic", "objects": objects})


def _receive(handler: Any, oid: str) -> None:
    if hashlib.sha256(handler.body).hexdigest() != oid:
        handler.refuse(400, "")
        return
    handler.hub.objects[oid] = handler.body
    handler.send_json({})


def _commit(handler: Any, repo_id: str, revision: str) -> None:
    repo = handler.hub.repos["models", repo_id]
    files = dict(repo.commits[repo.refs[revision]])
    for line in handler.body.splitlines():
        item = json.loads(line)
        value = item["value"]
        if item["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif item["key"] == "lfsFile":
            files[value["path"]] = handler.hub.objects[value["oid"]]
    sha = repo.commit(files, revision)
    url = f"{handler.hub.address}/{repo_id}/commit/{sha}"
    handler.send_json({"success": True, "commitOid": sha, "commitUrl": url})
