"""All tables at once, as 0001 to 0006 make them one after another. Those stay for installations that
are somewhere between them."""

import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


def make(apps, schema_editor):
    """The one row whose lock puts the writers of activities in a line, and that of the outbox."""
    apps.get_model("activity", "Cursor").objects.get_or_create(pk=1)
    apps.get_model("activity", "Outbox").objects.get_or_create(pk=1, defaults={"dispatched": 0})


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ("activity", "0001_initial"),
        ("activity", "0002_cursor"),
        ("activity", "0003_reading"),
        ("activity", "0004_notifications_and_webhooks"),
        ("activity", "0005_outbox"),
        ("activity", "0006_failed_deliveries"),
    ]

    dependencies = [
        ('accounts', '0001_squashed_0006_storage_quota'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Cursor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('value', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='Outbox',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('dispatched', models.BigIntegerField(default=0)),
                ('busy_until', models.DateTimeField(null=True)),
            ],
            options={
                'verbose_name_plural': 'outbox',
            },
        ),
        migrations.CreateModel(
            name='Activity',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('cursor', models.BigIntegerField(editable=False, unique=True)),
                ('event_type', models.CharField(choices=[('job_created', 'Job Created'), ('job_started', 'Job Started'), ('job_completed', 'Job Completed'), ('job_failed', 'Job Failed'), ('job_cancelled', 'Job Cancelled'), ('job_paused', 'Job Paused'), ('transfer_started', 'Transfer Started'), ('transfer_completed', 'Transfer Completed'), ('transfer_failed', 'Transfer Failed'), ('dataset_imported', 'Dataset Imported'), ('model_created', 'Model Created')], max_length=40)),
                ('entity_type', models.CharField(choices=[('job', 'Job'), ('transfer', 'Transfer'), ('experiment', 'Experiment'), ('dataset', 'Dataset'), ('model', 'Model')], max_length=20)),
                ('entity_id', models.UUIDField(null=True)),
                ('title', models.CharField(max_length=300)),
                ('message', models.TextField(blank=True)),
                ('status', models.CharField(choices=[('info', 'Info'), ('success', 'Success'), ('warning', 'Warning'), ('error', 'Error')], default='info', max_length=10)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('project', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.project')),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'activities',
                'ordering': ['-cursor'],
                'indexes': [models.Index(fields=['project', '-cursor'], name='activity_of_project'), models.Index(fields=['event_type', '-cursor'], name='activity_of_event_type'), models.Index(fields=['entity_type', '-cursor'], name='activity_of_entity_type'), models.Index(fields=['user', '-cursor'], name='activity_of_user'), models.Index(fields=['entity_id'], name='activity_of_entity'), models.Index(fields=['created_at'], name='activity_of_day')],
                'constraints': [models.CheckConstraint(condition=models.Q(('event_type__in', ['job_created', 'job_started', 'job_completed', 'job_failed', 'job_cancelled', 'job_paused', 'transfer_started', 'transfer_completed', 'transfer_failed', 'dataset_imported', 'model_created'])), name='activity_event_type_is_known'), models.CheckConstraint(condition=models.Q(('entity_type__in', ['job', 'transfer', 'experiment', 'dataset', 'model'])), name='activity_entity_type_is_known'), models.CheckConstraint(condition=models.Q(('status__in', ['info', 'success', 'warning', 'error'])), name='activity_status_is_known')],
            },
        ),
        migrations.CreateModel(
            name='Choice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event_type', models.CharField(choices=[('job_created', 'Job Created'), ('job_started', 'Job Started'), ('job_completed', 'Job Completed'), ('job_failed', 'Job Failed'), ('job_cancelled', 'Job Cancelled'), ('job_paused', 'Job Paused'), ('transfer_started', 'Transfer Started'), ('transfer_completed', 'Transfer Completed'), ('transfer_failed', 'Transfer Failed'), ('dataset_imported', 'Dataset Imported'), ('model_created', 'Model Created')], max_length=40)),
                ('channel', models.CharField(choices=[('browser', 'Browser'), ('push', 'Push'), ('email', 'E-mail')], max_length=10)),
                ('wanted', models.BooleanField()),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='notification_choices', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'event_type', 'channel'), name='one_choice_per_event_and_channel'), models.CheckConstraint(condition=models.Q(('channel__in', ['browser', 'push', 'email'])), name='choice_channel_is_known')],
            },
        ),
        migrations.CreateModel(
            name='PushSubscription',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('endpoint', models.URLField(max_length=1000, unique=True)),
                ('p256dh', models.CharField(max_length=200)),
                ('auth', models.CharField(max_length=100)),
                ('browser', models.CharField(blank=True, help_text='Which one, for people.', max_length=100)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('used_at', models.DateTimeField(help_text='When a message was last taken.', null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='push_subscriptions', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['created_at'],
            },
        ),
        migrations.CreateModel(
            name='Notice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('due_at', models.DateTimeField()),
                ('activity', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='activity.activity')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('subscription', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='activity.pushsubscription')),
            ],
            options={
                'indexes': [models.Index(fields=['due_at'], name='notice_is_due')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('subscription__isnull', False)), fields=('activity', 'subscription'), name='one_notice_per_browser'), models.UniqueConstraint(condition=models.Q(('subscription', None)), fields=('activity', 'user'), name='one_notice_per_mailbox')],
            },
        ),
        migrations.CreateModel(
            name='ReadMark',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('read_at', models.DateTimeField(auto_now_add=True)),
                ('activity', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='read_marks', to='activity.activity')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='read_marks', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'activity'), name='one_read_mark_per_user')],
            },
        ),
        migrations.CreateModel(
            name='ReadUpTo',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('cursor', models.BigIntegerField(default=0)),
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='read_up_to', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100)),
                ('url', models.CharField(max_length=1000)),
                ('kind', models.CharField(choices=[('generic', 'Generic'), ('slack', 'Slack'), ('discord', 'Discord')], default='generic', max_length=10)),
                ('event_types', models.JSONField(default=list)),
                ('enabled', models.BooleanField(default=True)),
                ('encrypted_secret', models.TextField(editable=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='webhooks', to='accounts.project')),
            ],
            options={
                'ordering': ['name', 'id'],
                'constraints': [models.UniqueConstraint(fields=('project', 'name'), name='one_webhook_per_name'), models.CheckConstraint(condition=models.Q(('kind__in', ['generic', 'slack', 'discord'])), name='webhook_kind_is_known')],
            },
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('due_at', models.DateTimeField()),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('event_type', models.CharField(max_length=40)),
                ('request_body', models.TextField()),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('delivered', 'Delivered'), ('failed', 'Failed')], default='pending', max_length=10)),
                ('response_status', models.PositiveSmallIntegerField(null=True)),
                ('response_body', models.TextField(blank=True)),
                ('error', models.TextField(blank=True)),
                ('duration_ms', models.PositiveIntegerField(null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('attempted_at', models.DateTimeField(null=True)),
                ('activity', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='deliveries', to='activity.activity')),
                ('webhook', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='activity.webhook')),
            ],
            options={
                'verbose_name_plural': 'webhook deliveries',
                'ordering': ['-created_at', 'id'],
                'indexes': [models.Index(condition=models.Q(('state', 'pending')), fields=['due_at'], name='delivery_is_pending'), models.Index(fields=['webhook', '-created_at', 'id'], name='delivery_of_webhook'), models.Index(fields=['webhook', 'state'], name='delivery_in_state')],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'delivered', 'failed'])), name='delivery_state_is_known')],
            },
        ),
        migrations.RunPython(
            make,
            reverse_code=migrations.RunPython.noop,
        ),
    ]
