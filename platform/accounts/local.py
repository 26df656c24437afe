"""Local mode: the one person at this machine owns everything, without a login."""

from __future__ import annotations

from accounts.models import LOCAL_OWNER, User


def local_owner() -> User:
    """The local user, made at first need."""
    owner, _ = User.objects.get_or_create(
        username=LOCAL_OWNER, defaults={"is_staff": True, "is_superuser": True}
    )
    return owner
