"""/api/recipes: who may write which, what a version is, and what a default may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Project, User
from tests.factories import make_experiment, make_recipe
from training.models import Recipe

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], APIClient]

BODY: dict[str, Any] = {
    "name": "gentle-lora",
    "display_name": "Gentle LoRA",
    "method": "lora",
    "defaults": {"train": {"learning_rate": 1e-5}, "lora": {"r": 4}},
}


def make(client: APIClient, **changes: Any) -> Any:
    return client.post("/api/recipes", {**BODY, **changes}, format="json")


def patch(client: APIClient, recipe: Recipe, **changes: Any) -> Any:
    return client.patch(f"/api/recipes/{recipe.pk}", changes, format="json")


def built_in() -> Recipe:
    return Recipe.objects.get(name="lora", project=None)


def test_a_member_writes_a_recipe_of_the_default_project(
    ana: User, project: Project, client_of: ClientOf
) -> None:
    answer = make(client_of(ana))
    assert answer.status_code == 201, answer.json()
    recipe = answer.json()
    assert (recipe["version"], recipe["built_in"]) == (1, False)
    assert recipe["project_id"] == str(project.pk)
    assert recipe["defaults"] == BODY["defaults"]
    assert client_of(ana).get(f"/api/recipes/{recipe['id']}").json() == recipe


def test_a_recipe_needs_a_name_and_a_method(ana: User, client_of: ClientOf) -> None:
    answer = client_of(ana).post("/api/recipes", {}, format="json")
    assert answer.status_code == 400
    assert set(answer.json()["details"]) == {"name", "method"}
    least = client_of(ana).post("/api/recipes", {"name": "x", "method": "full"}, format="json")
    assert (least.status_code, least.json()["display_name"]) == (201, "x")


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"defaults": {"train": {"max_step": 1}}}, "defaults.train.max_step", "no such setting"),
        ({"defaults": {"lora": {"rank": 1}}}, "defaults.lora.rank", "no such setting"),
        ({"defaults": {"resources": {}}}, "defaults.resources", "There are: lora, train"),
        ({"defaults": {"train": {"max_steps": 0}}}, "defaults.train.max_steps", "greater than"),
        (
            {"defaults": {"train": {"learning_rate": "nan"}}},
            "defaults.train.learning_rate",
            "valid number",
        ),
        ({"defaults": {"lora": {"target_modules": ["\0"]}}}, "defaults", "NUL"),
        ({"defaults": []}, "defaults", "Expected a dictionary"),
        ({"method": "full"}, "defaults.lora", "has no LoRA settings"),
        ({"method": "magic"}, "method", "not a valid choice"),
        ({"name": "two words"}, "name", "valid"),
        ({"project_id": "x"}, "project_id", "valid UUID"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(
    ana: User, client_of: ClientOf, changes: dict[str, Any], field: str, words: str
) -> None:
    answer = make(client_of(ana), **changes)
    assert answer.status_code == 400
    assert words in answer.json()["details"][field], answer.json()
    assert not Recipe.objects.filter(built_in=False).exists()


def test_a_name_is_given_once_in_a_project(ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    assert make(client, name="lora").status_code == 201  # the shared one is another one
    again = make(client, name="lora")
    assert again.status_code == 400
    assert again.json()["details"] == {"name": "There is a recipe 'lora' already."}
    other = make_recipe()
    assert patch(client, other, name="lora").status_code == 400
    assert patch(client, other, name=other.name).status_code == 200


def test_only_staff_writes_shared_ones(ana: User, root: User, client_of: ClientOf) -> None:
    assert make(client_of(ana), project_id=None).status_code == 403
    shared = make(client_of(root), project_id=None)
    assert shared.status_code == 201
    recipe = Recipe.objects.get(pk=shared.json()["id"])
    assert client_of(ana).get(f"/api/recipes/{recipe.pk}").status_code == 200
    assert patch(client_of(ana), recipe, description="mine").status_code == 403
    assert patch(client_of(root), recipe, description="ours").status_code == 200


def test_those_that_ship_stay_as_they_are(root: User, ana: User, client_of: ClientOf) -> None:
    recipe, client = built_in(), client_of(root)
    for answer in (
        patch(client, recipe, description="x"),
        client.delete(f"/api/recipes/{recipe.pk}"),
    ):
        assert answer.status_code == 409
        assert answer.json()["error"].startswith("'LoRA' comes with the platform and stays")
    assert patch(client_of(ana), recipe, description="x").status_code == 403
    assert client_of(ana).delete(f"/api/recipes/{recipe.pk}").status_code == 403
    recipe.refresh_from_db()
    assert recipe.description != "x"


def test_a_stranger_sees_nothing_and_a_viewer_changes_nothing(
    stranger: User, viewer: User, client_of: ClientOf
) -> None:
    recipe = make_recipe()
    for client, expected in ((client_of(stranger), 404), (client_of(viewer), 403)):
        assert patch(client, recipe, description="x").status_code == expected
        assert client.delete(f"/api/recipes/{recipe.pk}").status_code == expected
        assert client.post(f"/api/recipes/{recipe.pk}/clone").status_code == expected
    assert client_of(stranger).get(f"/api/recipes/{recipe.pk}/versions").status_code == 404
    assert make(client_of(viewer)).status_code == 403
    assert make(client_of(stranger)).status_code == 403


def test_a_change_of_what_it_does_is_another_version(ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    first = {"train": {"learning_rate": 1e-4}}
    recipe = make_recipe(defaults=first)
    changed = patch(client, recipe, defaults={"train": {"learning_rate": 1e-5}}).json()
    assert (changed["version"], changed["defaults"]) == (2, {"train": {"learning_rate": 1e-5}})
    assert patch(client, recipe, method="qlora").json()["version"] == 3
    versions = client.get(f"/api/recipes/{recipe.pk}/versions").json()
    assert versions["total"] == 2
    assert [(row["version"], row["method"]) for row in versions["versions"]] == [
        (2, "lora"),
        (1, "lora"),
    ]
    assert versions["versions"][1]["defaults"] == first


def test_other_words_about_it_are_not(ana: User, client_of: ClientOf) -> None:
    client, recipe = client_of(ana), make_recipe(defaults={"lora": {"r": 8}})
    answer = patch(client, recipe, description="Better said.", defaults={"lora": {"r": 8}})
    assert (answer.json()["version"], answer.json()["description"]) == (1, "Better said.")
    assert client.get(f"/api/recipes/{recipe.pk}/versions").json()["versions"] == []


def test_the_version_is_not_written_by_hand(ana: User, client_of: ClientOf) -> None:
    recipe = make_recipe()
    assert patch(client_of(ana), recipe, version=7, built_in=True).json()["version"] == 1
    recipe.refresh_from_db()
    assert not recipe.built_in


def test_a_recipe_stays_in_its_project(ana: User, root: User, client_of: ClientOf) -> None:
    recipe = make_recipe()
    answer = patch(client_of(root), recipe, project_id=None)
    assert answer.status_code == 400
    assert "Clone it" in answer.json()["details"]["project_id"]
    same = patch(client_of(root), recipe, project_id=str(recipe.project_id))
    assert same.status_code == 200


def test_a_clone_can_be_changed_and_its_original_stays(ana: User, client_of: ClientOf) -> None:
    client, original = client_of(ana), built_in()
    first = client.post(f"/api/recipes/{original.pk}/clone")
    assert first.status_code == 201, first.json()
    copy = first.json()
    assert (copy["name"], copy["display_name"]) == ("lora-copy", "LoRA (copy)")
    assert (copy["built_in"], copy["version"]) == (False, 1)
    assert copy["defaults"] == original.defaults
    second = client.post(f"/api/recipes/{original.pk}/clone").json()
    assert second["name"] == "lora-copy-2"
    assert patch(client, Recipe.objects.get(pk=copy["id"]), method="qlora").status_code == 200
    assert built_in().method == "lora"


def test_a_clone_takes_the_name_and_project_it_is_given(
    ana: User, root: User, client_of: ClientOf
) -> None:
    path = f"/api/recipes/{built_in().pk}/clone"
    body = {"name": "ours", "display_name": "Ours", "project_id": None}
    assert client_of(ana).post(path, body, format="json").status_code == 403
    copy = client_of(root).post(path, body, format="json").json()
    assert (copy["name"], copy["display_name"], copy["project_id"]) == ("ours", "Ours", None)
    taken = client_of(root).post(path, body, format="json")
    assert taken.status_code == 400
    unknown = client_of(root).post(path, {"title": "x"}, format="json")
    assert "no such setting" in unknown.json()["details"]["title"]


def test_one_that_is_in_use_is_not_deleted(ana: User, client_of: ClientOf) -> None:
    client, recipe = client_of(ana), make_recipe()
    experiment = make_experiment(recipe=recipe)
    refused = client.delete(f"/api/recipes/{recipe.pk}")
    assert refused.status_code == 409
    assert "Still in use by experiment" in refused.json()["error"]
    experiment.delete()
    assert client.delete(f"/api/recipes/{recipe.pk}").status_code == 204
    assert not Recipe.objects.filter(pk=recipe.pk).exists()


def test_the_list_costs_the_same_queries_however_long_it_is(
    ana: User, client_of: ClientOf, django_assert_num_queries: Any
) -> None:
    for _ in range(12):
        make_recipe()
    client = client_of(ana)
    client.get("/api/recipes")
    with django_assert_num_queries(4):  # session, user, count, rows
        client.get("/api/recipes")
