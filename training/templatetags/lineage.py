"""What the page of a model, which the registry shows, has of training."""

from __future__ import annotations

from typing import Any

from django import template

from training import lineage
from training.models import Job

register = template.Library()
JOBS_SHOWN = 10


@register.inclusion_tag("registry/_lineage.html", takes_context=True)
def lineage_of(context: dict[str, Any], model: Any) -> dict[str, Any]:
    return {"picture": lineage.of_model(model, context["request"].user), "model": model}


@register.inclusion_tag("registry/_jobs_of.html", takes_context=True)
def jobs_of(context: dict[str, Any], model: Any) -> dict[str, Any]:
    """The newest jobs that start from it."""
    visible = Job.objects.visible_to(context["request"].user).with_names()
    return {"jobs": visible.filter(experiment__base_model=model)[:JOBS_SHOWN], "model": model}
