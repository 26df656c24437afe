from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

# A running job changes every second, but nothing that lists of jobs are made by.
LISTED = (
    *("project_id", "experiment_id", "name", "is_probe", "status"),
    *("created_at", "started_at", "finished_at"),
)


class TrainingConfig(AppConfig):
    name = "training"
    verbose_name = "Training"

    def ready(self) -> None:
        post_migrate.connect(_watch, sender=self, dispatch_uid="watch_training")


def _watch(using: str, **kwargs: Any) -> None:
    from accounts import changes

    changes.watch(using, "training_experiment", "training_recipe")
    changes.watch(using, "training_checkpoint", "training_artifact")
    changes.watch(using, "training_job", columns=LISTED)
    changes.watch(using, "training_measurement", "training_tokencount")
