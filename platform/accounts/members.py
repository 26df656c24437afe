"""Who belongs to a project. It never is without an owner."""

from __future__ import annotations

from django.db import transaction

from accounts.models import Membership, Project


class LastOwner(Exception):
    """Nobody would be left to invite others."""

    def __init__(self, member: Membership) -> None:
        super().__init__(
            f"{member.user} is the last owner of '{member.project}'. Make another one first."
        )


@transaction.atomic
def change_role(member: Membership, role: str) -> None:
    """Raises LastOwner."""
    if role != Membership.Role.OWNER:
        _refuse_last_owner(member)
    member.role = role
    member.save(update_fields=["role"])


@transaction.atomic
def remove(member: Membership) -> None:
    """Raises LastOwner."""
    _refuse_last_owner(member)
    member.delete()


def _refuse_last_owner(member: Membership) -> None:
    """One at a time in each project: two owners who go at once must not both find the other."""
    Project.objects.select_for_update().get(pk=member.project_id)
    owners = Membership.objects.filter(project=member.project_id, role=Membership.Role.OWNER)
    if [owner.pk for owner in owners] == [member.pk]:
        raise LastOwner(member)
