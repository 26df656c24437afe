"""Finding a base model: search, filters, chips, pages. The wizard shows the same cards."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from registry import selector
from tests import factories as make
from tests.pages import Page

pytestmark = pytest.mark.django_db


@pytest.fixture
def shown(ana: User) -> Any:
    """``shown("family=llama")``: the names on the page."""
    client = Client()
    client.force_login(ana)

    def names(query: str, **headers: str) -> set[str]:
        response = client.get(f"/models?{query}", headers=headers)
        assert response.status_code == 200
        page = Page(response)
        if not headers:
            page.check_outline()
        return {name for name in ("apple", "pear", "plum") if name in page.words}

    return names


def test_models_are_found_by_words_and_by_what_they_are(shown: Any) -> None:
    make.make_model(name="apple", family="llama", stage="production", description="sweet")
    make.make_model(name="pear", family="mistral", trainable=False)
    make.make_model(name="plum", family="vit", modality="image")
    assert shown("") == {"apple", "pear", "plum"}
    assert shown("q=APP") == {"apple"}
    assert shown("q=sweet") == {"apple"}
    assert shown("family=mistral") == {"pear"}
    assert shown("modality=image") == {"plum"}
    assert shown("stage=production") == {"apple"}
    assert shown("trainable=true") == {"apple", "plum"}
    assert shown("trainable=false&family=llama") == set()
    assert shown("q=&family=&modality=&stage=&trainable=") == {"apple", "pear", "plum"}


def test_models_are_sorted_as_one_likes(ana: User) -> None:
    for name, params, size in (("pear", 7.0, 2), ("apple", None, 3), ("plum", 70.0, 1)):
        make.make_model(name=name, params_b=params, size_bytes=size)
    orders = {
        "newest": ["plum", "apple", "pear"],
        "oldest": ["pear", "apple", "plum"],
        "name": ["apple", "pear", "plum"],
        "parameters": ["plum", "pear", "apple"],
        "size": ["apple", "pear", "plum"],
    }
    assert list(selector.ModelsAsked.orders) == list(orders)
    for sort, names in orders.items():
        assert [str(one) for one in selector.models(ana, {"sort": sort})["page"]] == names


@pytest.mark.parametrize(
    "query",
    ["modality=smell", "stage=green", "trainable=perhaps", "q=%00", "sort=colour"],
)
def test_a_filter_that_cannot_be_is_a_bad_request(ana: User, query: str) -> None:
    client = Client()
    client.force_login(ana)
    assert client.get(f"/models?{query}").status_code == 400


def test_the_chips_say_what_a_model_is(ana: User) -> None:
    make.make_model(
        name="apple", dtype="int4", params_b=7, quantized=True, trainable=False, status="broken"
    )
    client = Client()
    client.force_login(ana)
    words = Page(client.get("/models")).words
    assert "7 B int4 llama Staging Broken not trainable servable quantized" in words


def test_pages_keep_what_was_asked(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(selector.CARDS_A_PAGE + 1):
        make.make_model(family="llama")
    client = Client()
    client.force_login(ana)
    page = Page(client.get("/models?family=llama"))
    assert f"{selector.CARDS_A_PAGE + 1} base models" in page.words
    (further,) = [a["href"] for a in page.all("a") if a.get("rel") == "next"]
    assert further == "/models?family=llama&page=2"


def test_a_script_gets_the_cards_alone(ana: User) -> None:
    make.make_model(name="apple")
    client = Client()
    client.force_login(ana)
    part = client.get("/models?q=app", headers={"HX-Request": "true"}).content.decode()
    assert "apple" in part
    assert "<html" not in part
    assert 'role="search"' not in part


def test_nothing_found_and_nothing_there_are_two_things(ana: User) -> None:
    client = Client()
    client.force_login(ana)
    for path in ("/models", "/models?q=x", "/jobs/new"):  # where trainable ones are asked for
        page = Page(client.get(path, follow=True))
        assert "No model yet." in page.words
        led_to = {attrs.get("href") for tag, attrs in page.tags if tag == "a"}
        assert {"/transfers/new?kind=hf_model", "/models/upload", "/models/new"} <= led_to
    make.make_model(name="y", trainable=False)
    for path in ("/models?q=x", "/jobs/new"):
        assert "No base model is like that." in Page(client.get(path, follow=True)).words


@pytest.mark.parametrize(("number", "shown"), [("2", "2"), ("9", "2"), ("-1", "1"), ("x", "1")])
def test_a_page_that_is_not_there_is_the_nearest_one(ana: User, number: str, shown: str) -> None:
    for _ in range(3):
        make.make_model()
    page = selector.models(ana, {"page": number}, size=2)["page"]
    assert (str(page.number), len(page)) == (shown, 1 if shown == "2" else 2)


@pytest.mark.django_db(transaction=True)
def test_what_is_remembered_is_forgotten_when_a_model_changes(ana: User) -> None:
    make.make_model(name="apple", family="malus")
    for _ in range(2):
        found = selector.models(ana, {})
        assert [str(one) for one in found["page"]] == ["apple"]
        assert selector.families(ana) == ["malus"]
    make.make_model(name="pear", family="pyrus")
    found = selector.models(ana, {})
    assert [str(one) for one in found["page"]] == ["pear", "apple"]
    assert selector.families(ana) == ["malus", "pyrus"]


def test_adapters_are_found_by_the_same_words(shown: Any) -> None:
    base = make.make_model(name="quince")
    make.make_adapter(base, name="apple-lora", description="sweet")
    make.make_adapter(base, name="pear-lora")
    assert shown("") == {"apple", "pear"}
    assert shown("q=APPLE") == {"apple"}
    assert shown("q=sweet", **{"HX-Request": "true"}) == {"apple"}
    assert shown("q=plum") == set()


def test_adapters_have_pages_of_their_own(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selector, "ADAPTERS_A_PAGE", 2)
    base = make.make_model(name="quince")
    for name in ("apple", "pear", "plum"):
        make.make_adapter(base, name=f"{name}-lora")
    client = Client()
    client.force_login(ana)
    page = Page(client.get("/models?q=lora"))
    assert "3 adapters with “lora”, newest first" in page.words
    assert "apple" not in page.words
    (further,) = [a["href"] for a in page.all("a") if a.get("rel") == "next"]
    assert further == "/models?q=lora&adapters=2#adapters"
    assert "apple" in Page(client.get("/models?q=lora&adapters=2")).words
