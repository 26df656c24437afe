"""Totals and pages of the lists are remembered, and whoever has just changed something sees it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import changes
from accounts.models import User
from activity import reading
from activity.models import Activity
from tests import factories as make
from tests.pages import Page
from training.apps import LISTED
from training.models import Job, Status

pytestmark = pytest.mark.django_db(transaction=True)

LISTS = ("/", "/jobs", "/experiments", "/recipes", "/transfers", "/storage", "/activity")


@pytest.fixture
def words_of(ana: User) -> Any:
    """``words_of("/jobs")``: what Ana reads there, asked for twice: the second is remembered."""
    client = Client()
    client.force_login(ana)

    def words(address: str) -> str:
        client.get(address)
        return Page(client.get(address)).words

    return words


def test_a_job_that_was_just_made_moved_or_renamed_is_shown_so(words_of: Any) -> None:
    assert "orchard" not in words_of("/jobs")
    job = make.make_job(name="orchard", status=Status.RUNNING)
    assert "orchard" in words_of("/jobs")
    assert "All 1 Running 1" in words_of("/jobs")
    Job.objects.filter(pk=job.pk).update(status=Status.PAUSED)
    assert "All 1 Paused 1" in words_of("/jobs")
    assert "orchard" not in words_of("/jobs?status=RUNNING")
    assert "orchard" in words_of("/jobs?q=orch")
    Job.objects.filter(pk=job.pk).update(name="meadow")
    assert "meadow" not in words_of("/jobs?q=orch")
    Job.objects.all().delete()
    assert "meadow" not in words_of("/jobs")


def test_a_model_that_was_just_renamed_finds_its_jobs(words_of: Any) -> None:
    model = make.make_model(name="orchard-7b")
    make.make_job(name="evening", experiment=make.make_experiment(base_model=model))
    assert "evening" in words_of("/jobs?q=orchard")
    model.name = "meadow-7b"
    model.save()
    assert "evening" not in words_of("/jobs?q=orchard")
    assert "evening" in words_of("/jobs?q=meadow")


@pytest.mark.parametrize("address", ["/", "/experiments", "/recipes", "/transfers", "/storage"])
def test_what_was_just_made_is_on_the_page(words_of: Any, home: Any, address: str) -> None:
    before = words_of(address)
    make.make_dataset(name="orchard", storage_path=str(home / "datasets" / "d"))
    make.make_experiment(name="orchard")
    make.make_recipe(display_name="orchard")
    make.make_transfer(hf_repo_id="ana/orchard")
    assert words_of(address) != before


def test_the_feed_has_what_was_just_said_and_what_was_just_read(words_of: Any, ana: User) -> None:
    assert "Bread" not in words_of("/activity?unread=on")
    said = make.make_activity(title="Bread is ready")
    assert "Bread" in words_of("/activity?unread=on")
    assert "Bread" in words_of("/activity?q=bread")
    reading.mark(Activity.objects.filter(pk=said.pk), ana)
    assert "Bread" not in words_of("/activity?unread=on")


def test_adapters_are_found_as_soon_as_they_are_there(words_of: Any) -> None:
    assert "1 adapter" not in words_of("/models?q=orch")
    adapter = make.make_adapter(name="orchard-lora")
    assert "1 adapter" in words_of("/models?q=orch")
    adapter.delete()
    assert "1 adapter" not in words_of("/models?q=orch")


def test_the_progress_of_a_job_is_no_change_of_the_lists(db: None) -> None:
    job = make.make_job(status=Status.RUNNING)
    before = changes.state("training_job")
    Job.objects.filter(pk=job.pk).update(step=7, last_metrics={"loss": 1.0})
    assert changes.state("training_job") == before
    for column in LISTED:
        known = changes.state("training_job")
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE training_job SET {column} = {column}")
        assert changes.state("training_job") != known, column


def test_nothing_is_counted_twice(ana: User) -> None:
    make.make_job()
    client = Client()
    client.force_login(ana)
    for address in (
        *("/", "/jobs", "/experiments", "/recipes"),
        "/transfers",
        "/storage",
        "/activity",
    ):
        client.get(address)
        with CaptureQueriesContext(connection) as asked:
            client.get(address)
        counts = [one["sql"] for one in asked if "GROUP BY" in one["sql"] or "COUNT(" in one["sql"]]
        others = [sql for sql in counts if "accounts_change" not in sql and "cursor" not in sql]
        assert not others, address
