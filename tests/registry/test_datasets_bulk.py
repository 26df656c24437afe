"""What is done to several datasets at once, from their list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import Project, User
from registry import services
from registry.models import Dataset, DatasetTask
from tests import factories as make
from tests.pages import Page

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(ana: User) -> Client:
    client = Client()
    client.force_login(ana)
    return client


def tick(client: Client, do: str, *datasets: Dataset) -> str:
    ids = [str(dataset.pk) for dataset in datasets]
    return Page(client.post("/datasets/bulk", {"do": do, "dataset": ids}, follow=True)).words


def names() -> set[str]:
    return set(Dataset.objects.values_list("name", flat=True))


def test_one_that_is_in_use_stays_and_the_reason_is_named(client: Client) -> None:
    free, used = make.make_dataset(name="free"), make.make_dataset(name="used")
    make.make_experiment(dataset=used, name="dates again")
    words = tick(client, "delete", free, used)
    assert "'free 1.0' deleted." in words
    reason = "Still in use by experiment 'dates again'."
    assert f"Dataset 'used 1.0' stays as it is. {reason}" in words
    assert names() == {"used"}


@pytest.mark.usefixtures("home")
def test_files_that_were_registered_where_they_lie_stay(
    client: Client, root: User, project: Project, rows: Path
) -> None:
    dataset = services.register_dataset(
        user=root, project=project, name="dates", storage_path=str(rows)
    )
    tick(client, "delete", dataset)
    assert names() == set()
    assert (rows / "train.jsonl").exists()


def test_rows_are_read_again_by_a_worker(client: Client) -> None:
    dataset = make.make_dataset(storage_path="/somewhere", columns={"text": "body"})
    words = tick(client, "check", dataset, make.make_dataset(name="empty"))
    assert f"'{dataset}' to be read by a worker." in words
    assert "Dataset 'empty 1.0' has no files here that could be read." in words
    [task] = DatasetTask.objects.all()
    assert (task.dataset, task.kind) == (dataset, "check")
    assert task.options == {"columns": {"text": "body"}}
    dataset.refresh_from_db()
    assert not dataset.integrity_checked


def test_one_is_deleted_from_its_page(client: Client, viewer: User) -> None:
    dataset = make.make_dataset()
    page = Page(client.get(f"/datasets/{dataset.pk}"))
    page.check_outline()
    [form] = page.forms_to("/datasets/bulk")
    assert "Delete this dataset?" in str(form["data-confirm"])
    other = Client()
    other.force_login(viewer)
    assert not Page(other.get(f"/datasets/{dataset.pk}")).forms_to("/datasets/bulk")


def test_the_list_does_not_ask_for_each_row(client: Client, django_assert_num_queries: Any) -> None:
    for _ in range(2):
        make.make_dataset()
        with django_assert_num_queries(7):
            client.get("/datasets")
