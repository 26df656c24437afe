"""The one row whose lock puts the writers of activities in a line."""

from django.db import migrations


def make(apps, schema_editor):
    apps.get_model("activity", "Cursor").objects.get_or_create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("activity", "0001_initial")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
