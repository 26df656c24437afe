"""The lists of a large registry: what the database is asked, and that the word index is true."""

from __future__ import annotations

import re

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from registry import search
from registry.hub.forms import TransfersAsked
from registry.models import BaseModel, Dataset, Transfer
from registry.selector import DatasetsAsked, ModelsAsked
from tests.factories import make_dataset, make_model


@pytest.fixture(params=["as it is", "row by row"])
def words(request, monkeypatch, db):
    """What is found is the same without the index: each of these tests runs twice."""
    if request.param == "row by row":
        monkeypatch.setattr(search, "_is_prepared", lambda using, table: False)


def names(api, query: str, path: str = "base-models") -> list[str]:
    body = api.get(f"/api/{path}?{query}").json()
    found = [row["name"] for row in body[next(iter(body))]]
    assert body["total"] == len(found)
    return sorted(found)


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize(
    "word", ["ghtinga", "NIGHTINGALE", "s in", "50%", "a_b", 'qu"ot', "O'N", "*"]
)
def test_a_part_of_a_word_is_found_as_it_stands(api, word: str):
    make_model(name="bird", description=r"""Nightingales in 50% of a_b, qu"oted, O'N \ *""")
    make_model(name="other", description="axb and 5000")
    assert names(api, f"search={word.replace('%', '%25')}") == ["bird"]


@pytest.mark.usefixtures("words")
def test_words_are_found_in_name_family_and_description_but_not_across_them(api):
    make_model(name="alpha", family="beta", description="gamma")
    assert names(api, "q=alpha") == names(api, "q=beta") == names(api, "q=gamma") == ["alpha"]
    assert names(api, "q=alphabeta") == names(api, "q=betagamma") == []


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("word", ["be", "b", "bet"])
def test_a_short_word_is_found_too(api, word: str):
    make_dataset(name="alphabet")
    make_dataset(name="other", description="")
    assert names(api, f"search={word}", "datasets") == ["alphabet"]


def test_the_index_follows_every_change(api):
    model = make_model(name="before")
    BaseModel.objects.filter(pk=model.pk).update(name="after")
    assert names(api, "q=before") == []
    assert names(api, "q=after") == ["after"]
    model.refresh_from_db()
    model.save()
    assert names(api, "q=after") == ["after"]
    model.delete()
    assert names(api, "q=after") == []
    BaseModel.objects.bulk_create([BaseModel(name="bulk one"), BaseModel(name="bulk two")])
    assert names(api, "q=bulk") == ["bulk one", "bulk two"]


def test_an_index_that_was_lost_is_made_again(api):
    make_model(name="early")
    lost = {
        "sqlite": "DROP TRIGGER registry_basemodel_words_insert",
        "postgresql": "DROP INDEX IF EXISTS registry_basemodel_words",
    }
    with connection.cursor() as cursor:
        cursor.execute(lost[connection.vendor])
    make_model(name="made meanwhile")
    search.prepare("default")
    assert names(api, "q=meanwhile") == ["made meanwhile"]
    assert names(api, "q=early") == ["early"]


def test_a_migrate_leaves_a_true_index_alone(db):
    with CaptureQueriesContext(connection) as asked:
        call_command("migrate", verbosity=0)
    assert not [query for query in asked if "_words" in query["sql"] and "CREATE" in query["sql"]]


@pytest.mark.parametrize(("model", "path"), [(BaseModel, "base-models"), (Dataset, "datasets")])
def test_the_page_is_chosen_before_its_rows_are_read(api, model, path):
    for make in (make_model, make_model, make_dataset, make_dataset):
        make()
    with CaptureQueriesContext(connection) as asked:
        body = api.get(f"/api/{path}?limit=1&offset=1").json()
    oldest = model.objects.order_by("created_at").first()
    assert [row["id"] for row in body[next(iter(body))]] == [str(oldest.pk)]
    (page,) = [query["sql"] for query in asked if "LIMIT 1 OFFSET 1" in query["sql"]]
    assert " IN (SELECT " in page


@pytest.mark.parametrize(
    "query",
    [
        "",
        "search=llama",
        "family=llama&stage=staging&trainable=true",
        "offset=2",
        "limit=2&offset=1",
    ],
)
@pytest.mark.parametrize("count", [3, 12])
def test_no_filter_costs_a_further_query(
    client_of, ana, query: str, count: int, django_assert_num_queries
):
    for _ in range(count):
        make_model()
    client = client_of(ana)
    client.get(f"/api/base-models?{query}")
    with django_assert_num_queries(4):  # session, user, count, rows
        client.get(f"/api/base-models?{query}")


def plan_of(rows) -> str:
    """Of the ids alone, as if the table were large."""
    if connection.vendor == "postgresql":  # it would rather read so small a table from end to end
        with connection.cursor() as cursor:
            for way in ("seqscan", "bitmapscan", "sort"):
                cursor.execute(f"SET LOCAL enable_{way} = off")
    return str(rows.values("pk").explain())


@pytest.mark.parametrize("filters", [{}, {"trainable": True, "modality": "text"}, {"family": "x"}])
def test_the_total_is_counted_in_the_index_alone(db, filters):
    plan = plan_of(BaseModel.objects.filter(**filters).order_by("-created_at", "-id"))
    assert re.search("COVERING INDEX basemodel_list|Index Only Scan using basemodel_list", plan)


@pytest.mark.parametrize(
    ("model", "filters", "asked"),
    [
        (BaseModel, {"family": "x", "stage": "staging"}, ModelsAsked),
        (
            Dataset,
            {"row_format": "text", "integrity_passed": True, "is_split": True},
            DatasetsAsked,
        ),
        (Transfer, {"kind": "hf_model"}, TransfersAsked),
    ],
)
def test_each_order_of_a_list_is_read_from_an_index_alone(db, model, filters, asked):
    for word, order in asked.orders.items():
        if connection.vendor == "postgresql" and word in ("parameters", "rows"):
            continue  # where what is not known comes last, it sorts
        plan = plan_of(model.objects.filter(**filters).order_by(*order))
        assert re.search(r"USING COVERING INDEX|Index Only Scan", plan), f"{word}: {plan}"
        assert not re.search(r"TEMP B-TREE|Sort Key", plan), f"{word}: {plan}"
