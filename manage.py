#!/usr/bin/env python
"""Django's command line. `platform/` is a plain folder beside this file and goes on the path."""

import os
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parent / "platform"))


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trainyard.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:  # a bad setting is named; where it is read is no help
        sys.exit(f"Cannot start. {error}")


if __name__ == "__main__":
    main()
