"""``python -m benchmarks.latency.serve``: the web server alone, as `manage.py run` starts it."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trainyard.settings")
django.setup()

from trainyard.running.programs import web

if __name__ == "__main__":
    program = web()
    os.execvpe(program.command[0], program.command, {**os.environ, **program.environment})
