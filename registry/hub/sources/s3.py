"""A bucket, or a folder of one: Amazon's, or of any server that speaks S3, through s3fs.

s3fs signs, lists and connects; bytes are read by `registry.hub.fetch` like all others. Nothing of
the operator's own (AWS_* in the environment, ~/.aws, the machine's role) is ever shown to a bucket:
only the project's key for that endpoint, or nobody's.

As with web addresses, a connection is made to an address that was looked at
(`activity.outgoing.http`), so the endpoint is no way into our network.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from django.conf import settings
from fsspec.asyn import sync
from s3fs import S3FileSystem

from activity.outgoing.http import NotAllowed, check_url, refuse_private
from registry.hub.models import Transfer
from registry.hub.selection import MOST_LEFT_OUT, Plan, RemoteFile, choose
from registry.hub.sources import Opened, Source, begins_at
from registry.hub.tokens import Key
from registry.hub.trouble import Trouble

MOST_FILES = 100_000
LONGEST_TAG = 70
PASSING = (408, 425, 429, 500, 502, 503, 504)
# Where nobody says another one. Amazon tells us the right one, and we are asked to look there.
DEFAULT_REGION = "us-east-1"
_BLOCK = 2**18
_PLAIN_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


class S3Source(Source):
    def __init__(self, transfer: Transfer, key: Key | None) -> None:
        self.transfer = transfer
        self.bucket, _, self.prefix = transfer.url.removeprefix("s3://").partition("/")
        self.key = key
        self._files: S3FileSystem | None = None

    def plan(self) -> Plan:
        """The one file of that name, or all that lies below it."""
        with self._as_trouble():
            files = self._listed()
        chosen, left_out = choose(
            self.transfer.makes, files, self.transfer.allow_patterns, self.transfer.ignore_patterns
        )
        notes = []
        if len(left_out) > MOST_LEFT_OUT:
            notes.append(f"{len(left_out)} files are left out; {MOST_LEFT_OUT} of them are named.")
        return Plan(_version_of(files), "", chosen, left_out[:MOST_LEFT_OUT], notes)

    def _listed(self) -> list[RemoteFile]:
        found: list[RemoteFile] = []
        folder = self.prefix.rstrip("/") + "/" if self.prefix.strip("/") else ""
        asked: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Bucket=self.bucket, Prefix=self.prefix, **asked)
            for entry in page.get("Contents", []):
                name = entry["Key"]
                if name == self.prefix and not name.endswith("/"):
                    return [_file(name.rpartition("/")[2], entry)]
                if name.startswith(folder) and not name.endswith("/"):
                    found.append(_file(name.removeprefix(folder), entry))
            if len(found) > MOST_FILES:
                raise Trouble(
                    "too_many_files",
                    f"{self.transfer} has more than {MOST_FILES:,} files.",
                    "Name a folder of it.",
                )
            if not page.get("IsTruncated"):
                break
            asked = {"ContinuationToken": page["NextContinuationToken"]}
        if not found:
            raise Trouble(
                "missing",
                f"There is nothing at {self.transfer}.",
                "Look at the bucket: names of folders and files are told apart by case.",
            )
        return found

    def hash_of(self, path: str, expected: str) -> str:
        """What the server has computed of the whole file, if anything. Its ETag is the MD5 only of
        what was sent in one piece and is not encrypted with a key of its own."""
        tag = expected.removeprefix("etag:")
        with self._as_trouble(path):
            head = self._call(
                "head_object",
                Bucket=self.bucket,
                Key=self._name(path),
                ChecksumMode="ENABLED",
                **_if_match(tag),
            )
        if head.get("ChecksumSHA256") and head.get("ChecksumType") != "COMPOSITE":
            return f"sha256:{base64.b64decode(head['ChecksumSHA256']).hex()}"
        secret = head.get("SSECustomerAlgorithm") or "kms" in head.get("ServerSideEncryption", "")
        plain = _PLAIN_MD5.fullmatch(tag)
        return f"md5:{plain[1]}" if plain and not secret else ""

    @contextmanager
    def open(self, plan: Plan, path: str, size_bytes: int, offset: int) -> Iterator[Opened]:
        tag = plan.expected[path]
        wanted = {"Range": f"bytes={offset}-{size_bytes - 1}"} if offset else {}
        with self._as_trouble(path):
            answer = self._call(
                "get_object",
                Bucket=self.bucket,
                Key=self._name(path),
                **_if_match(tag.removeprefix("etag:")),
                **wanted,
            )
            body, loop = answer["Body"], self.files.loop
            try:
                status = answer["ResponseMetadata"]["HTTPStatusCode"]
                begin = begins_at(status, answer.get("ContentRange", ""), offset, "The bucket")
                yield begin, iter(lambda: sync(loop, body.read, _BLOCK), b"")
            finally:
                loop.call_soon_threadsafe(body.close)

    def _name(self, path: str) -> str:
        """Of an object in the bucket."""
        if self.prefix.rpartition("/")[2] == path:
            return self.prefix
        return f"{self.prefix.rstrip('/')}/{path}".lstrip("/")

    # -- The client ------------------------------------------------------------------------------

    @property
    def files(self) -> S3FileSystem:
        if self._files is None:
            self._files = self._client()
        return self._files

    def _call(self, method: str, **arguments: Any) -> Any:
        return self.files.call_s3(method, **arguments)

    def _client(self) -> S3FileSystem:
        endpoint, silence = self.transfer.endpoint_url, settings.TRAINYARD_TRANSFER_SILENCE_SECONDS
        if endpoint:
            check_url(endpoint)
        secrets = {"key": self.key.id, "secret": self.key.secret} if self.key else {"anon": True}
        client = S3FileSystem(
            **secrets,
            endpoint_url=endpoint or None,
            session=AioSession(session_vars=_NOT_THE_OPERATORS),
            client_kwargs={"region_name": self.transfer.region or DEFAULT_REGION},
            config_kwargs={
                "connect_timeout": silence,
                "read_timeout": silence,
                "retries": {"total_max_attempts": 1},  # `fetch` and `outcome` try again
                "response_checksum_validation": "when_required",
                "ignore_configured_endpoint_urls": True,
                "proxies": {},
                "connector_args": {"socket_factory": partial(_guarded, self.host)},
                "s3": {"addressing_style": "path" if endpoint else "auto"},
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        client.retries = 1
        return client

    # -- Words for what goes wrong ---------------------------------------------------------------

    @contextmanager
    def _as_trouble(self, path: str = "") -> Iterator[None]:
        """What s3fs and the libraries below it raise, as Trouble with a sentence."""
        try:
            yield
        except NotAllowed as error:
            raise _not_allowed(error) from error
        except HTTPClientError as error:
            refused = error.kwargs.get("error")
            if isinstance(refused, NotAllowed):
                raise _not_allowed(refused) from error
            raise self._unreachable(error) from error
        except (BotoCoreError, aiohttp.ClientError) as error:
            raise self._unreachable(error) from error
        except OSError as error:
            if isinstance(error.__cause__, ClientError):
                raise self._refused(error.__cause__, path) from error
            raise self._unreachable(error) from error

    @property
    def host(self) -> str:
        return self.transfer.endpoint_url.partition("://")[2] or "Amazon S3"

    def _unreachable(self, error: Exception) -> Trouble:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        return Trouble(
            "network",
            f"The connection to {self.host} failed: {said}.",
            "Is endpoint_url right? It is the address of the server, without the bucket.",
            passes=True,
        )

    def _refused(self, error: ClientError, path: str) -> Trouble:
        answer: Any = error.response
        code = answer.get("Error", {}).get("Code", "")
        facts = answer.get("ResponseMetadata", {})
        status, headers = facts.get("HTTPStatusCode", 0), facts.get("HTTPHeaders", {})
        if code == "NoSuchBucket":
            advice = "Is its name right, and does endpoint_url name the server that it is on?"
            return Trouble("missing", f"{self.host} has no bucket '{self.bucket}'.", advice)
        if code in ("NoSuchKey", "PreconditionFailed") or (status in (404, 412) and path):
            return Trouble(
                "changed",
                f"{path} in '{self.bucket}' has changed or gone since the transfer began.",
                "Cancel this transfer and start a new one.",
                keep=False,
            )
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"):
            advice = "It may have been revoked or mistyped: give the project its bucket key again."
            message = f"{self.host} does not know the project's key ({code})."
            return Trouble("bad_token", message, advice)
        if code in _WRONG_REGION or status in (301, 307):
            return self._wrong_region(headers.get("x-amz-bucket-region", ""))
        if status in (401, 403):
            return self._denied(path)
        if code == "SlowDown" or status == 429:
            message = f"{self.host} has had too many requests from here ({code or status})."
            return Trouble("rate_limited", message, "It goes on by itself.", passes=True)
        return Trouble(
            "server_error",
            f"{self.host} answered {status or 'something else than S3'}: {code or error}.",
            "Try again later, or look at endpoint_url.",
            passes=status in PASSING,
        )

    def _denied(self, path: str) -> Trouble:
        what = f"{path} in '{self.bucket}'" if path else f"the bucket '{self.bucket}'"
        if self.key is None:
            return Trouble(
                "forbidden",
                f"{self.host} does not let everybody read {what}.",
                "Give the project a key for this endpoint, under Tokens and keys.",
            )
        return Trouble(
            "forbidden",
            f"{self.host} does not let the project's key read {what}.",
            "The key needs s3:ListBucket on the bucket, and s3:GetObject on what is in it.",
        )

    def _wrong_region(self, right: str) -> Trouble:
        asked = self.transfer.region or DEFAULT_REGION
        is_in = f"it is in {right}" if right else "it is in another one"
        return Trouble(
            "wrong_region",
            f"The bucket '{self.bucket}' is not in the region {asked}: {is_in}.",
            f"Say region {right}." if right else "Say the region that the bucket was made in.",
        )


# Variables of botocore's session that would come from the environment or from files.
_NOT_THE_OPERATORS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
_WRONG_REGION = (
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
)


def _guarded(host: str, address: Any) -> socket.socket:
    """A socket for an address that a name has resolved to. Raises NotAllowed."""
    family, type_, protocol, _, where = address
    refuse_private(host, ip_address(str(where[0]).partition("%")[0]))
    made = socket.socket(family, type_, protocol)
    made.setblocking(False)
    return made


def _not_allowed(error: NotAllowed) -> Trouble:
    return Trouble("not_allowed", f"{error}", "Take another endpoint_url.")


def _file(path: str, entry: dict[str, Any]) -> RemoteFile:
    tag = entry.get("ETag", "")
    return RemoteFile(path, entry["Size"], f"etag:{tag}" if len(tag) < LONGEST_TAG else "")


def _if_match(tag: str) -> dict[str, str]:
    return {"IfMatch": tag} if tag else {}


def _version_of(files: list[RemoteFile]) -> str:
    """As short as a commit: it changes when any of the files does."""
    listed = "\n".join(f"{file.path} {file.size_bytes} {file.expected}" for file in files)
    return hashlib.sha1(listed.encode(), usedforsecurity=False).hexdigest()
