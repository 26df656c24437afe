"""``manage.py run``: the whole platform on this machine, until Ctrl-C."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from trainyard.running import preparation
from trainyard.running.preparation import CannotStart
from trainyard.running.programs import all_programs
from trainyard.running.supervision import supervise


class Command(BaseCommand):
    help = "Start database, broker, web server and worker, and keep them running until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--quiet", action="store_true", help="Write the programs' output to the log files only."
        )

    def handle(self, *args: Any, quiet: bool, **options: Any) -> None:
        home: Path = settings.TRAINYARD_HOME
        try:
            lock = preparation.hold(home)
            preparation.refuse_a_taken_port(settings.PORT)
            if not os.environ.get("REDIS_URL"):
                preparation.refuse_a_long_socket_path(settings.VALKEY_SOCKET)
            preparation.prepare_database()
        except CannotStart as reason:
            raise CommandError(str(reason)) from reason
        # For the children: whatever they write, they write it into this home.
        os.environ["TRAINYARD_HOME"] = str(home)
        os.environ["TMPDIR"] = str(preparation.empty_folder(home / "tmp"))
        self.stdout.write(f"Starting Trainyard in {home}; logs are in {home / 'logs'}")
        self.stdout.flush()
        with lock:
            supervise(all_programs(), home=home, port=settings.PORT, quiet=quiet)
        self.stdout.write("Stopped.")
