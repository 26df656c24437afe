"""The hub, or a mirror of it, through huggingface_hub: its API, its session, its errors.

The library's own downloads are not used: they verify no hash, write no progress that another
process could read, and cannot be stopped or slowed (docs/decisions/transfers.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from django.conf import settings
from huggingface_hub import HfApi, get_session, hf_hub_url, set_client_factory
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import default_client_factory, hf_raise_for_status

from registry.hub.models import Transfer
from registry.hub.selection import MOST_LEFT_OUT, Plan, RemoteFile, choose
from registry.hub.sources import Opened, Source, begins_at
from registry.hub.trouble import Trouble, asked_to_wait

# The hub's storage answers no request for more than 50 GB.
PIECE_BYTES = 16 * 2**30
MOST_FILES = 100_000
RANGE_NOT_SATISFIABLE = 416
_PASSING = (408, 425, 429, 500, 502, 503, 504, 520, 522, 524)


def _client() -> httpx2.Client:
    """The library's own, which waits for ever, with an end to its patience."""
    client = default_client_factory()
    silence = settings.TRAINYARD_TRANSFER_SILENCE_SECONDS
    # A commit of many files takes the hub a while.
    client.timeout = httpx2.Timeout(silence, read=4 * silence)
    return client


set_client_factory(_client)


def api_for(token: str | None) -> HfApi:
    return HfApi(endpoint=settings.HF_ENDPOINT, token=token or False, library_name="trainyard")


class HubSource(Source):
    """One repository at one revision."""

    def __init__(self, transfer: Transfer, token: str | None) -> None:
        self.transfer = transfer
        self.repo_id = transfer.hf_repo_id
        self.repo_type = transfer.makes if not transfer.is_upload else "model"
        self.token = token
        self.api = api_for(token)

    def plan(self) -> Plan:
        """Two requests: what the revision is now, and what files it has."""
        with as_trouble(self):
            info: Any = self.api.repo_info(
                self.repo_id,
                repo_type=self.repo_type,
                revision=self.transfer.hf_commit or self.transfer.hf_revision,
                timeout=settings.TRAINYARD_TRANSFER_SILENCE_SECONDS,
            )
            notes = []
            if info.id != self.repo_id:
                notes.append(f"'{self.repo_id}' was renamed on the hub: it is '{info.id}' now.")
                self.repo_id = info.id
            files = self._files(info.sha)
        chosen, left_out = choose(
            self.transfer.makes, files, self.transfer.allow_patterns, self.transfer.ignore_patterns
        )
        if len(left_out) > MOST_LEFT_OUT:
            notes.append(f"{len(left_out)} files are left out; {MOST_LEFT_OUT} of them are named.")
        return Plan(info.sha, self.repo_id, chosen, left_out[:MOST_LEFT_OUT], notes)

    def _files(self, commit: str) -> list[RemoteFile]:
        found = []
        for entry in self.api.list_repo_tree(
            self.repo_id, repo_type=self.repo_type, revision=commit, recursive=True
        ):
            if isinstance(entry, RepoFile):
                hash_ = f"sha256:{entry.lfs.sha256}" if entry.lfs else f"git-sha1:{entry.blob_id}"
                size = entry.lfs.size if entry.lfs else entry.size
                found.append(RemoteFile(entry.path, size, hash_))
            if len(found) > MOST_FILES:
                raise Trouble(
                    "too_many_files",
                    f"The repository has more than {MOST_FILES:,} files.",
                    "Take a part of it by allow_patterns, or a converted revision.",
                )
        return found

    @contextmanager
    def open(self, plan: Plan, path: str, size_bytes: int, offset: int) -> Iterator[Opened]:
        url = hf_hub_url(
            plan.repo_id,
            path,
            repo_type=self.repo_type,
            revision=plan.commit,
            endpoint=settings.HF_ENDPOINT,
        )
        headers = build_hf_headers(token=self.token or False, library_name="trainyard")
        headers["Accept-Encoding"] = "identity"
        last = min(size_bytes, offset + PIECE_BYTES) - 1
        if offset or last + 1 < size_bytes:
            headers["Range"] = f"bytes={offset}-{last}"
        silence = settings.TRAINYARD_TRANSFER_SILENCE_SECONDS
        with (
            as_trouble(self, path),
            get_session().stream("GET", url, headers=headers, timeout=silence) as answer,
        ):
            if answer.status_code == RANGE_NOT_SATISFIABLE:
                yield 0, iter(())
                return
            if answer.status_code >= 400:
                answer.read()
            hf_raise_for_status(answer)
            said = answer.headers.get("Content-Range", "")
            begin = begins_at(answer.status_code, said, offset, "The hub")
            yield begin, answer.iter_bytes()


# --- Words for what the hub says ------------------------------------------------------------------


