"""What somebody asks of long tables, answered again only when one of them has changed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from django.db.models import Model
from django.utils.functional import cached_property

from accounts import changes
from api import remembered


class Question:
    """``asked`` is what the answers follow from, besides who asks; ``of`` the models whose tables
    they come from, all of them watched (`accounts.changes`)."""

    def __init__(self, user: Any, *asked: Hashable, of: Iterable[type[Model]]) -> None:
        self.asked = (user.pk, user.is_superuser, *asked)
        self.tables = [model._meta.db_table for model in of]

    @cached_property
    def state(self) -> Hashable:
        return changes.state(*self.tables, *changes.RIGHTS)

    def answer(self, name: Hashable, work: Callable[[], Any]) -> Any:
        """What ``work`` comes to, which nobody may change."""
        asked = (*self.tables, *self.asked, name)
        return remembered.value(work, asked=asked, state_now=lambda: self.state)
