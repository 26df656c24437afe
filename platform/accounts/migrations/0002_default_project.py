"""There is always a project to put things into."""

from django.db import migrations


def make(apps, schema_editor):
    apps.get_model("accounts", "Project").objects.get_or_create(
        is_default=True, defaults={"name": "Default", "description": "Where new things go."}
    )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
