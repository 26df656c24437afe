"""A home of its own for the platform that a browser looks at. Imported before Django is set up."""

from __future__ import annotations

import os


def prepare(environment: dict[str, str]) -> None:
    """In a fresh process: become one of the platform's, with an empty, migrated database."""
    os.environ.clear()
    os.environ.update(environment)

    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
