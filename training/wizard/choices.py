"""What there is to choose from, and what of it cannot be chosen here, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet

from registry.compatibility import compatibility
from registry.models import BaseModel, Dataset, Modality
from training import checking, preflight
from training.models import Recipe
from training.preflight import compatibility as compatibility_rules
from training.preflight import methods
from training.preflight.findings import Finding, Rule, Weight

UNSUITED_SHOWN = 10
LOOKED_AT = 1000
STYLES_SHOWN = 60


@dataclass(frozen=True)
class Choice:
    """``problems`` forbid it, ``warnings`` only say what to expect."""

    row: Any
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def model_problems(model: BaseModel) -> list[str]:
    """Why no training starts from this model, whatever the data."""
    if model.stage == "archived":
        return ["It is archived."]
    if model.is_gguf:
        return ["It is a GGUF file, which can be served but not trained."]
    if not model.trainable:
        return ["It is marked as not trainable."]
    if model.status == BaseModel.Status.BROKEN:
        return [model.why_broken]
    return []


def data_choice(dataset: Dataset, model: BaseModel) -> Choice:
    found = compatibility(dataset, model)
    return Choice(dataset, found["errors"], found["warnings"])


def suited(datasets: QuerySet[Dataset], model: BaseModel) -> QuerySet[Dataset]:
    """Those that go with the model, as far as columns say; `data_choice` looks into the rows."""
    return datasets.filter(_suits(model))


def unsuited(datasets: QuerySet[Dataset], model: BaseModel) -> list[Choice]:
    """The newest of the others, if they are not very old."""
    newest = datasets.values("pk")[:LOOKED_AT]
    others = Dataset.objects.filter(pk__in=newest).exclude(_suits(model))
    shown = others.defer("integrity_report")[:UNSUITED_SHOWN]
    return [data_choice(dataset, model) for dataset in shown]


def _suits(model: BaseModel) -> Q:
    checked = Q(integrity_checked=False) | Q(integrity_passed=True)
    not_empty = Q(num_samples=None) | Q(num_samples__gt=0)
    if model.modality == Modality.MULTIMODAL:
        return checked & not_empty
    return checked & not_empty & Q(modality=model.modality)


def in_order(choices: Iterable[Choice]) -> list[Choice]:
    """What can be chosen comes first."""
    return sorted(choices, key=lambda choice: bool(choice.problems))


def styles(
    recipes: Iterable[Recipe], model: BaseModel, dataset: Dataset, columns: dict[str, str]
) -> list[Choice]:
    return in_order(style_choice(recipe, model, dataset, columns) for recipe in recipes)


def style_choice(
    recipe: Recipe, model: BaseModel, dataset: Dataset, columns: dict[str, str]
) -> Choice:
    """Whether this way of training goes with model and data; what else is set is not looked at."""
    experiment = preflight.Experiment(
        model=checking.model_facts(model),
        dataset=checking.dataset_facts(dataset, columns),
        columns=columns,
        recipe=checking.recipe_facts(recipe),
        train=preflight.TrainSpec(use_peft=recipe.defaults.get("train", {}).get("use_peft", False)),
    )
    found = [finding for rule in _ABOUT_THE_STYLE for finding in rule(experiment)]
    problems = [_plain(one) for one in found if one.weight is Weight.INCOMPATIBLE]
    warnings = [_plain(one) for one in found if one.weight is not Weight.INCOMPATIBLE]
    return Choice(recipe, problems, warnings)


def _another_modality(e: preflight.Experiment) -> Iterator[Finding]:
    """What model and dataset have against each other was said before."""
    return (one for one in compatibility_rules.modalities_differ(e) if "Recipe" in one.sentence)


_ABOUT_THE_STYLE: tuple[Rule, ...] = (
    compatibility_rules.recipe_is_not_available,
    compatibility_rules.recipe_does_not_take_quantized_models,
    _another_modality,
    methods.rows_are_of_another_kind,
    methods.architecture_has_no_class,
    methods.classifier_does_not_write,
    methods.quantized_model_is_trained_wrongly,
    methods.quantization_lacks_its_library,
)


def _plain(finding: Finding) -> str:
    return finding.sentence.removeprefix("ERROR: ")
