from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        post_migrate.connect(_watch, sender=self, dispatch_uid="watch_accounts")


def _watch(using: str, **kwargs: Any) -> None:
    from accounts import changes

    changes.watch(using, *changes.RIGHTS)
