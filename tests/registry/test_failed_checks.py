"""A check of a model's files that comes to no result ends in something that a person sees."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.test import Client
from django.utils import timezone

from accounts.models import Project, User
from activity.models import Activity
from registry import model_checks, services, tasks, verification
from registry.compatibility import compatibility
from registry.inspect import folder
from registry.models import BaseModel
from tests.factories import make_dataset
from tests.pages import Page
from training import checking

Messages = list[tuple[str, int]]


@pytest.fixture
def model(root: User, project: Project, tiny: Path) -> BaseModel:
    return services.register_model(user=root, project=project, name="tiny", storage_path=str(tiny))


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Messages:
    """What the workers are told."""
    sent: Messages = []
    monkeypatch.setattr(
        model_checks, "_wake", lambda model: sent.append((str(model.pk), model.check_attempt))
    )
    return sent


@pytest.fixture
def ana_on(ana: User) -> Client:
    client = Client()
    client.force_login(ana)
    return client


def stumble(*args: Any, **more: Any) -> None:
    raise KeyError("vocab")


def as_if_silent() -> None:
    BaseModel.objects.update(check_heard_at=timezone.now() - timedelta(hours=1))


def state(model: BaseModel) -> tuple[str, int, bool]:
    model.refresh_from_db()
    return model.status, model.check_attempt, model.check_heard_at is not None


def failed(model: BaseModel) -> dict[str, str]:
    model.refresh_from_db()
    assert model.failed_check is not None
    return model.failed_check


@pytest.fixture(params=["at once", "by a worker"])
def check(request: Any, messages: Messages) -> Callable[[BaseModel], None]:
    def by_a_worker(model: BaseModel) -> None:
        model_checks.request(model)
        tasks.check_model(*messages.pop())

    return by_a_worker if request.param == "by a worker" else model_checks.check


@pytest.mark.django_db
def test_what_nobody_had_foreseen_breaks_the_model_and_is_said(
    ana_on: Client, model: BaseModel, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(folder, "read_tokenizer", stumble)
        check(model)
    assert state(model)[::2] == ("broken", False)
    found = ana_on.get(f"/api/base-models/{model.pk}/check").json()
    assert found["failed_check"]["code"] == "could_not_be_read"
    assert found["file_problems"] == ["Its files could not be read: KeyError: 'vocab'"]
    page = Page(ana_on.get(f"/models/{model.pk}"))
    page.check_outline()
    assert "Its files could not be checked Its files could not be read: KeyError" in page.words
    assert "not those that were registered" not in page.words
    [line] = Activity.objects.filter(metadata__action="check_failed")
    assert (line.title, line.status) == ("Model could not be checked: tiny", "error")
    assert (line.entity_id, line.project_id) == (model.pk, model.project_id)
    assert compatibility(make_dataset(), model)["errors"] == [
        "The model 'tiny' is broken: Its files could not be read: KeyError: 'vocab'"
    ]
    [problem] = [one for one in checking.model_facts(model).problems if "KeyError" in one]
    assert "Put the files back" not in problem
    check(model)
    assert state(model) == ("active", 0, False)
    assert (model.failed_check, model.file_problems) == (None, [])


@pytest.mark.django_db
def test_that_its_files_are_the_same_does_not_make_it_whole(
    model: BaseModel, check: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(folder, "read_tokenizer", stumble)
        check(model)
    said = failed(model)["message"]
    assert verification.verify(model) == [said]
    assert verification.verify(model, thorough=True) == [said]
    assert state(model)[0] == "broken"
    (tiny / "config.json").unlink()
    check(model)
    assert state(model)[0] == "broken"
    assert (model.failed_check, model.file_problems) == (None, ["config.json is missing."])


@pytest.mark.django_db
def test_the_message_of_a_page_says_why(
    ana_on: Client, model: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "read_tokenizer", stumble)
    page = Page(ana_on.post(f"/models/{model.pk}/check", follow=True))
    assert page.words.count("Its files could not be read: KeyError: 'vocab'") == 2


@pytest.mark.django_db
def test_trouble_of_the_database_says_nothing_of_the_files(
    model: BaseModel, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*args: Any, **more: Any) -> None:
        raise DatabaseError("database is locked")

    model_checks.request(model)
    monkeypatch.setattr(verification, "settle", locked)
    with pytest.raises(DatabaseError):
        tasks.check_model(*messages[0])
    assert state(model) == ("active", 1, True)


@pytest.mark.django_db
def test_of_two_messages_one_is_heard_and_who_lost_the_check_stops(
    model: BaseModel, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_checks.request(model)
    real = verification.problems

    def slowly(*args: Any, **more: Any) -> list[str]:
        tasks.check_model(*messages[0])  # the same message once more
        assert state(model) == ("active", 1, True)
        as_if_silent()
        model_checks.reconcile()
        monkeypatch.setattr(verification, "problems", real)
        tasks.check_model(*messages[1])
        assert state(model) == ("active", 0, False)
        more["meanwhile"]()
        raise AssertionError("it goes on")

    monkeypatch.setattr(verification, "problems", slowly)
    tasks.check_model(*messages[0])
    assert [attempt for _, attempt in messages] == [0, 1]
    assert state(model) == ("active", 0, False)


@pytest.mark.django_db(transaction=True)
def test_a_check_that_kills_its_worker_each_time_is_begun_three_times(
    ana_on: Client, model: BaseModel, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_checks.request(model)
    with monkeypatch.context() as deadly:
        deadly.setattr(folder, "read_tokenizer", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        for attempt in range(model_checks.MOST_ATTEMPTS):
            in_a_worker(lambda: tasks.check_model(*messages[-1]))
            assert state(model) == ("active", attempt + 1, True)
            as_if_silent()
            model_checks.reconcile()
    assert [attempt for _, attempt in messages] == [0, 1, 2]  # nobody is asked a fourth time
    assert state(model) == ("broken", 3, False)
    assert failed(model)["code"] == "check_did_not_end"
    assert "was begun 3 times and did not come to an end" in failed(model)["message"]
    assert Activity.objects.filter(metadata__action="check_failed").count() == 1
    model_checks.reconcile()
    tasks.check_model(str(model.pk), 3)
    BaseModel.objects.update(verified_at="2020-01-01T00:00:00Z")
    tasks.verify_files()
    assert state(model) == ("broken", 3, False)
    assert model.verified_at is not None
    assert model.verified_at.year == 2020
    # Somebody has it checked again.
    words = Page(ana_on.get(f"/models/{model.pk}")).words
    assert "it is not begun again by itself" in words
    assert "Check files again" in words
    ana_on.post("/models/bulk", {"do": "check", "model": str(model.pk)})
    assert state(model) == ("broken", 0, True)
    tasks.check_model(*messages[-1])
    assert state(model) == ("active", 0, False)


def in_a_worker(work: Callable[[], None]) -> None:
    """In a process of its own, which does not come back."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
