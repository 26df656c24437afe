"""The one row of the outbox. What has happened before is told to nobody outside."""

from django.db import migrations


def make(apps, schema_editor):
    cursor = apps.get_model("activity", "Cursor").objects.get()
    apps.get_model("activity", "Outbox").objects.get_or_create(
        pk=1, defaults={"dispatched": cursor.value}
    )


class Migration(migrations.Migration):
    dependencies = [("activity", "0004_notifications_and_webhooks")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
