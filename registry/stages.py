"""The way of a model through its stages: staging, production, archived."""

from __future__ import annotations

from django.db import transaction

from registry.models import BaseModel, Stage

# Where a model comes from to each stage.
COMES_FROM = {
    Stage.PRODUCTION: (Stage.STAGING,),
    Stage.ARCHIVED: (Stage.STAGING, Stage.PRODUCTION),
}


class CannotMove(Exception):
    """The model stays in its stage; the message says why."""


def why_not(model: BaseModel, to: Stage) -> str:
    """Why a model cannot move there; empty if it can."""
    if model.stage not in COMES_FROM.get(to, ()):
        return f"It is in {model.stage}, and from there no model moves to {to}."
    if to == Stage.PRODUCTION and model.status != BaseModel.Status.ACTIVE:
        return model.why_broken
    if to == Stage.PRODUCTION and not (model.storage_path or model.hf_repo_id):
        return "It has no files."
    return ""


@transaction.atomic
def move(model: BaseModel, to: Stage) -> BaseModel:
    """Bring a model into another stage. Raises CannotMove if it cannot come there, or no longer."""
    model = BaseModel.objects.select_for_update().get(pk=model.pk)
    if reason := why_not(model, to):
        raise CannotMove(reason)
    model.stage = to
    model.save(update_fields=["stage", "updated_at"])
    return model
