"""The cache of the Hugging Face libraries on this machine: what there is when nothing may go out.

Its blobs are named after the hub's own hashes, so what is taken from it is checked like anything
that comes over the network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from registry.hub.models import Transfer
from registry.hub.selection import Plan, RemoteFile, choose
from registry.hub.sources import Opened, Source
from registry.hub.trouble import Trouble

_BLOCK = 2**20
_HASHES = {40: "git-sha1", 64: "sha256"}


class CacheSource(Source):
    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer
        name = repo_folder_name(repo_id=transfer.hf_repo_id, repo_type=transfer.makes)
        self.folder = Path(constants.HF_HUB_CACHE) / name

    def plan(self) -> Plan:
        commit = self._commit()
        snapshot = self.folder / "snapshots" / commit
        files = [
            RemoteFile(path.relative_to(snapshot).as_posix(), path.stat().st_size, _hash_of(path))
            for path in sorted(snapshot.rglob("*"))
            if path.is_file()
        ]
        if not files:
            raise Trouble(
                "offline",
                f"This platform is told to stay offline (HF_HUB_OFFLINE), and "
                f"'{self.transfer.hf_repo_id}' at '{self.transfer.hf_revision}' is not in the "
                "cache of the Hugging Face libraries.",
                f"Copy it into {constants.HF_HUB_CACHE} from a machine that has it.",
            )
        chosen, left_out = choose(
            self.transfer.makes, files, self.transfer.allow_patterns, self.transfer.ignore_patterns
        )
        note = "Taken from the cache on this machine, which may not hold every file of the commit."
        return Plan(commit, self.transfer.hf_repo_id, chosen, left_out, [note])

    def _commit(self) -> str:
        revision = self.transfer.hf_commit or self.transfer.hf_revision
        ref = self.folder / "refs" / revision
        return ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision

    @contextmanager
    def open(self, plan: Plan, path: str, size_bytes: int, offset: int) -> Iterator[Opened]:
        with open(self.folder / "snapshots" / plan.commit / path, "rb") as file:
            file.seek(offset)
            yield offset, iter(lambda: file.read(_BLOCK), b"")


def _hash_of(path: Path) -> str:
    """From the name of the blob that the snapshot links to; "" where the cache has no links."""
    name = os.path.basename(os.path.realpath(path))
    kind = _HASHES.get(len(name)) if path.is_symlink() else None
    return f"{kind}:{name}" if kind else ""
