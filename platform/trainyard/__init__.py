"""The project package and composition root: settings, URLs, sockets, Celery."""

from trainyard.celery import app as celery_app

__all__ = ["celery_app"]
