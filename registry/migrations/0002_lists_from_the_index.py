"""The lists read from one index each, and every entry has a whole number for the word index."""

import registry.models
from django.db import migrations, models


def number_the_rows(apps, schema_editor):
    """In the order of their creation, below every number that is given from now on."""
    for table in ("registry_basemodel", "registry_dataset", "registry_adapter"):
        schema_editor.execute(
            f"UPDATE {table} SET number = numbered.number FROM (SELECT id, "
            f"ROW_NUMBER() OVER (ORDER BY created_at, id) AS number FROM {table}) AS numbered "
            f"WHERE numbered.id = {table}.id"
        )


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]

    operations = [
        *(
            migrations.AddField(model, "number", models.BigIntegerField(null=True, editable=False))
            for model in ("basemodel", "dataset", "adapter")
        ),
        migrations.RunPython(number_the_rows, migrations.RunPython.noop),
        *(
            migrations.AlterField(
                model,
                "number",
                models.BigIntegerField(
                    default=registry.models.next_number, editable=False, unique=True
                ),
            )
            for model in ("basemodel", "dataset", "adapter")
        ),
        *(
            migrations.RemoveIndex(model, index)
            for model, index in [
                ("basemodel", "basemodel_newest"),
                ("basemodel", "basemodel_of_family"),
                ("basemodel", "basemodel_of_stage"),
                ("basemodel", "basemodel_of_project"),
                ("dataset", "dataset_newest"),
                ("dataset", "dataset_of_project"),
                ("dataset", "dataset_of_modality"),
            ]
        ),
        # GET /api/base-models and /api/datasets, with any filters: page and total.
        migrations.AddIndex(
            "basemodel",
            models.Index(
                fields=[
                    *("-created_at", "-id", "project", "family"),
                    *("stage", "modality", "trainable", "servable"),
                ],
                name="basemodel_list",
            ),
        ),
        migrations.AddIndex(
            "dataset",
            models.Index(fields=["-created_at", "-id", "project", "modality"], name="dataset_list"),
        ),
    ]
