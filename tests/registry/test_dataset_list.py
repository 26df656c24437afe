"""Finding a dataset: words, filters that look into its statistics, orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from registry.models import Dataset
from tests import factories as make
from tests.pages import Page
from tests.registry.files import write_rows

pytestmark = pytest.mark.django_db
FRUIT = ("apple", "pear", "plum")


@pytest.fixture
def shown(ana: User) -> Any:
    """``shown("sort=name")``: the names on the page, in its order."""
    client = Client()
    client.force_login(ana)

    def names(query: str, address: str = "/datasets") -> list[str]:
        page = Page(client.get(f"{address}?{query}"))
        page.check_outline()
        return sorted((n for n in FRUIT if n in page.words), key=page.words.find)

    return names


@pytest.fixture
def fruit() -> None:
    make.make_dataset(
        name="pear",
        num_samples=10,
        size_bytes=3,
        statistics={"row_format": "messages", "splits": ["train", "test"]},
    )
    make.make_dataset(
        name="apple",
        num_samples=20,
        size_bytes=2,
        integrity_passed=False,
        statistics={"row_format": "text", "splits": ["train"]},
    )
    make.make_dataset(
        name="plum",
        num_samples=None,
        size_bytes=1,
        modality="image",
        integrity_checked=False,
        integrity_passed=False,
    )


@pytest.mark.usefixtures("fruit")
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["plum", "apple", "pear"]),
        ("q=EA", ["pear"]),
        ("row_format=text", ["apple"]),
        ("is_split=true", ["pear"]),
        ("is_split=false", ["plum", "apple"]),
        ("check=passed", ["pear"]),
        ("check=errors", ["apple"]),
        ("check=none", ["plum"]),
        ("modality=image", ["plum"]),
        ("modality=text&check=errors&row_format=text", ["apple"]),
        ("check=none&row_format=text", []),
        ("sort=oldest", ["pear", "apple", "plum"]),
        ("sort=name", ["apple", "pear", "plum"]),
        ("sort=rows", ["apple", "pear", "plum"]),
        ("sort=size&modality=text", ["pear", "apple"]),
    ],
)
def test_datasets_are_narrowed_and_sorted(shown: Any, query: str, names: list[str]) -> None:
    assert shown(query) == names


@pytest.mark.parametrize("query", ["check=maybe", "row_format=poem", "is_split=1", "sort=colour"])
def test_what_cannot_be_asked_is_a_bad_request(ana: User, query: str) -> None:
    client = Client()
    client.force_login(ana)
    assert client.get(f"/datasets?{query}").status_code == 400


@pytest.mark.usefixtures("fruit")
def test_the_api_filters_alike(api: Any) -> None:
    for query, names in {
        "row_format=text": ["apple"],
        "is_split=true": ["pear"],
        "integrity_passed=true": ["pear"],
        "integrity_checked=false": ["plum"],
    }.items():
        rows = api.get(f"/api/datasets?{query}").json()["datasets"]
        assert [row["name"] for row in rows] == names


def test_a_check_writes_what_lists_are_narrowed_by(api: Any, rows: Path) -> None:
    body = {"name": "dates", "storage_path": str(rows)}
    created = api.post("/api/datasets", body, format="json")
    dataset = Dataset.objects.get(pk=created.json()["id"])
    assert (dataset.row_format, dataset.is_split) == ("prompt_completion", True)
    (rows / "validation.jsonl").unlink()
    write_rows(rows / "train.jsonl", [{"text": f"the day {number}"} for number in range(9)])
    api.post(f"/api/datasets/{dataset.pk}/check", {}, format="json")
    dataset.refresh_from_db()
    assert (dataset.row_format, dataset.is_split) == ("text", False)
