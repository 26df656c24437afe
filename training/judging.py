"""A plan of what is to be trained: filled in, judged, and its fixes put into words of the API."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from accounts.models import Project
from training import checking, preflight, quotas
from training.models import Recipe
from training.preflight.findings import shortage
from training.trainer import spec


def complete(plan: dict[str, Any]) -> dict[str, Any]:
    """Fill in what the body left open: the recipe's defaults, then ours. All of it is written down,
    so that a default that changes later does not change what was done."""
    recipe = plan["recipe"]
    resources = {k: v for k, v in plan.get("resources", {}).items() if v is not None}
    if "gpus" not in resources:
        resources["gpus"] = checking.default_gpus(resources)
    train = {**recipe.defaults.get("train", {}), **plan.get("train", {})}
    if context := plan["base_model"].context_length:
        train.setdefault("max_length", min(spec.TrainSpec.max_length, context))
    adapts = spec.uses_adapter(recipe.method, spec.TrainSpec(**train))
    train = asdict(spec.TrainSpec(**train))
    del train["max_steps" if train["max_steps"] is None else "num_train_epochs"]
    lora = {**recipe.defaults.get("lora", {}), **plan.get("lora", {})}
    return {
        **plan,
        "train": train,
        "lora": asdict(spec.LoraSpec(**lora)) if adapts else {},
        "resources": resources,
        # As the doctor read the rows, unless the job says otherwise.
        "columns": plan.get("columns") or dict(plan["dataset"].columns),
        "eval": plan.get("eval", {}),
        "export": plan.get("export") or list(spec.RunSpec.export),
        "adapters": plan.get("adapters", []),
    }


def judge(plan: dict[str, Any], project: Project | None) -> preflight.Report:
    """What stands in the way of a plan that is `complete`, the project's quota included, and what
    it would need."""
    report = in_words_of_a_body(checking.check(plan), plan)
    return within_quota(report, project, plan["resources"])


def in_words_of_a_body(report: preflight.Report, plan: dict[str, Any]) -> preflight.Report:
    """With fixes whose patch a body of the API takes: of another method the recipe that ships, and
    what that one would leave otherwise than the fix was judged with."""
    return replace(report, fixes=in_words(report.fixes, plan))


def in_words(fixes: tuple[preflight.Fix, ...], plan: dict[str, Any]) -> tuple[preflight.Fix, ...]:
    methods = {method for fix in fixes if (method := _method_of(fix))}
    if not methods:
        return fixes
    built_in = Recipe.objects.filter(built_in=True, project=None, name__in=methods)
    recipes = {recipe.name: recipe for recipe in built_in}
    return tuple(_with_its_recipe(fix, plan, recipes) for fix in fixes)


def _method_of(fix: preflight.Fix) -> str | None:
    method: str | None = fix.patch.get("recipe", {}).get("method")
    return method


def _with_its_recipe(
    fix: preflight.Fix, plan: dict[str, Any], recipes: dict[str, Recipe]
) -> preflight.Fix:
    method = _method_of(fix)
    if method is None:
        return fix
    recipe = recipes[method]
    patch = {section: values for section, values in fix.patch.items() if section != "recipe"}
    alone = complete({**plan, "recipe": recipe, "train": patch.get("train", {}), "lora": {}})
    wanted = settings_of(fix, instead_of=plan["recipe"])
    for section in ("train", "lora"):
        otherwise = {
            name: value
            for name, value in wanted[section].items()
            if _listed(alone[section].get(name)) != value
        }
        if values := {**patch.get(section, {}), **otherwise}:
            patch[section] = values
    return replace(fix, patch={"recipe_id": str(recipe.pk), **patch})


def settings_of(fix: preflight.Fix, *, instead_of: Recipe) -> dict[str, dict[str, Any]]:
    """What the fix was judged with, by section. An adapter learns at a rate of its own: that of all
    weights would be far too low for it."""
    experiment = fix.experiment
    train = asdict(experiment.train)
    del train["max_steps" if train["max_steps"] is None else "num_train_epochs"]
    if experiment.recipe.method != instead_of.method == "full":
        del train["learning_rate"]
    lora = asdict(experiment.lora) if experiment.tuning != "full" else {}
    names = ("gpus", "gpu_type", "strategy", "mixed_precision")
    resources = {name: getattr(experiment.resources, name) for name in names}
    sections = {"train": train, "lora": lora, "resources": resources}
    return {
        section: {name: _listed(value) for name, value in values.items()}
        for section, values in sections.items()
    }


def _listed(value: Any) -> Any:
    """As JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def within_quota(
    report: preflight.Report, project: Project | None, resources: dict[str, Any]
) -> preflight.Report:
    """With further errors where the project may not use what the job asks for, and a warning where
    it may not for as long."""
    if project is None:
        return report
    hours = quotas.hours_left(project, resources)
    refused = quotas.refusals(project, resources, hours, report.exports_bytes)
    short = quotas.too_few_hours(project, resources, hours, report.total_time_s or 0)
    return replace(
        report,
        ok=report.ok and not refused,
        errors=(*report.errors, *(shortage(one).sentence for one in refused)),
        warnings=(*report.warnings, *short),
    )
