"""Where somebody may write: the list of projects says what is asked of each one."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Membership, Project, User
from accounts.scoping import may_change, writable_by

pytestmark = pytest.mark.django_db


def test_it_is_what_may_be_changed_the_default_one_first(
    project: Project, bob: User, viewer: User, stranger: User, root: User
) -> None:
    looked_at = Project.objects.create(name="A project to look at")
    Membership.objects.create(project=looked_at, user=bob, role=Membership.Role.VIEWER)
    his = Project.objects.create(name="A project of his")
    Membership.objects.create(project=his, user=bob, role=Membership.Role.OWNER)
    assert list(writable_by(bob)) == [project, his]
    for user in (bob, viewer, stranger, root):
        may = [one for one in Project.objects.all() if may_change(user, one.pk)]
        assert set(writable_by(user)) == set(may)


def test_the_form_of_an_upload_asks_once(
    ana: User, client: Any, django_assert_max_num_queries: Any
) -> None:
    def queries() -> int:
        with django_assert_max_num_queries(100) as asked:
            assert client.get("/datasets/new").status_code == 200
        return len(asked)

    client.force_login(ana)
    few = queries()
    for number in range(5):
        one = Project.objects.create(name=f"Number {number}")
        Membership.objects.create(project=one, user=ana, role=Membership.Role.MEMBER)
    assert queries() == few
