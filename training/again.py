"""Another go at what a job did: the same again, from one of its checkpoints, or with what was wrong
put right. Each makes a new job; the old one stays as it was.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from registry.models import BaseModel
from training import checking, checkpoints, judging, measurements, preflight, services
from training.checkpoints import CannotBeDone
from training.models import Checkpoint, Experiment, Job, Recipe, Status
from training.outcome import OUT_OF_MEMORY
from training.trainer import spec

# What a job that measures a checkpoint says of where it comes from.
EVALUATION = "evaluation"
SECTIONS = ("columns", "train", "lora", "resources", "eval")
# A run that has exploded is tried again with so much of its learning rate.
GENTLER = 0.3


def plan_of(experiment: Experiment) -> dict[str, Any]:
    """What was asked for then, as `judging.complete` takes it."""
    rows = ("base_model", "dataset", "recipe")
    return {name: getattr(experiment, name) for name in (*rows, *SECTIONS, "export")}


def changed(plan: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The plan with some settings of some sections replaced. One of max_steps and num_train_epochs
    takes the place of the other."""
    plan = {**plan, **{name: {**plan[name], **patch.get(name, {})} for name in SECTIONS}}
    given = patch.get("train", {})
    for one, other in (("max_steps", "num_train_epochs"), ("num_train_epochs", "max_steps")):
        if one in given and other not in given:
            plan["train"].pop(other, None)
    return plan


def clone(
    job: Job,
    *,
    actor: Any,
    project_id: UUID | None,
    name: str = "",
    start_it: bool = True,
    patch: dict[str, Any] | None = None,
    resume_from: Checkpoint | None = None,
    origin: str = "clone",
) -> Job:
    """The same with ``patch``, in the words of the API. Raises PreflightFailed."""
    plan = changed(plan_of(job.experiment), patch or {})
    plan["export"] = (patch or {}).get("export") or plan["export"]
    return services.create_job(
        name=name or f"{job.name[:190]} (copy)",
        plan={**plan, "resume_from": resume_from},
        actor=actor,
        project_id=project_id,
        metadata={"origin": origin, "job_id": str(job.pk)},
        start_it=start_it,
    )


def evaluate(checkpoint: Checkpoint, *, actor: Any) -> Job:
    """A job that takes no further step: it measures the checkpoint as the end of a run is measured,
    and registers it. Raises CannotBeDone and PreflightFailed."""
    if not checkpoints.is_there(checkpoint):
        raise CannotBeDone("The files of this checkpoint are gone.")
    job, step = checkpoint.job, checkpoint.step
    warmup = job.experiment.train.get("warmup_steps", spec.TrainSpec.warmup_steps)
    train = {
        "max_steps": step,
        "warmup_steps": min(warmup, max(step - 1, 0)),
        "load_best_model_at_end": False,
        "report_to": [],
    }
    return clone(
        job,
        actor=actor,
        project_id=job.project_id,
        name=f"{job.name[:170]}, step {step}",
        patch={"train": train, "export": ["safetensors"]},
        resume_from=checkpoint,
        origin=EVALUATION,
    )


# --- Failed jobs ---------------------------------------------------------------------------------


def fixes(job: Job) -> list[dict[str, Any]]:
    """``{"title", "patch", "keeps_result"}`` of changes that would keep a failed job from failing
    again for the same reason; empty where nobody knows one."""
    kind = (job.failure or {}).get("kind")
    if job.status != Status.FAILED or not model_is_there(job.experiment.base_model):
        return []
    if kind in OUT_OF_MEMORY:
        facts = checking.facts(judging.complete(plan_of(job.experiment)))
        found = preflight.smaller(facts, measurements.corrections(facts))
        return [fix.as_dict() for fix in found]
    if kind == "diverged":
        rate = float(job.experiment.train.get("learning_rate", spec.TrainSpec.learning_rate))
        gentler = float(f"{rate * GENTLER:.2g}")
        return [
            {
                "title": f"Learn more slowly: learning_rate {gentler:g} instead of {rate:g}",
                "patch": {"train": {"learning_rate": gentler}},
                "keeps_result": False,
            }
        ]
    return []


def model_is_there(model: BaseModel) -> bool:
    return model.status == BaseModel.Status.ACTIVE


def fix_and_retry(job: Job, title: str, *, actor: Any) -> Job:
    """The job again with the fix of that name. Where the result stays the same it goes on from the
    last checkpoint. Raises CannotBeDone and PreflightFailed."""
    fix = next((one for one in fixes(job) if one["title"] == title), None)
    if fix is None:
        raise CannotBeDone(f"'{title}' is not offered any more.")
    patch = dict(fix["patch"])
    last = job.checkpoints.order_by("-step").first() if fix["keeps_result"] else None
    plan = judging.complete(changed(plan_of(job.experiment), patch))
    if last is not None and checkpoints.why_not_resume(last, plan):
        last = None
    recipe = patch.pop("recipe", None)
    if recipe is not None:  # another method: its recipe, and the settings of its own
        return _by_another_method(job, recipe["method"], patch, actor)
    return clone(
        job,
        actor=actor,
        project_id=job.project_id,
        name=f"{job.name[:180]}, fixed",
        patch=patch,
        resume_from=last,
    )


def _by_another_method(job: Job, method: str, patch: dict[str, Any], actor: Any) -> Job:
    recipe = Recipe.objects.get(built_in=True, name=method, project=None)
    plan = changed(plan_of(job.experiment), patch)
    known = spec.METHODS[method].settings
    of_some = {name for one in spec.METHODS.values() for name in one.settings}
    plan["train"] = {k: v for k, v in plan["train"].items() if k not in of_some or k in known}
    return services.create_job(
        name=f"{job.name[:180]}, fixed",
        plan={**plan, "recipe": recipe, "lora": patch.get("lora", {})},
        actor=actor,
        project_id=job.project_id,
        metadata={"origin": "clone", "job_id": str(job.pk)},
    )
