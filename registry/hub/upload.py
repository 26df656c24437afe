"""Sends a model or an adapter of the registry to the hub: large files one by one by Git LFS, then
one commit that holds them all, and a look at whether the hub has what was sent."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.hf_api import RepoFile

from registry import storage
from registry.hub import outcome, selection, tokens
from registry.hub.models import Phase, Status, Transfer, TransferFile
from registry.hub.pulse import Pulse
from registry.hub.sources.hub import HubSource, as_trouble
from registry.hub.trouble import Stopped, Trouble
from registry.models import Adapter, BaseModel


class Metered(io.BufferedReader):
    """A file whose reader waits for the bandwidth and hears that it shall stop."""

    pulse: Pulse | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.pulse is not None:
            self.pulse.moved(len(data))
        return data


def plan(transfer: Transfer) -> selection.Plan:
    """What would be sent, without asking the hub. Raises Trouble."""
    token_of(transfer)
    places = sorted(files_to_send(transfer).items())
    files = [selection.RemoteFile(name, place.stat().st_size) for name, place in places]
    return selection.Plan("", transfer.hf_repo_id, files)


def token_of(transfer: Transfer) -> str:
    if token := tokens.of(transfer):
        return token
    raise Trouble(
        "no_token",
        "The hub takes nothing from somebody without a token.",
        "Give the project a hub token that may write.",
    )


def send(transfer: Transfer, pulse: Pulse) -> None:
    """Raises Trouble and Stopped. What the hub has already is not sent again."""
    token = token_of(transfer)
    source = HubSource(transfer, token)
    pulse.begin(Phase.LISTING)
    places = files_to_send(transfer)
    rows = {file.path: file for file in _listed(transfer, places)}
    pulse.begin(Phase.MOVING, bytes_moved=0, files_done=0)
    with as_upload_trouble(source), ExitStack() as stack:
        source.api.create_repo(
            transfer.hf_repo_id, private=transfer.private, exist_ok=True, repo_type="model"
        )
        additions = [
            CommitOperationAdd(name, stack.enter_context(Metered(io.FileIO(place))))
            for name, place in sorted(places.items())
        ]
        _send_large_files(source.api, transfer, additions, pulse)
        pulse.begin(Phase.CHECKING, bytes_moved=transfer.size_bytes or 0, files_done=len(rows))
        commit = source.api.create_commit(
            transfer.hf_repo_id,
            additions,
            commit_message=f"{transfer.name}, uploaded by Trainyard",
            revision=transfer.hf_revision,
        )
        _compare(source.api, transfer, additions, commit.oid)
    url = f"{settings.HF_ENDPOINT}/{transfer.hf_repo_id}/tree/{commit.oid}"
    Transfer.objects.filter(pk=transfer.pk).update(hf_commit=commit.oid)
    outcome.completed(
        transfer,
        pulse.attempt,
        {"kind": "commit", "id": commit.oid, "name": transfer.hf_repo_id, "url": url},
        f"Successfully uploaded {transfer.name} to HuggingFace: {transfer.hf_repo_id}",
    )


def files_to_send(transfer: Transfer) -> dict[str, Path]:
    """The entry's files by their names in the repository, and the job's other exports that were
    asked for, each in a folder of its own."""
    entry = entry_of(transfer)
    folder = Path(entry.storage_path)
    if not entry.storage_path or not folder.exists():
        raise Trouble("no_files", f"'{entry}' has no files to send.")
    found = {name: _place(folder, name) for name in _chosen(transfer, storage.manifest(folder))}
    for export in transfer.exports:
        other = folder.parent / export
        names = storage.manifest(other) if storage.is_export(other) and other.is_dir() else {}
        if not names:
            raise Trouble("no_files", f"'{entry}' was not exported as {export}.")
        found |= {f"{export}/{name}": _place(other, name) for name in names}
    if not found:
        raise Trouble("nothing_matches", "The patterns leave out every file.")
    return found


def entry_of(transfer: Transfer) -> BaseModel | Adapter:
    for kind in (BaseModel, Adapter):
        entry: BaseModel | Adapter | None = kind.objects.filter(pk=transfer.entry_id).first()
        if entry is not None:
            return entry
    raise Trouble("no_files", "The model has been deleted from the registry.")


def _place(folder: Path, name: str) -> Path:
    return folder / name if folder.is_dir() else folder


def _chosen(transfer: Transfer, names: storage.Manifest) -> list[str]:
    files = [selection.RemoteFile(name, facts["size"]) for name, facts in names.items()]
    chosen = selection.matching(files, transfer.allow_patterns, transfer.ignore_patterns)
    return sorted(file.path for file in chosen)


def _listed(transfer: Transfer, places: dict[str, Path]) -> list[TransferFile]:
    """The rows of the files, as they are now: an upload that goes on may find others."""
    sizes = {name: place.stat().st_size for name, place in places.items()}
    transfer.files.all().delete()
    rows = [TransferFile(transfer=transfer, path=n, size_bytes=s) for n, s in sizes.items()]
    TransferFile.objects.bulk_create(rows, batch_size=500)
    ours = Transfer.objects.filter(pk=transfer.pk, attempt=transfer.attempt, status=Status.RUNNING)
    if not ours.update(size_bytes=sum(sizes.values()), files_total=len(rows)):
        raise Stopped
    transfer.refresh_from_db()
    return rows


def _send_large_files(
    api: HfApi, transfer: Transfer, additions: list[CommitOperationAdd], pulse: Pulse
) -> None:
    """One after the other, so that what is there stays there: a second attempt does not send it."""
    for addition in additions:
        sent_before = pulse.bytes_moved
        stream: Any = addition.path_or_fileobj
        stream.pulse = pulse
        try:
            api.preupload_lfs_files(
                transfer.hf_repo_id, [addition], revision=transfer.hf_revision, free_memory=False
            )
        finally:
            stream.pulse = None
        # Small ones go with the commit, what the hub has already has not been read, and what had
        # to be sent twice has been counted twice.
        pulse.lost(pulse.bytes_moved - sent_before - addition.upload_info.size)
        pulse.done()


def _compare(
    api: HfApi, transfer: Transfer, additions: list[CommitOperationAdd], commit: str
) -> None:
    """Raises Trouble where the hub does not hold what was sent."""
    tree = api.list_repo_tree(transfer.hf_repo_id, revision=commit, recursive=True)
    there = {
        entry.path: entry.lfs.sha256 if entry.lfs else entry.blob_id
        for entry in tree
        if isinstance(entry, RepoFile)
    }
    rows = {file.path: file for file in transfer.files.all()}
    for addition in additions:
        sha256 = addition.upload_info.sha256.hex()
        if there.get(addition.path_in_repo) not in (sha256, git_sha1(addition)):
            raise Trouble(
                "wrong_bytes",
                f"The hub does not hold {addition.path_in_repo} as it was sent.",
                "Try again.",
                passes=True,
            )
        rows[addition.path_in_repo].sha256 = sha256
    TransferFile.objects.bulk_update(rows.values(), ["sha256"], batch_size=200)


def git_sha1(addition: CommitOperationAdd) -> str:
    """Only small files are kept by Git itself."""
    from huggingface_hub.utils.sha import git_hash

    if addition.upload_info.size > 20_000_000:
        return ""
    with addition.as_file() as file:
        return git_hash(file.read())


@contextmanager
def as_upload_trouble(source: HubSource) -> Iterator[None]:
    """The library wraps what goes wrong with a large file; what is inside says more."""
    with as_trouble(source):
        try:
            yield
        except RuntimeError as error:
            if error.__cause__ is None:
                raise
            raise error.__cause__ from None
