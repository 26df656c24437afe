"""Pages of models, adapters and datasets."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import User
from tests import factories as make
from tests.pages import Page


@pytest.fixture
def page_of(ana: User) -> Any:
    client = Client()
    client.force_login(ana)

    def get(address: str) -> Page:
        response = client.get(address, follow=True)
        assert response.status_code == 200
        page = Page(response)
        page.check_outline()
        return page

    return get


@pytest.mark.parametrize("address", ["/models", "/datasets"])
def test_an_empty_list_says_how_to_begin(page_of: Any, address: str) -> None:
    assert "curl http://testserver/api/" in page_of(address).words


def test_models_are_listed_with_their_adapters_and_found_by_name(page_of: Any) -> None:
    base = make.make_model(name="orchard", params_b=7.0)
    make.make_adapter(base, name="cider")
    make.make_model(name="desert", family="mistral")
    words = page_of("/models").words
    assert "orchard LlamaForCausalLM 7 B" in words
    assert "cider orchard lora" in words
    assert "desert" not in page_of("/models?q=ORCH").words
    assert "desert" in page_of("/models?q=mistral").words


def test_a_model_page_shows_its_shape_and_leads_to_its_jobs(page_of: Any) -> None:
    job_id = uuid4()
    model = make.make_model(
        num_layers=4,
        metadata={"job_id": str(job_id), "job_name": "dates"},
        model_card="# Its <br> card",
    )
    page = page_of(f"/models/{model.pk}")
    assert "Layers 4" in page.words
    assert "Its card" in page.words
    links = {a["href"] for a in page.all("a")}
    assert {f"/jobs?model={model.pk}", f"/jobs/{job_id}"} <= links


def test_the_id_of_an_adapter_leads_to_its_page(page_of: Any) -> None:
    adapter = make.make_adapter(name="cider", target_modules=["q_proj"])
    page = page_of(f"/models/{adapter.pk}")
    assert "cider" in page.words
    assert 'On ["q_proj"]' in page.words
    assert f"/models/{adapter.base_model_id}" in {a["href"] for a in page.all("a")}


def test_a_dataset_page_names_the_rows_that_are_wrong(page_of: Any) -> None:
    finding = {
        "code": "empty_completion",
        "level": "error",
        "file": "train.jsonl",
        "line": 17,
        "field": "completion",
        "message": "Empty.",
        "fix": "Leave it out.",
    }
    dataset = make.make_dataset(
        integrity_passed=False,
        integrity_report={"findings": [finding] * 201, "errors": 1500, "warnings": 1},
        statistics={"rows": {"train": 90, "validation": 10}, "row_format": "prompt_completion"},
    )
    page = page_of(f"/datasets/{dataset.pk}")
    assert "Has errors" in page.words
    assert "1,500 errors, 1 warning; the first 200 are shown here" in page.words
    assert "train.jsonl 17 completion error Empty. Leave it out." in page.words
    assert len(page.all("tr")) == 201
    assert "of them train 90 of them validation 10" in page.words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"integrity_checked": False, "integrity_passed": False}, "have not been checked yet"),
        ({}, "Every row was read and is in order."),
        ({"integrity_passed": False}, "The check failed without naming a row."),
    ],
)
def test_a_dataset_without_findings_says_so(page_of: Any, fields: Any, words: str) -> None:
    assert words in page_of(f"/datasets/{make.make_dataset(**fields).pk}").words


def test_a_stranger_finds_nothing(stranger: User) -> None:
    adapter = make.make_adapter(name="a secret adapter")
    model = adapter.base_model
    dataset = make.make_dataset(name="a secret dataset")
    client = Client()
    client.force_login(stranger)
    for address in (f"models/{model.pk}", f"models/{adapter.pk}", f"adapters/{adapter.pk}"):
        assert client.get(f"/{address}").status_code == 404
    assert client.get(f"/datasets/{dataset.pk}").status_code == 404
    for address in ("/models", "/datasets"):
        assert "secret" not in client.get(address).content.decode()
        assert model.name not in client.get(address).content.decode()


@pytest.mark.parametrize(("address", "queries"), [("/models", 11), ("/datasets", 7)])
def test_a_list_asks_the_same_number_of_questions_however_long_it_is(
    ana: User, django_assert_num_queries: Any, address: str, queries: int
) -> None:
    client = Client()
    client.force_login(ana)
    for _ in range(2):
        make.make_adapter()
        make.make_dataset()
        with django_assert_num_queries(queries):
            client.get(address)
