from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

# One that is under way changes every second, but nothing that their list is made by.
LISTED_OF_TRANSFERS = ("project_id", "status", "name", "hf_repo_id", "url", "created_at")


class RegistryConfig(AppConfig):
    name = "registry"
    verbose_name = "Registry"

    def ready(self) -> None:
        post_migrate.connect(_prepare_lists, sender=self, dispatch_uid="prepare_lists")


def _prepare_lists(using: str, **kwargs: Any) -> None:
    from accounts import changes
    from registry import search

    search.prepare(using)
    changes.watch(using, *search.SEARCHED)
    changes.watch(using, "registry_transfer", columns=LISTED_OF_TRANSFERS)
