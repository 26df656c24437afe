"""Hub tokens and bucket keys: what a project shows the other side of a transfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts import secrets
from accounts.models import Project
from registry.hub.models import BucketKey, HubToken, Transfer
from registry.hub.trouble import Trouble


@transaction.atomic
def keep(project: Project, secret: str, *, user: Any) -> HubToken:
    """Give a project a token, in the place of the one that it had."""
    token, _ = HubToken.objects.update_or_create(
        project=project, defaults={"encrypted": secrets.encrypt(secret), "created_by": user}
    )
    return token


def of(transfer: Transfer) -> str | None:
    """The project's token. In local mode a person's own (HF_TOKEN, ``hf auth login``) where the
    project has none: on a server that would lend the operator's rights to everybody.

    Raises Trouble for one that cannot be read any more.
    """
    kept = HubToken.objects.filter(project=transfer.project_id).first()
    if kept is not None:
        try:
            secret: str = kept.secret
            return secret
        except secrets.CannotDecrypt as error:
            raise Trouble(
                "bad_token", str(error), "Give the project its hub token again."
            ) from error
    if settings.TRAINYARD_MODE == "local":
        from huggingface_hub import get_token

        return get_token()
    return None


@dataclass(frozen=True)
class Key:
    """Of a server of buckets."""

    id: str
    secret: str


@transaction.atomic
def keep_key(
    project: Project, endpoint_url: str, access_key_id: str, secret: str, *, user: Any
) -> BucketKey:
    """Give a project a key for a server of buckets, in the place of the one that it had."""
    key, _ = BucketKey.objects.update_or_create(
        project=project,
        endpoint_url=endpoint_url,
        defaults={
            "access_key_id": access_key_id,
            "encrypted": secrets.encrypt(secret),
            "created_by": user,
        },
    )
    return key


def key_of(transfer: Transfer) -> Key | None:
    """The project's key for the server that the bucket is on. Raises Trouble for one that cannot
    be read any more."""
    kept = BucketKey.objects.filter(
        project=transfer.project_id, endpoint_url=transfer.endpoint_url
    ).first()
    if kept is None:
        return None
    try:
        return Key(kept.access_key_id, kept.secret)
    except secrets.CannotDecrypt as error:
        advice = "Give the project its bucket key again."
        raise Trouble("bad_token", str(error), advice) from error


@transaction.atomic
def remove(token: HubToken | BucketKey) -> None:
    token.delete()
