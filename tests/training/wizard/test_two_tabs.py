"""One draft on two pages: the second is told of what the first has changed, and loses nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pages import Page
from tests.training.wizard.conftest import Walker
from training.models import Job

pytestmark = pytest.mark.django_db
Answers = dict[str, dict[str, Any]]


def seen(page: Page) -> dict[str, str]:
    """What a page knows of the draft, and sends with every answer."""
    fields = {f["name"]: f.get("value") for f in page.all("input") if f.get("type") == "hidden"}
    return {name: str(fields[name]) for name in ("version", "tab")}


def save(walker: Walker, step: str, answers: dict[str, str]) -> Any:
    return walker.client.post(walker.at(step), answers, headers={"HX-Request": "true"})


@pytest.fixture
def tabs(walker: Walker, answers: Answers) -> tuple[dict[str, str], dict[str, str]]:
    walker.walk_to("resources", answers)
    return seen(walker.see("settings")), seen(walker.see("settings"))


def test_the_second_page_overwrites_nothing_and_says_what_differs(
    walker: Walker, tabs: tuple[dict[str, str], dict[str, str]]
) -> None:
    first, second = tabs
    assert save(walker, "settings", {**first, "train.max_steps": "50"}).status_code == 200
    response = save(walker, "settings", {**second, "train.max_steps": "30"})
    assert response.status_code == 409
    html = response.content.decode()
    assert "Steps: here <code>30</code>, there <code>50</code>" in html
    assert f'data-keep="{walker.draft.version}"' in html
    assert walker.draft.answers["train.max_steps"] == "50"
    # Whoever keeps what is here has seen the other's changes now.
    kept = {**second, "version": str(walker.draft.version), "train.max_steps": "30"}
    assert save(walker, "settings", kept).status_code == 200
    assert walker.draft.answers["train.max_steps"] == "30"


def test_a_page_goes_on_saving_its_own(
    walker: Walker, tabs: tuple[dict[str, str], dict[str, str]]
) -> None:
    """Also where the answer to its last request never came."""
    first, _ = tabs
    for steps in ("50", "51", "52"):
        assert save(walker, "settings", {**first, "train.max_steps": steps}).status_code == 200
    assert walker.draft.answers["train.max_steps"] == "52"


def test_pages_that_say_the_same_or_other_things_do_not_disturb_each_other(
    walker: Walker, tabs: tuple[dict[str, str], dict[str, str]]
) -> None:
    first, second = tabs
    resources = seen(walker.see("resources"))
    assert save(walker, "settings", {**first, "train.max_steps": "50"}).status_code == 200
    assert save(walker, "settings", {**second, "train.max_steps": "50"}).status_code == 200
    shown = {"resources.gpus": "0", "eval.limit": ""}
    assert save(walker, "resources", {**resources, **shown}).status_code == 200


def test_a_default_that_has_changed_meanwhile_is_not_written_as_if_it_had_been_said(
    walker: Walker, answers: Answers
) -> None:
    walker.walk_to("resources", answers)
    page = walker.see("settings")
    shown = {f["name"]: f.get("value") for f in page.all("input") if f.get("type") == "text"}
    style = seen(walker.see("style"))
    from training.models import Recipe

    full = str(Recipe.objects.get(name="full", project=None).pk)
    assert save(walker, "style", {**style, "recipe_id": full}).status_code == 200
    rate = {"train.learning_rate": str(shown["train.learning_rate"])}
    assert save(walker, "settings", {**seen(page), **rate}).status_code == 409
    assert "train.learning_rate" not in walker.draft.answers


def test_without_scripts_the_page_comes_back_with_what_was_typed(
    walker: Walker, tabs: tuple[dict[str, str], dict[str, str]]
) -> None:
    first, second = tabs
    walker.say("settings", {**first, "train.max_steps": "50"})
    response = walker.say("settings", {**second, "train.max_steps": "30"}, status=409)
    page = Page(response)
    page.check_outline()
    assert "Steps: here 30 , there 50" in page.words
    values = {f["name"]: f.get("value") for f in page.all("input") if f.get("type") == "text"}
    assert values["train.max_steps"] == "30"
    walker.say("settings", {**seen(page), "train.max_steps": "30"})
    assert walker.draft.answers["train.max_steps"] == "30"


def test_what_was_not_looked_over_is_not_created(walker: Walker, answers: Answers) -> None:
    walker.walk_to("review", answers)
    review, settings = seen(walker.see("review")), seen(walker.see("settings"))
    assert save(walker, "settings", {**settings, "train.max_steps": "70"}).status_code == 200
    create = f"/jobs/new/{walker.draft_id}/create"
    response = walker.client.post(create, {**review, "name": walker.draft.title})
    assert response.status_code == 409
    page = Page(response)
    assert "Look it over once more." in page.words
    assert not Job.objects.exists()
    assert walker.client.post(create, {**seen(page), "name": "mine"}).status_code == 302
    assert Job.objects.get().experiment.train["max_steps"] == 70
