"""What people do with recipes: create, edit, clone, delete. Those that ship stay as they are."""

from __future__ import annotations

from itertools import count
from typing import Any

from django.db import transaction

from accounts.models import Project
from training.models import Recipe, RecipeVersion

# A change of one of these makes another version; the others are only words about it.
WHAT_IT_DOES = ("method", "modality", "supports_quantized", "defaults")


class CannotChange(Exception):
    """The recipe stays as it is; the message says why."""


def name_is_taken(project: Project | None, name: str, *, but: Recipe | None = None) -> bool:
    rows = Recipe.objects.filter(project=project, name=name)
    return (rows.exclude(pk=but.pk) if but else rows).exists()


@transaction.atomic
def edit(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """Change a recipe. What it did before is kept as its earlier version. Raises CannotChange."""
    recipe = Recipe.objects.select_for_update().get(pk=recipe.pk)
    refuse_built_in(recipe)
    before = {name: getattr(recipe, name) for name in WHAT_IT_DOES}
    if any(changes.get(name, before[name]) != before[name] for name in WHAT_IT_DOES):
        RecipeVersion.objects.create(recipe=recipe, version=recipe.version, **before)
        changes = {**changes, "version": recipe.version + 1}
    for name, value in changes.items():
        setattr(recipe, name, value)
    recipe.save(update_fields=[*changes, "updated_at"])
    return recipe


@transaction.atomic
def clone(
    recipe: Recipe, *, project: Project | None, name: str = "", display_name: str = ""
) -> Recipe:
    """A copy that can be changed. Without a name it is called after the first one."""
    return Recipe.objects.create(
        project=project,
        name=name or _free_name(project, recipe.name),
        display_name=display_name or f"{recipe.display_name[:110]} (copy)",
        description=recipe.description,
        **{field: getattr(recipe, field) for field in WHAT_IT_DOES},
    )


def delete(recipe: Recipe) -> None:
    """Raises CannotChange for one that ships, ProtectedError for one that experiments name."""
    refuse_built_in(recipe)
    with transaction.atomic():
        recipe.delete()


def refuse_built_in(recipe: Recipe) -> None:
    if recipe.built_in:
        raise CannotChange(
            f"'{recipe}' comes with the platform and stays as it is. Clone it and change the clone."
        )


def _free_name(project: Project | None, name: str) -> str:
    wanted = (f"{name[:50]}-copy{f'-{n}' if n > 1 else ''}" for n in count(1))
    return next(one for one in wanted if not name_is_taken(project, one))
