"""The way through the wizard: one URL per step, nothing lost, nothing of others to be seen."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from registry.models import BaseModel
from tests import factories as make
from tests.pages import Page
from tests.training.wizard.conftest import ROWS, Walker, model_in
from training.models import Job, Partition, Recipe, Status
from training.wizard.sheet import Sheet
from training.wizard.steps import NAMES

pytestmark = pytest.mark.django_db
Answers = dict[str, dict[str, Any]]


def test_it_leads_from_a_model_to_a_job(walker: Walker, answers: Answers) -> None:
    assert "Which model do you start from?" in walker.begin().words
    for before, step in pairwise(NAMES):
        assert walker.say(before, answers.get(before))["Location"] == walker.at(step)
    assert "Is this the job you want?" in walker.see("review").words
    response = walker.client.post(f"/jobs/new/{walker.draft_id}/create", {"name": "by hand"})
    job = Job.objects.get()
    assert response["Location"] == f"/jobs/{job.pk}"
    assert (job.name, job.experiment.train["max_steps"]) == ("by hand", 10)
    assert job.created_by == walker.user
    assert job.status == Status.QUEUED


def test_a_step_that_is_not_reached_yet_leads_to_the_one_that_is(walker: Walker) -> None:
    walker.begin()
    for step in NAMES[1:]:
        assert walker.client.get(walker.at(step))["Location"] == walker.at("model")
    assert walker.client.get(walker.at("nowhere")).status_code == 404
    assert walker.client.get("/jobs/new/" + walker.draft_id)["Location"] == walker.at("model")


def test_every_step_that_was_done_stays_reachable(walker: Walker, answers: Answers) -> None:
    walker.walk_to("review", answers)
    for step in NAMES:
        page = walker.see(step)
        steps = {a["href"] for a in page.all("a")} & {walker.at(name) for name in NAMES}
        assert steps == {walker.at(name) for name in NAMES}
        (here,) = [a["href"] for a in page.all("a") if a.get("aria-current") == "step"]
        assert here == walker.at(step)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("model", "Choose a base model."),
        ("data", "Choose a dataset."),
        ("style", "Choose a training style."),
    ],
)
def test_nobody_goes_on_without_a_choice(
    walker: Walker, answers: Answers, step: str, sentence: str
) -> None:
    walker.walk_to(step, answers)
    page = Page(walker.say(step, status=422))
    page.check_outline()
    assert sentence in page.words
    assert step not in walker.draft.done


def test_what_cannot_be_is_kept_and_shown_with_what_is_wrong(
    walker: Walker, answers: Answers
) -> None:
    walker.walk_to("settings", answers)
    typed = {"train.learning_rate": "quick", "train.max_steps": "0", "train.seed": "7"}
    refused = Page(walker.say("settings", typed, status=422))
    for page in (refused, walker.see("settings")):
        values = {field.get("name"): field.get("value") for field in page.all("input")}
        assert (values["train.learning_rate"], values["train.max_steps"]) == ("quick", "0")
        assert values["train.seed"] == "7"
        assert "A valid number is required." in page.words
        assert "greater than or equal to 1" in page.words
    assert "The estimate comes back" in refused.words


def test_what_is_typed_is_saved_as_one_types(walker: Walker, answers: Answers) -> None:
    walker.walk_to("settings", answers)
    part = walker.save("settings", {"train.learning_rate": "7e-4", "train.max_length": ""})
    assert "<html" not in part
    assert "GiB" in part
    assert walker.draft.answers["train.learning_rate"] == "7e-4"
    assert "train.max_length" not in walker.draft.answers
    part = walker.save("settings", {"train.learning_rate": "quick"})
    assert 'id="f-train-learning_rate-error"' in part
    assert "A valid number is required." in part
    assert "settings" not in walker.draft.done


def test_a_field_that_follows_another_is_sent_along(walker: Walker, answers: Answers) -> None:
    make.make_worker(gpus=2, partition="cards")
    walker.walk_to("resources", answers)
    cards = Partition.objects.get(name="cards")
    shown = {"resources.gpus": "0", "resources.mixed_precision": "no"}
    part = walker.save("resources", {**shown, "resources.partition_id": str(cards.pk)})
    assert 'id="f-resources-gpus-field"' in part
    assert 'value="bf16" selected' in part
    # Neither was said by anybody: both follow the machines.
    said = [path for path in walker.draft.answers if path.startswith("resources.")]
    assert said == ["resources.partition_id"]


def test_what_nobody_changed_follows_the_recipe(walker: Walker, answers: Answers) -> None:
    walker.walk_to("settings", answers)
    walker.say("settings", {"train.learning_rate": "0.0002", "lora.r": "8"})
    assert walker.draft.answers.get("train.learning_rate") is None  # as the recipe has it
    full = Recipe.objects.get(name="full")
    walker.say("style", {"recipe_id": str(full.pk)})
    values = {
        field.get("name"): field.get("value") for field in walker.see("settings").all("input")
    }
    assert values["train.learning_rate"] == "2e-05"
    assert "lora.r" not in values
    assert walker.draft.answers["lora.r"] == "8"  # for whoever goes back


def test_an_early_answer_says_what_it_changes_later(
    walker: Walker, answers: Answers, home: Path
) -> None:
    walker.walk_to("review", answers)
    talker = model_in(home / "models" / "longer", context_length=64, name="short-sighted")
    walker.say("model", {"base_model_id": str(talker.pk)})
    walker.say("style", {"recipe_id": str(Recipe.objects.get(name="full").pk)})
    texts = {note["text"] for note in walker.draft.notes}
    assert "Learning rate is now 2e-05, it was 0.0002. From the recipe Full Fine-Tune." in texts
    assert any(
        "Learning rate is now 2e-05" in walker.see(step).words for step in ("review", "data")
    )
    walker.say("settings")
    assert "settings" not in {note["step"] for note in walker.draft.notes}


def test_a_dataset_that_no_longer_goes_with_the_model_is_marked(
    walker: Walker, answers: Answers, home: Path
) -> None:
    walker.walk_to("review", answers)
    painter = model_in(home / "models" / "painter", name="painter", modality="image")
    walker.say("model", {"base_model_id": str(painter.pk)})
    page = walker.see("review")
    assert "Dataset (needs another look)" in page.words
    assert "The dataset holds text, the model 'painter' takes image." in page.words
    walker.client.post(f"/jobs/new/{walker.draft_id}/create", {"name": "no"})
    assert not Job.objects.exists()


def test_datasets_that_do_not_suit_are_shown_with_the_reason(
    walker: Walker, answers: Answers
) -> None:
    make.make_dataset(name="paintings", modality="image")
    broken = make.make_dataset(name="broken", integrity_passed=False)
    make.make_dataset(name="only-tests", statistics={**ROWS, "splits": ["test"]})
    walker.walk_to("data", answers)
    page = walker.see("data")
    assert "2 datasets for" in page.words
    assert "The dataset holds image, the model" in page.words
    assert "Dataset failed integrity check." in page.words
    assert "The dataset has no train split." in page.words
    off = [
        box for box in page.all("input") if box.get("name") == "dataset_id" and "disabled" in box
    ]
    assert len(off) == 3
    refused = Page(walker.say("data", {"dataset_id": str(broken.pk)}, status=422))
    assert "Dataset failed integrity check." in refused.words
    assert "paintings" not in walker.client.get(walker.at("data") + "?q=broken").content.decode()


def test_columns_of_other_names_are_mapped(walker: Walker, answers: Answers) -> None:
    rows = {**ROWS, "row_format": "preference", "columns": ["article", "chosen", "summary"]}
    odd = make.make_dataset(name="odd", statistics=rows)
    walker.walk_to("data", answers)
    part = walker.save("data", {"dataset_id": str(odd.pk)})
    assert '<option value="article"' in part
    mapped = {"columns.prompt": "article", "columns.completion": "summary"}
    walker.say("data", {"dataset_id": str(odd.pk), **mapped})
    walker.walk_to("review", {**answers, "data": {}})
    assert "article" in walker.see("review").words
    walker.say("data", {"dataset_id": answers["data"]["dataset_id"]})
    assert not any(path.startswith("columns.") for path in walker.draft.answers)


def test_columns_that_the_doctor_found_are_chosen_already(walker: Walker, answers: Answers) -> None:
    columns = {"prompt": "question", "completion": "answer"}
    rows = {**ROWS, "columns": ["answer", "question", "score"]}
    odd = make.make_dataset(name="odd", statistics=rows, columns=columns)
    walker.walk_to("data", answers)
    walker.say("data", {"dataset_id": str(odd.pk)})
    page = walker.see("data")
    assert [one["value"] for one in page.all("option") if "selected" in one] == [
        "question",
        "answer",
        *[""] * 7,
    ]
    [check] = [one for one in page.all("button") if "formaction" in one]
    assert check["formaction"] == f"/datasets/{odd.pk}/check"
    walker.walk_to("review", {**answers, "data": {}})
    assert "question" in walker.see("review").words
    walker.say("data", {"dataset_id": str(odd.pk), "columns.prompt": "score"})
    assert Sheet(walker.draft, walker.user).settings["columns"] == {
        "prompt": "score",
        "completion": "answer",
    }


def test_styles_that_do_not_suit_are_shown_with_the_reason(
    walker: Walker, answers: Answers
) -> None:
    walker.walk_to("style", answers)
    page = walker.see("style")
    assert "Recipe 'DPO' (dpo) learns from chosen and rejected answers." in page.words
    off = {box["value"] for box in page.all("input") if "disabled" in box}
    suited = {"full", "lora", "qlora"}
    assert off == {str(one.pk) for one in Recipe.objects.all() if one.name not in suited}
    dpo = Recipe.objects.get(name="dpo")
    walker.say("style", {"recipe_id": str(dpo.pk)}, status=422)


@pytest.mark.parametrize(
    ("recipe", "has", "has_not"),
    [
        ("lora", ["lora.r", "train.packing"], ["train.beta", "train.use_peft"]),
        ("full", ["train.packing"], ["lora.r", "train.use_peft"]),
        ("dpo", ["train.beta", "train.use_peft", "lora.r"], ["train.packing"]),
    ],
)
def test_only_what_the_style_knows_is_asked(
    walker: Walker, answers: Answers, recipe: str, has: list[str], has_not: list[str]
) -> None:
    pairs = make.make_dataset(statistics={**ROWS, "row_format": "preference"})
    data = {"dataset_id": str(pairs.pk)} if recipe == "dpo" else answers["data"]
    style = {"recipe_id": str(Recipe.objects.get(name=recipe).pk)}
    walker.walk_to("settings", {**answers, "data": data, "style": style})
    asked = {field.get("name") for field in walker.see("settings").all("input")}
    assert set(has) <= asked
    assert not set(has_not) & asked


def test_preflight_offers_fixes_and_applies_one(
    walker: Walker, answers: Answers, large_model: BaseModel
) -> None:
    make.make_worker(gpus=1)
    model = {"base_model_id": str(large_model.pk)}
    walker.walk_to("preflight", {**answers, "model": model})
    page = walker.see("preflight")
    assert "Does not fit" in page.words
    assert "disabled" in next(b for b in page.all("button") if b.get("value") == "next")
    walker.say("preflight", status=422)
    assert walker.client.get(walker.at("review"))["Location"] == walker.at("preflight")
    title = "Train with QLoRA, gradient checkpointing and micro batches of 1"
    fix = f"/jobs/new/{walker.draft_id}/fix"
    page = Page(walker.client.post(fix, {"title": title}, follow=True))
    assert f"Done: {title}. It now needs" in page.words
    assert "It will work" in page.words
    assert walker.draft.answers["recipe_id"] == str(Recipe.objects.get(name="qlora").pk)
    again = Page(walker.client.post(fix, {"title": title}, follow=True))
    assert "is not offered any more" in again.words
    walker.say("preflight")


def test_the_picture_says_in_words_what_it_shows(walker: Walker, answers: Answers) -> None:
    make.make_worker()
    walker.walk_to("preflight", answers)
    page = walker.see("preflight")
    (label,) = [svg["aria-label"] for svg in page.all("svg") if svg.get("role") == "img"]
    assert label is not None
    assert " GiB of 15.6 GiB: Weights 0.0" in label
    widths = [float(r["width"] or 0) for r in page.all("rect") if r.get("class") != "memory-card"]
    report = Sheet(walker.draft, walker.user).report
    assert report is not None
    assert sum(widths) == pytest.approx(100 * report.estimated_vram_mb / 16_000, abs=0.1)