@contextmanager
def as_trouble(source: Any, path: str = "") -> Iterator[None]:
    """What huggingface_hub raises, as Trouble with a sentence."""
    try:
        yield
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, EntryNotFoundError) as error:
        raise _trouble(source, path, error) from error
    except httpx2.TimeoutException as error:
        raise Trouble(
            "network",
            f"{settings.HF_ENDPOINT} was silent for "
            f"{settings.TRAINYARD_TRANSFER_SILENCE_SECONDS} seconds.",
            "Is the network slow, or a proxy in the way?",
            passes=True,
        ) from error
    except httpx2.HTTPError as error:
        raise _unreachable(error) from error
    except (ValueError, KeyError, TypeError) as error:  # what is no JSON, or not the hub's
        raise Trouble(
            "not_a_hub",
            f"{settings.HF_ENDPOINT} does not answer as a hub does: {_short(error)}.",
            "Look at HF_ENDPOINT; a proxy may have answered in its place.",
            passes=True,
        ) from error


def _unreachable(error: Exception) -> Trouble:
    return Trouble(
        "network",
        f"The connection to {settings.HF_ENDPOINT} failed: {_short(error)}.",
        "Is the machine on the network? A mirror is chosen by HF_ENDPOINT.",
        passes=True,
    )


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _trouble(source: Any, path: str, error: Exception) -> Trouble:
    repo, what = source.repo_id, source.repo_type
    page = f"{settings.HF_ENDPOINT}/{'datasets/' if what == 'dataset' else ''}{repo}"
    if isinstance(error, OfflineModeIsEnabled):
        return Trouble(
            "offline",
            "This platform is told to stay offline (HF_HUB_OFFLINE), and the files are not in the "
            "cache of the Hugging Face libraries.",
            "Copy them into HF_HOME, or put them below a storage root and register them by path.",
        )
    if isinstance(error, GatedRepoError):
        return Trouble(
            "gated",
            f"'{repo}' is gated: the hub gives it only to accounts that were granted access.",
            f"Ask for access at {page}, and give the project a hub token of that account.",
        )
    if isinstance(error, DisabledRepoError):
        return Trouble("disabled", f"The hub has disabled '{repo}'.", f"See {page}.")
    if isinstance(error, RevisionNotFoundError):
        return Trouble(
            "no_revision",
            f"'{repo}' has no revision '{source.transfer.hf_revision}'.",
            "A revision is a branch, a tag or a commit; most repositories have main.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return _missing(source, page)
    if isinstance(error, EntryNotFoundError):
        return Trouble(
            "no_file",
            f"The hub lists {path or 'a file'} in '{repo}', but does not have it.",
            "Try again later, or leave the file out by ignore_patterns.",
        )
    if isinstance(error, HFValidationError):
        return Trouble("bad_repo_id", f"'{repo}' is not a name on the hub.", "It is owner/name.")
    assert isinstance(error, HfHubHTTPError)
    return _by_status(repo, error)


def _missing(source: Any, page: str) -> Trouble:
    repo, what = source.repo_id, source.repo_type
    other = "model" if what == "dataset" else "dataset"
    if _exists(source, other):
        return Trouble(
            "wrong_kind",
            f"'{repo}' is a {other} on the hub, not a {what}.",
            f"Import it as a {other}.",
        )
    advice = (
        "Is the name right? For a private one, look at what the project's hub token may see."
        if source.token
        else "Is the name right? For a private one, give the project a hub token."
    )
    return Trouble("missing", f"There is no {what} '{repo}' on the hub, or not for us.", advice)


def _exists(source: Any, repo_type: str) -> bool:
    """Raises Trouble where that cannot be told now."""
    try:
        return bool(source.api.repo_exists(source.repo_id, repo_type=repo_type))
    except HfHubHTTPError as error:
        if error.response.status_code in _PASSING:
            raise _by_status(source.repo_id, error) from error
        return False
    except httpx2.HTTPError as error:
        raise _unreachable(error) from error


def _by_status(repo: str, error: HfHubHTTPError) -> Trouble:
    status = error.response.status_code
    if status == 401:
        return Trouble(
            "bad_token",
            "The hub does not know the project's token.",
            "It may have been revoked: give the project a new one.",
        )
    if status == 403:
        return Trouble(
            "forbidden",
            f"The hub does not let the project's token do this with '{repo}'.",
            "Look at what the token may do, at the hub's settings/tokens.",
        )
    if status == 429:
        return Trouble(
            "rate_limited",
            "The hub has had too many requests from here (429).",
            "It goes on by itself. With a hub token the hub allows more.",
            passes=True,
            wait_seconds=asked_to_wait(error.response.headers.get("Retry-After", "")),
        )
    passes = status in _PASSING
    return Trouble(
        "hub_error",
        f"The hub answered {status} for '{repo}'.",
        "The hub has a problem of its own; try again later." if passes else _short(error),
        passes=passes,
    )
