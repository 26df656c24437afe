"""manage.py collect_garbage: remove what nothing in the database refers to any more."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from registry import garbage


class Command(BaseCommand):
    help = "Removes files in TRAINYARD_HOME that belong to no model, dataset or job any more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say what would go.")
        parser.add_argument(
            "--grace-hours",
            type=float,
            default=settings.TRAINYARD_GARBAGE_GRACE_HOURS,
            help="What has changed within so many hours stays (TRAINYARD_GARBAGE_GRACE_HOURS).",
        )

    def handle(self, *args: Any, dry_run: bool, grace_hours: float, **options: Any) -> None:
        done = garbage.collect(time.time() - grace_hours * 3600, dry_run=dry_run)
        for leftover in done.leftovers:
            print(f"{leftover.path}  {leftover.what}, {leftover.size_bytes:,} bytes")
        verb = "would be" if dry_run else "were"
        print(
            f"{len(done.leftovers)} leftovers and {done.copies} unused files of the store {verb} "
            f"removed: {done.size_bytes:,} bytes."
        )
