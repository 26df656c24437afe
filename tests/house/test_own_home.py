"""The tests keep out of the home that people use."""

from __future__ import annotations

import tempfile
from pathlib import Path

from django.conf import settings
from django.db import connection


def test_the_settings_lead_to_a_folder_of_the_tests_own() -> None:
    assert Path(tempfile.gettempdir()).resolve() in settings.TRAINYARD_HOME.parents
    if connection.vendor == "sqlite":
        assert str(settings.TRAINYARD_HOME) in str(connection.settings_dict["NAME"])
