"""What the pages suggest by themselves, what is folded away, and what preflight says of time and
disk."""

from __future__ import annotations

from typing import Any

import pytest

from tests import factories as make
from tests.training.wizard.conftest import ROWS, Walker
from training.models import Recipe
from training.wizard import defaults

pytestmark = pytest.mark.django_db
Answers = dict[str, dict[str, Any]]


def suggested(characters: int | None, recipe: str = "lora", **model: Any) -> Any:
    """The row length that follows from the longest row."""
    dataset = make.make_dataset(statistics={"max_characters": characters})
    found = defaults.suggestions(
        make.make_model(**{"context_length": 8192, **model}),
        dataset,
        Recipe.objects.get(name=recipe, project=None),
        {},
        [],
    )
    length = found.get("train.max_length")
    return (length.value, length.why) if length else None


@pytest.mark.parametrize(
    ("characters", "length"),
    [
        (1, 64),  # never shorter
        (64, 64),  # 32 tokens, and 32 for the template
        (66, 128),
        (448, 256),
        (450, 512),
        (960, 512),
        (962, None),  # 1,024, which is usual
        (0, None),
        (None, None),
    ],
)
def test_rows_that_are_short_are_not_padded_to_what_is_usual(
    characters: int | None, length: int | None
) -> None:
    found = suggested(characters)
    expected = (length, f"The longest row has {characters} characters.") if length else None
    assert found == expected


def test_nothing_is_suggested_beyond_what_the_model_reads() -> None:
    assert suggested(450, context_length=1024) == (512, "The longest row has 450 characters.")
    assert suggested(450, context_length=512) is None
    assert suggested(450, context_length=None) is not None


def test_nothing_is_suggested_where_rows_are_packed_or_the_recipe_says_it() -> None:
    assert suggested(90, "pretrain") is None
    for said in ({"packing": True}, {"max_length": 512}):
        recipe = make.make_recipe(defaults={"train": said})
        dataset = make.make_dataset(statistics={"max_characters": 90})
        found = defaults.suggestions(make.make_model(), dataset, recipe, {}, [])
        assert "train.max_length" not in found


def test_the_page_says_where_the_suggestion_comes_from(walker: Walker, answers: Answers) -> None:
    walker.walk_to("settings", answers)
    page = walker.see("settings")
    (length,) = [i for i in page.all("input") if i.get("name") == "train.max_length"]
    assert length["value"] == "128"
    assert f"The longest row has {ROWS['max_characters']} characters." in page.words


def folds(page: Any) -> list[bool]:
    """Of each part that is folded away in the form: does it stand open?"""
    return ["open" in one for one in page.all("details") if one.get("class") == "panel"]


def test_advanced_settings_are_folded_until_one_of_them_is_said_or_wrong(
    walker: Walker, answers: Answers
) -> None:
    walker.walk_to("settings", answers)
    assert folds(walker.see("settings")) == [False]
    walker.save("settings", {"train.learning_rate": "1e-4"})
    assert folds(walker.see("settings")) == [False]  # that one is not advanced
    walker.save("settings", {"train.weight_decay": "0.5"})
    assert folds(walker.see("settings")) == [True]
    walker.save("settings", {"train.weight_decay": ""})
    assert folds(walker.see("settings")) == [False]
    walker.save("settings", {"train.weight_decay": "heavy"})
    assert folds(walker.see("settings")) == [True]


def test_preflight_says_how_long_it_takes_and_how_much_disk(
    walker: Walker, answers: Answers
) -> None:
    make.make_worker("a-machine")
    walker.walk_to("preflight", answers)
    page = walker.see("preflight")
    words = page.words
    panel = words[words.index("Time and disk") :]
    for label in ("In all", "Steps 10", "A step", "Tokens per second", "Disk, at most"):
        assert label in panel, label
    tiles = panel[: panel.index("Estimates of this kind")]
    assert " ms " in tiles
    assert "–" not in tiles  # everything is known


def test_without_an_estimate_there_is_no_panel_of_numbers(walker: Walker, answers: Answers) -> None:
    unknown = make.make_model(name="unknown", hidden_size=None, num_layers=None, params_b=None)
    walker.walk_to("preflight", {**answers, "model": {"base_model_id": str(unknown.pk)}})
    assert "Time and disk" not in walker.see("preflight").words
