"""``manage.py demo``: start the platform, fine-tune on it, and end with what came of it."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from trainyard.running.preparation import CannotStart, refuse_a_taken_port
from trainyard.running.presentation import present


class Command(BaseCommand):
    help = "Fine-tune a small model through the API. Exit code 0 only if it has learned."

    def handle(self, *args: Any, **options: Any) -> None:
        url = f"http://127.0.0.1:{settings.PORT}"
        try:
            refuse_a_taken_port(settings.PORT, "demo")
            code = present(
                [sys.executable, "-m", "trainyard.demo", url], url, stay=somebody_is_watching()
            )
        except CannotStart as reason:
            raise CommandError(str(reason)) from reason
        sys.exit(code)


def somebody_is_watching() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and not os.environ.get("CI")
