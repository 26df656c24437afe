from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_save


class ActivityConfig(AppConfig):
    name = "activity"

    def ready(self) -> None:
        from auditlog.models import LogEntry

        from activity import audit

        pre_save.connect(audit.name_the_actor, sender=LogEntry, dispatch_uid="name_the_actor")
        post_migrate.connect(_watch, sender=self, dispatch_uid="watch_activity")


def _watch(using: str, **kwargs: Any) -> None:
    from accounts import changes

    changes.watch(using, "activity_activity", "activity_readmark", "activity_readupto")
