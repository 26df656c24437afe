"""A dataset's rows through a model's chat template, and its lengths in the model's tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from registry.models import BaseModel, Dataset
from tests.factories import make_dataset, make_model
from tests.pages import Page
from tests.registry.files import write_rows
from tests.training.trainer import tiny
from training import dataset_rows

pytestmark = pytest.mark.django_db
ROWS = [
    {"messages": [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c d"}]},
    {"messages": [{"role": "user", "content": "only asked"}]},
]


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.make_tokenizer(bos_token="<eos>").save_pretrained(folder)
    return folder


@pytest.fixture
def model(tokenizer_folder: Path) -> BaseModel:
    return make_model(storage_path=str(tokenizer_folder), context_length=64)


@pytest.fixture
def client(client_of: Any, ana: Any) -> APIClient:
    made: APIClient = client_of(ana)
    return made


def dataset_of(folder: Path, *rows: Any, **fields: Any) -> Dataset:
    write_rows(folder / "train.jsonl", list(rows))
    facts = {"splits": ["train"], "row_format": "messages", **fields.pop("statistics", {})}
    return make_dataset(storage_path=str(folder), statistics=facts, checksum="c" * 64, **fields)


def test_rows_are_shown_with_what_is_learned(
    client: APIClient, model: BaseModel, tmp_path: Path
) -> None:
    dataset = dataset_of(tmp_path, *ROWS)
    body = client.get(f"/api/datasets/{dataset.pk}/preview?model={model.pk}").json()
    assert (body["model_id"], body["problem"]) == (str(model.pk), "")
    first, second = body["rows"]
    assert (first["where"], first["kind"]) == ("train.jsonl, line 1", "messages")
    learned = "".join(piece["text"] for piece in first["pieces"] if piece["how"] == "learned")
    read = "".join(piece["text"] for piece in first["pieces"] if piece["how"] == "read")
    assert "c d" in learned
    assert "a b" in read
    assert first["learned"] > 0
    assert second["learned"] == 0
    cut = client.get(f"/api/datasets/{dataset.pk}/preview?model={model.pk}&max_length=3").json()
    assert [piece["how"] for piece in cut["rows"][0]["pieces"]][-1] == "cut"
    assert cut["rows"][0]["learned"] == 0
    later = client.get(f"/api/datasets/{dataset.pk}/preview?first=1&count=5").json()
    assert [row["where"] for row in later["rows"]] == ["train.jsonl, line 2"]
    assert later["rows"][0]["pieces"][0]["text"].startswith("messages: [{")


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, ["chosen", "rejected"]),
        ({"prompt": "a", "completion": "b", "label": True}, [""]),
        ({"prompt": "a", "completion": "b"}, [""]),
        ({"text": "a b"}, [""]),
        ({"text": "a b", "label": "x"}, [""]),
        ({"chosen": ROWS[0]["messages"], "rejected": ROWS[0]["messages"]}, ["chosen", "rejected"]),
    ],
)
def test_every_kind_of_row_is_shown(
    model: BaseModel, tmp_path: Path, row: dict[str, Any], parts: list[str]
) -> None:
    shown = dataset_rows.preview(dataset_of(tmp_path, row), model)
    assert shown["problem"] == ""
    assert [one["part"] for one in shown["rows"]] == parts
    assert all(one["learned"] and not one["problem"] for one in shown["rows"])


def test_what_cannot_be_shown_is_said(model: BaseModel, tmp_path: Path) -> None:
    bad = dataset_rows.preview(dataset_of(tmp_path, ROWS[0], "nonsense"), model)
    assert len(bad["rows"]) == 1
    assert "train.jsonl, line 2: not JSON" in bad["problem"]
    foreign = dataset_of(tmp_path, ROWS[0], statistics={"layout": "sharegpt"})
    assert "make a repaired copy" in dataset_rows.preview(foreign, model)["problem"]
    assert "no rows of text" in dataset_rows.preview(make_dataset(), model)["problem"]
    nowhere = make_model(storage_path=str(tmp_path))
    assert "no tokenizer.json" in dataset_rows.preview(dataset_of(tmp_path), nowhere)["problem"]


def test_lengths_say_what_is_cut_at_each_limit(
    client: APIClient, model: BaseModel, tmp_path: Path
) -> None:
    rows = [{"prompt": "a " * 300, "completion": "b"}, {"prompt": "a", "completion": "b " * 20}]
    dataset = dataset_of(tmp_path, *rows, statistics={"row_format": "prompt_completion"})
    body = client.get(f"/api/datasets/{dataset.pk}/lengths?model={model.pk}").json()
    assert (body["basis"], body["rows"]) == ("counted", 2)
    assert sum(rows for _, rows in body["lengths"]) == 2
    limits = {one["max_length"]: one for one in body["limits"]}
    assert limits[64]["truncated"] == limits[64]["nothing_to_learn"] == 0.5
    assert 0 < limits[64]["tokens_lost"] < 1
    last = body["limits"][-1]
    assert (last["truncated"], last["tokens_lost"], last["nothing_to_learn"]) == (0, 0, 0)
    nobody = client.get(f"/api/datasets/{dataset.pk}/lengths").json()
    assert (nobody["basis"], nobody["limits"]) == (None, [])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("model=nonsense", "model"),
        ("model=c9a8f6a4-2a4e-4a39-8a36-5a1f0b1f3a55", "model"),
        ("split=all", "split"),
        ("count=-1", "count"),
        ("max_length=x", "max_length"),
    ],
)
def test_what_cannot_be_asked_is_refused(client: APIClient, query: str, field: str) -> None:
    answer = client.get(f"/api/datasets/{make_dataset().pk}/preview?{query}")
    assert (answer.status_code, list(answer.json()["details"])) == (400, [field])


def test_the_page_shows_rows_and_lengths(
    client: APIClient, model: BaseModel, tmp_path: Path, ana: Any, stranger: Any
) -> None:
    dataset = dataset_of(tmp_path, *ROWS)
    browser = Client()
    browser.force_login(ana)
    page = Page(browser.get(f"/datasets/{dataset.pk}/tokens?max_length=64"))
    page.check_outline()
    assert "c d" in page.words
    assert "Nothing is learned from this row when it is cut at 64 tokens." in page.words
    assert "What becomes of the rows at each length" in page.words
    part = browser.get(f"/datasets/{dataset.pk}/tokens?first=1", headers={"hx-request": "true"})
    assert "<html" not in part.content.decode()
    assert "train.jsonl, line 2" in part.content.decode()
    browser.force_login(stranger)
    assert browser.get(f"/datasets/{dataset.pk}/tokens").status_code == 404


def test_without_a_model_the_page_says_what_it_would_show(
    client: APIClient, tmp_path: Path, ana: Any
) -> None:
    browser = Client()
    browser.force_login(ana)
    page = Page(browser.get(f"/datasets/{dataset_of(tmp_path, *ROWS).pk}/tokens"))
    assert "With a base model in the registry" in page.words
    assert "only asked" in page.words


def test_the_page_marks_what_is_learned_only_read_and_cut(
    model: BaseModel, tmp_path: Path, ana: Any
) -> None:
    dataset = dataset_of(tmp_path, *ROWS)
    client = Client()
    client.force_login(ana)

    def pieces(query: str) -> list[str]:
        """How each piece of the rows is marked; what the marks mean stands before them."""
        page = Page(client.get(f"/datasets/{dataset.pk}/tokens?model={model.pk}{query}"))
        page.check_outline()
        return [str(s["data-how"]) for s in page.all("span") if s.get("class") == "piece"]

    legend = ["learned", "read"]
    whole = pieces("")
    assert whole[:2] == legend
    assert set(whole[2:]) == {"learned", "read"}
    cut = pieces("&max_length=3")
    assert cut[:3] == [*legend, "cut"]
    assert "learned" not in cut[3:]
    assert "cut" in cut[3:]
    page = Page(client.get(f"/datasets/{dataset.pk}/tokens?model={model.pk}&max_length=3"))
    assert "Nothing is learned from this row when it is cut at 3 tokens." in page.words
    chosen = [o["value"] for o in page.all("option") if "selected" in o]
    assert chosen == [str(model.pk), "3"]  # though nobody would be offered that length
