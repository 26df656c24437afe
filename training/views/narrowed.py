"""What a link from elsewhere has narrowed a list to, by name, and the way back to all."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.http import HttpRequest

from accounts.lists import Asked
from registry.models import BaseModel, Dataset
from training.models import Experiment, Recipe

NARROWS: dict[str, Any] = {
    "model": BaseModel,
    "dataset": Dataset,
    "recipe": Recipe,
    "experiment": Experiment,
}


class Narrowed(NamedTuple):
    word: str
    name: str
    all_of_them: str


def to(request: HttpRequest, form: Asked) -> list[Narrowed]:
    """Of the valid ``form``, what nothing beside the search shows."""
    found = []
    for word, pk in form.kept.items():
        if word in NARROWS:
            row = NARROWS[word].objects.visible_to(request.user).filter(pk=pk).first()
            without = request.GET.copy()
            without.pop(word)
            without.pop("page", None)
            name = str(row) if row else "not there any more"
            found.append(Narrowed(word, name, f"{request.path}?{without.urlencode()}"))
    return found
