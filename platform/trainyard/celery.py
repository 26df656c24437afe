"""The Celery application. Tasks are found in each app's ``tasks.py``."""

import os
import warnings

from celery import Celery
from celery.platforms import SecurityWarning

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trainyard.settings")

# Said to every worker that runs as root. It is about pickle, and we take JSON only.
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("trainyard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
