"""A fix that was applied needs what it said it would."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from accounts.models import User
from tests import factories as make
from tests.training.wizard.conftest import ROWS
from training.models import Device, Draft, Recipe
from training.wizard import drafts
from training.wizard.sheet import Sheet

pytestmark = pytest.mark.django_db
OWN = {"global_batch_size": 64, "grad_accum": 16, "max_steps": 50, "max_length": 2048}


@pytest.fixture
def answers(large_model: Any, dataset: Any) -> dict[str, str]:
    """All weights of a model of 70 billion."""
    return {
        "base_model_id": str(large_model.pk),
        "dataset_id": str(dataset.pk),
        "recipe_id": str(Recipe.objects.get(name="full").pk),
    }


def cards(*gpu_types: str) -> None:
    worker = make.make_worker(gpus=len(gpu_types))
    sizes = {"v100-32gb": 32_000, "a100-80gb": 81_000, "t4": 15_000, "h200": 141_000}
    for device, gpu_type in zip(Device.objects.filter(worker=worker), gpu_types, strict=True):
        device.gpu_type, device.memory_mb = gpu_type, sizes[gpu_type]
        device.save()


def with_layers(model: Any, layers: int) -> None:
    """Its size is then theirs, and no longer what stands on its label."""
    model.num_layers, model.params_b = layers, None
    model.save()


def applied(answers: dict[str, str], user: User, project: Any) -> list[str]:
    """The titles of what was offered, each tried on a draft of its own."""
    draft = Draft.objects.create(owner=user, project=project, answers=answers)
    report = Sheet(draft, user).report
    assert report is not None
    for fix in report.fixes:
        again = Draft.objects.create(owner=user, project=project, answers=deepcopy(answers))
        after = drafts.fix(again, fix.title, user).report
        assert after is not None
        assert after.vram_breakdown is not None, (fix.title, after.errors)
        assert after.estimated_vram_mb == fix.estimated_vram_mb, fix.title
        assert after.time_per_step_ms == fix.time_per_step_ms, fix.title
        assert after.fits is fix.fits
    return [fix.title for fix in report.fixes]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"train.dtype": "float32", "train.gradient_checkpointing": "yes"},
        {"train.max_steps": "100", "train.max_length": "4096", "train.optim": "adamw_torch"},
        {"train.global_batch_size": "32", "train.grad_accum": "2", "resources.gpus": "2"},
        {"resources.mixed_precision": "no", "train.attn_implementation": "eager"},
    ],
)
@pytest.mark.parametrize("layers", [2, 12, 80])
def test_all_weights(
    ana: User, project: Any, answers: dict[str, str], large_model: Any,
    more: dict[str, str], layers: int,
) -> None:  # fmt: skip
    with_layers(large_model, layers)
    cards("a100-80gb", "a100-80gb")
    titles = applied({**answers, **more}, ana, project)
    assert titles or layers == 2  # which fits, and may be as fast as it can be


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_recipe_of_ones_own(
    ana: User, project: Any, answers: dict[str, str], method: str
) -> None:
    own = make.make_recipe(project=project, method=method, defaults={"train": OWN})
    cards("a100-80gb")
    titles = applied({**answers, "recipe_id": str(own.pk)}, ana, project)
    assert any("QLoRA" in title for title in titles)


def test_preferences(ana: User, project: Any, answers: dict[str, str]) -> None:
    pairs = make.make_dataset(statistics={**ROWS, "row_format": "preference"})
    cards("a100-80gb")
    dpo = str(Recipe.objects.get(name="dpo").pk)
    for peft in ("yes", "no"):
        said = {"recipe_id": dpo, "dataset_id": str(pairs.pk), "train.use_peft": peft}
        assert applied({**answers, **said}, ana, project)


def test_another_card(ana: User, project: Any, answers: dict[str, str], large_model: Any) -> None:
    """The newer one has bfloat16, which the settings then are not changed to by themselves."""
    cards("v100-32gb", "h200")
    for recipe, layers in (("lora", 7), ("full", 3)):
        with_layers(large_model, layers)
        said = {
            "resources.gpu_type": "v100-32gb",
            "recipe_id": str(Recipe.objects.get(name=recipe).pk),
        }
        assert "Run on h200" in applied({**answers, **said}, ana, project), recipe


def test_the_rate_of_all_weights_is_not_that_of_an_adapter(
    ana: User, project: Any, answers: dict[str, str]
) -> None:
    cards("a100-80gb")
    draft = Draft.objects.create(owner=ana, project=project, answers=answers)
    sheet = drafts.fix(
        draft, "Train with QLoRA, gradient checkpointing and micro batches of 1", ana
    )
    assert sheet.plan is not None
    assert sheet.plan["train"]["learning_rate"] == 2e-4


def test_a_number_stays_as_it_was_written(ana: User, project: Any, answers: dict[str, str]) -> None:
    cards("a100-80gb")
    said = {
        "recipe_id": str(Recipe.objects.get(name="lora").pk),
        "train.learning_rate": "1e-4",
        "train.max_length": "4096",
    }
    draft = Draft.objects.create(owner=ana, project=project, answers={**answers, **said})
    report = Sheet(draft, ana).report
    assert report is not None
    drafts.fix(draft, report.fixes[0].title, ana)
    draft.refresh_from_db()
    assert draft.answers["train.learning_rate"] == "1e-4"
