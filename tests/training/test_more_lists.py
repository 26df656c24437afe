"""Experiments and recipes: lists, pages, changing one's own recipes. How lists are sorted."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from tests import factories as make
from tests.pages import Page
from training.models import Method, Recipe, Status

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client(ana: User) -> Client:
    return signed_in(ana)


def look(client: Client, address: str, status: int = 200) -> Page:
    response = client.get(address)
    assert response.status_code == status, address
    page = Page(response)
    page.check_outline()
    return page


def names(page: Page, *wanted: str) -> list[str]:
    """Those that are on the page, in its order."""
    found = {name: page.words.find(name) for name in wanted}
    return sorted((n for n in wanted if found[n] >= 0), key=lambda name: found[name])


def test_jobs_are_sorted_as_one_likes(client: Client) -> None:
    for name, status in (("pear", Status.FAILED), ("apple", Status.QUEUED), ("fig", Status.FAILED)):
        make.make_job(name=f"{name}-tart", status=status)
    fruit = "pear-tart", "apple-tart", "fig-tart"
    assert names(look(client, "/jobs"), *fruit) == ["fig-tart", "apple-tart", "pear-tart"]
    assert names(look(client, "/jobs?sort=oldest"), *fruit) == list(fruit)
    by_name = ["apple-tart", "fig-tart", "pear-tart"]
    assert names(look(client, "/jobs?sort=name"), *fruit) == by_name
    assert names(look(client, "/jobs?sort=status"), *fruit)[-1] == "apple-tart"
    assert client.get("/jobs?sort=colour").status_code == 400


def test_a_heading_says_how_the_list_is_sorted_and_keeps_what_was_asked(client: Client) -> None:
    make.make_job(name="apple-tart", status=Status.FAILED)
    page = look(client, "/jobs?q=tart&status=FAILED&sort=name")
    sorts = {a["href"] for a in page.all("a") if "sort=" in str(a["href"])}
    assert "/jobs?q=tart&status=FAILED&sort=newest" in sorts
    (sorted_by,) = [th for th in page.all("th") if th.get("aria-sort")]
    assert sorted_by["aria-sort"] == "ascending"
    hidden = {i["name"]: i["value"] for i in page.all("input") if i.get("type") == "hidden"}
    assert (hidden["status"], hidden["sort"]) == ("FAILED", "name")


def test_what_a_link_has_narrowed_a_list_to_is_said_with_a_way_back(client: Client) -> None:
    model = make.make_model(name="orchard-7b")
    make.make_job(experiment=make.make_experiment(name="apples", base_model=model), name="a tart")
    make.make_job(name="another")
    for address in ("/jobs", "/experiments"):
        page = look(client, f"{address}?model={model.pk}&q=a")
        assert "Model: orchard-7b" in page.words
        assert "another" not in page.words
        assert f"{address}?q=a" in {a["href"] for a in page.all("a")}
        missing = "00000000-0000-0000-0000-000000000000"
        assert "Dataset: not there any more" in look(client, f"{address}?dataset={missing}").words


# --- Experiments ---------------------------------------------------------------------------------


def test_experiments_are_listed_searched_and_shown(client: Client) -> None:
    model = make.make_model(name="orchard-7b")
    apples = make.make_experiment(name="apples", base_model=model)
    make.make_experiment(name="pears")
    job = make.make_job(experiment=apples, status=Status.FAILED, name="first go")
    assert names(look(client, "/experiments"), "apples", "pears") == ["pears", "apples"]
    assert names(look(client, "/experiments?q=ORCH"), "apples", "pears") == ["apples"]
    assert names(look(client, f"/experiments?model={model.pk}"), "apples", "pears") == ["apples"]
    assert names(look(client, "/experiments?q=none"), "apples", "pears") == []
    page = look(client, f"/experiments/{apples.pk}")
    assert "first go Failed" in page.words
    assert f"/jobs/{job.pk}" in {a["href"] for a in page.all("a")}
    assert "learning_rate 0.0002" in page.words


def test_experiments_are_sorted_and_narrowed_to_a_recipe(client: Client) -> None:
    careful = make.make_recipe(display_name="Careful")
    make.make_experiment(name="pears", recipe=careful)
    make.make_experiment(name="apples", recipe=careful)
    make.make_experiment(name="plums")
    fruit = "pears", "apples", "plums"
    assert names(look(client, "/experiments?sort=oldest"), *fruit) == list(fruit)
    assert names(look(client, "/experiments?sort=name"), *fruit) == ["apples", "pears", "plums"]
    page = look(client, f"/experiments?recipe={careful.pk}")
    assert names(page, *fruit) == ["apples", "pears"]
    (chosen,) = [o for o in page.all("option") if "selected" in o]
    assert chosen["value"] == str(careful.pk)
    for query in ("sort=colour", "recipe=none"):
        assert client.get(f"/experiments?{query}").status_code == 400


def test_a_recipe_beyond_the_first_hundred_can_still_be_asked_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.views.experiments.RECIPES_SHOWN", 1)
    recipe = make.make_recipe(display_name="Zebra")
    make.make_experiment(name="pears", recipe=recipe)
    assert "pears" in look(client, f"/experiments?recipe={recipe.pk}").words


def test_probes_are_no_experiments(client: Client) -> None:
    probe = make.make_probe()
    assert probe.job is not None
    assert client.get(f"/experiments/{probe.job.experiment_id}").status_code == 404


def test_no_more_questions_for_many_experiments(
    client: Client, django_assert_num_queries: Any
) -> None:
    for _ in range(2):
        make.make_job(status=Status.RUNNING)
        with django_assert_num_queries(8):
            client.get("/experiments")


@pytest.mark.parametrize("kind", ["experiments", "recipes"])
def test_a_stranger_finds_nothing(client: Client, stranger: User, kind: str) -> None:
    row = make.make_experiment(name="a secret") if kind == "experiments" else secret_recipe()
    other = signed_in(stranger)
    assert other.get(f"/{kind}/{row.pk}").status_code == 404
    assert "a secret" not in other.get(f"/{kind}").content.decode()
    assert client.get(f"/{kind}/{row.pk}").status_code == 200


def secret_recipe() -> Recipe:
    return make.make_recipe(display_name="a secret")


# --- Recipes -------------------------------------------------------------------------------------


def test_recipes_explain_what_they_set(client: Client) -> None:
    recipe = make.make_recipe(
        display_name="Careful",
        defaults={"train": {"learning_rate": 1e-5, "packing": True}, "lora": {"r": 4}},
    )
    assert "Careful" in look(client, "/recipes?method=lora&q=caref").words
    page = look(client, f"/recipes/{recipe.pk}")
    assert "Learning rate train.learning_rate 1e-05 How far each step moves the weights." in (
        page.words
    )
    assert "Rank lora.r 4" in page.words
    links = {a["href"] for a in page.all("a")}
    assert f"/jobs/new?recipe={recipe.pk}" in links
    assert f"/recipes/{recipe.pk}/edit" in links


def test_recipes_are_sorted_as_one_likes(client: Client) -> None:
    zebra = make.make_recipe(display_name="Zebra")
    make.make_recipe(display_name="Yak")
    zebra.save()  # changed last
    assert names(look(client, "/recipes"), "Zebra", "Yak") == ["Yak", "Zebra"]
    assert names(look(client, "/recipes?sort=newest"), "Zebra", "Yak") == ["Yak", "Zebra"]
    assert names(look(client, "/recipes?sort=changed"), "Zebra", "Yak") == ["Zebra", "Yak"]
    assert client.get("/recipes?sort=colour").status_code == 400


def test_a_recipe_is_edited_and_its_earlier_version_is_kept(client: Client) -> None:
    recipe = make.make_recipe(defaults={"train": {"learning_rate": 1e-5, "packing": True}})
    form = look(client, f"/recipes/{recipe.pk}/edit")
    values = {f["name"]: f.get("value") for f in form.all("input") if f.get("type") == "text"}
    assert values["train.learning_rate"] == "1e-05"
    changed = {"display_name": "Bold", "train.learning_rate": "3e-4", "lora.r": "32"}
    response = client.post(f"/recipes/{recipe.pk}/edit", changed, follow=True)
    assert "Saved: version 2 of 'Bold'." in Page(response).words
    recipe.refresh_from_db()
    assert recipe.defaults == {"train": {"learning_rate": 3e-4}, "lora": {"r": 32}}
    words = look(client, f"/recipes/{recipe.pk}").words
    assert "train.learning_rate was 1e-05, then 0.0003" in words
    assert "train.packing was true, then not set" in words


def test_what_cannot_be_comes_back_with_the_reason_and_what_was_typed(client: Client) -> None:
    recipe = make.make_recipe()
    said = {"display_name": "X", "train.learning_rate": "quick", "train.max_steps": "7"}
    response = client.post(f"/recipes/{recipe.pk}/edit", said)
    assert response.status_code == 422
    page = Page(response)
    page.check_outline()
    assert "A valid number is required." in page.words
    values = {f["name"]: f.get("value") for f in page.all("input") if f.get("type") == "text"}
    assert (values["train.learning_rate"], values["train.max_steps"]) == ("quick", "7")
    recipe.refresh_from_db()
    assert recipe.version == 1


def test_a_recipe_is_made_from_nothing(client: Client) -> None:
    page = look(client, "/recipes/new?method=dpo")
    assert "Beta" in page.words
    said = {"display_name": "My DPO", "method": "dpo", "train.beta": "0.2"}
    assert client.post("/recipes/new", said).status_code == 302
    recipe = Recipe.objects.get(name="my-dpo")
    assert (recipe.method, recipe.defaults) == ("dpo", {"train": {"beta": 0.2}})
    again = client.post("/recipes/new", said)
    assert again.status_code == 422
    assert "There is a recipe &#x27;my-dpo&#x27; already." in again.content.decode()
    assert client.get("/recipes/new?method=magic").status_code == 400


@pytest.mark.parametrize("method", Method.values)
def test_every_method_has_a_form(client: Client, method: str) -> None:
    look(client, f"/recipes/new?method={method}")


def test_what_comes_with_the_platform_is_cloned_and_not_changed(client: Client) -> None:
    lora = Recipe.objects.get(name="lora", project=None)
    page = look(client, f"/recipes/{lora.pk}")
    assert page.forms_to(f"/recipes/{lora.pk}/delete") == []
    assert client.post(f"/recipes/{lora.pk}/edit").status_code == 403
    assert client.post(f"/recipes/{lora.pk}/delete").status_code == 403
    response = client.post(f"/recipes/{lora.pk}/clone")
    copy = Recipe.objects.get(name="lora-copy")
    assert response["Location"] == f"/recipes/{copy.pk}/edit"
    assert copy.defaults == lora.defaults


def test_recipes_are_deleted_but_not_those_that_are_named(client: Client) -> None:
    unused, used = make.make_recipe(), make.make_recipe(display_name="In use")
    make.make_experiment(recipe=used)
    ids = [str(unused.pk), str(used.pk), str(Recipe.objects.get(name="lora").pk)]
    words = Page(client.post("/recipes/bulk", {"do": "delete", "recipe": ids}, follow=True)).words
    assert "'In use' stays" in words
    assert "You may see recipe 'LoRA', but not change it." in words
    assert not Recipe.objects.filter(pk=unused.pk).exists()
    assert Recipe.objects.filter(pk=used.pk).exists()


def test_a_viewer_changes_no_recipe(viewer: User) -> None:
    recipe = make.make_recipe()
    client = signed_in(viewer)
    for verb in ("edit", "delete", "clone"):
        assert client.post(f"/recipes/{recipe.pk}/{verb}").status_code == 403
    assert client.get("/recipes/new").status_code == 403
    assert Recipe.objects.filter(pk=recipe.pk).exists()
    page = Page(client.get(f"/recipes/{recipe.pk}"))
    assert page.forms_to(f"/recipes/{recipe.pk}/clone") == []


def test_the_sentences_of_the_recipe_list(client: Client) -> None:
    assert "No recipe is like that." in look(client, "/recipes?q=nothing").words
    assert "built in" in look(client, "/recipes").words
