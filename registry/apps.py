from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RegistryConfig(AppConfig):
    name = "registry"
    verbose_name = "Registry"

    def ready(self) -> None:
        post_migrate.connect(_prepare_lists, sender=self, dispatch_uid="prepare_lists")


def _prepare_lists(using: str, **kwargs: Any) -> None:
    from accounts import changes
    from registry import search

    search.prepare(using)
    changes.watch(using, "registry_basemodel", "registry_dataset", "registry_adapter")
