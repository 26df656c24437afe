"""An installation that is between two of the old migrations comes to the same tables as a new one,
which gets them all at once."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.migrations.loader import MigrationLoader

OURS = ("accounts", "activity", "registry", "training")


def tables(*, at_once: bool) -> dict[tuple[str, str], Any]:
    """Fields and options of every model, by app and name."""
    loader = MigrationLoader(None, load=False, replace_migrations=at_once)
    loader.build_graph()
    models = loader.project_state().models
    return {key: comparable(model) for key, model in models.items() if key[0] in OURS}


def comparable(model: Any) -> dict[str, Any]:
    """Neither the order of fields nor that of indexes says anything."""
    options = {
        name: sorted(value, key=lambda one: str(one.name))
        if name in ("indexes", "constraints")
        else value
        for name, value in model.options.items()
        if value
    }
    fields = {name: field.deconstruct()[1:] for name, field in model.fields.items()}
    return {"fields": fields, "options": options, "bases": model.bases}


@pytest.mark.parametrize("app", OURS)
def test_one_after_another_they_make_the_same_as_all_at_once(app):
    new = {key: made for key, made in tables(at_once=True).items() if key[0] == app}
    old = {key: made for key, made in tables(at_once=False).items() if key[0] == app}
    assert new
    assert new == old
