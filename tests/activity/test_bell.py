"""The bell on every page, and what has been read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Project, User
from activity import reading
from activity.context import MOST_COUNTED, bell_of
from activity.models import Activity, ReadMark, ReadUpTo
from tests import factories as make
from tests.pages import Page

pytestmark = pytest.mark.django_db


def bell(client: Client, path: str = "/activity") -> dict[str, str | None]:
    [found] = [d for d in Page(client.get(path)).all("details") if d.get("id") == "bell"]
    return found


def test_it_says_on_every_page_how_much_is_unread(client_of_ana: Client) -> None:
    for _ in range(3):
        newest = make.make_activity()
    for path in ("/", "/jobs", "/models", "/datasets", "/activity", "/settings/notifications"):
        shown = bell(client_of_ana, path)
        assert (shown["data-unread"], shown["data-cursor"]) == ("3", str(newest.cursor)), path
    client_of_ana.post("/activity/read")
    assert bell(client_of_ana)["data-unread"] == "0"


def test_it_counts_to_a_hundred(ana: User) -> None:
    for _ in range(MOST_COUNTED - 1):
        make.make_activity()
    assert str(bell_of(ana)) == "99"
    for _ in range(5):
        make.make_activity()
    assert (bell_of(ana).unread, str(bell_of(ana))) == (100, "99+")


def test_a_stranger_is_told_nothing(stranger: User, ana: User) -> None:
    make.make_activity()
    make.make_activity(project=None, title="of nobody")
    assert (bell_of(stranger).unread, bell_of(ana).unread) == (0, 2)


def test_it_costs_one_question(ana: User, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        bell_of(ana)


def test_its_list_has_the_latest(client_of_ana: Client) -> None:
    for number in range(10):
        make.make_activity(title=f"number {number}.")
    page = Page(client_of_ana.get("/activity/bell"))
    assert [f"number {n}." in page.words for n in range(10)] == [False] * 2 + [True] * 8
    assert len(page.forms_to("/activity/read")) == 1
    client_of_ana.post("/activity/read")
    assert Page(client_of_ana.get("/activity/bell")).all("form") == []


def test_without_scripts_it_opens_and_leads_on(client_of_ana: Client) -> None:
    make.make_activity()
    page = Page(client_of_ana.get("/jobs"))
    page.check_outline()
    assert "/activity" in {a["href"] for a in page.all("a")}
    answer = client_of_ana.post("/activity/read", {"next": "/jobs"})
    assert answer["Location"] == "/jobs"


def test_who_looks_at_a_thing_has_seen_what_is_told_of_it(client_of_ana: Client, ana: User) -> None:
    job = make.make_job()
    make.make_activity(entity_id=job.pk)
    make.make_activity(entity_id=job.pk, project=Project.objects.create(name="Other"))
    make.make_activity(entity_id=job.pk, entity_type="dataset", event_type="dataset_imported")
    make.make_activity()
    answer = client_of_ana.post("/activity/visited", {"path": f"/jobs/{job.pk}"})
    assert answer.status_code == 204
    assert bell_of(ana).unread == 2


@pytest.mark.parametrize(("path", "status"), [("/jobs", 204), ("/nowhere", 400), ("", 400)])
def test_other_pages_are_of_nothing(client_of_ana: Client, path: str, status: int) -> None:
    make.make_activity()
    assert client_of_ana.post("/activity/visited", {"path": path}).status_code == status
    assert not ReadMark.objects.exists()


# --- What was read --------------------------------------------------------------------------------


def unread(user: User) -> list[str]:
    rows = Activity.objects.visible_to(user).unread_by(user)
    said = Activity.objects.visible_to(user).with_read(user)
    assert {row.pk for row in said if not row.read} == {row.pk for row in rows}
    return [row.title for row in rows]


def test_marking_all_leaves_one_line_not_a_thousand_marks(ana: User, bob: User) -> None:
    for number in range(5):
        make.make_activity(title=str(number))
    reading.mark(Activity.objects.filter(title="1"), ana)
    assert reading.mark_all(ana) == 4
    assert not ReadMark.objects.exists()
    assert ReadUpTo.objects.count() == 1
    make.make_activity(title="new")
    assert unread(ana) == ["new"]
    assert len(unread(bob)) == 6
    assert reading.mark_all(ana) == 1
    assert reading.mark_all(ana) == 0


def test_however_many_are_marked_it_is_one_statement(ana: User, bob: User) -> None:
    for number in range(3):
        make.make_activity(title=str(number))
    reading.mark(Activity.objects.filter(title="1"), ana)
    with CaptureQueriesContext(connection) as asked:
        assert reading.mark(Activity.objects.all(), ana) == 2
    assert [q["sql"].split()[0] for q in asked if "SAVEPOINT" not in q["sql"]] == ["INSERT"]
    assert unread(ana) == []
    assert len(unread(bob)) == 3


def test_what_is_marked_twice_counts_once(ana: User) -> None:
    make.make_activity()
    assert [reading.mark(Activity.objects.all(), ana) for _ in "12"] == [1, 0]


def test_many_marks_without_a_gap_become_one_line(
    ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        make.make_activity(title=str(number))
    reading.mark(Activity.objects.exclude(title="5"), ana)
    reading.squash()
    assert ReadMark.objects.count() == 7  # not many
    monkeypatch.setattr(reading, "MANY_MARKS", 3)
    reading.squash()
    assert (ReadMark.objects.count(), unread(ana)) == (2, ["5"])
    reading.mark(Activity.objects.all(), ana)
    monkeypatch.setattr(reading, "MANY_MARKS", 2)
    reading.squash()
    assert (ReadMark.objects.count(), unread(ana)) == (0, [])


# --- News for pages whose sockets are blocked -----------------------------------------------------


def news(client: Client, after: Any) -> Any:
    return json.loads(client.get(f"/activity/news?after={after}").content)


def test_pages_ask_for_what_came_after(client_of_ana: Client) -> None:
    first = make.make_activity(title="first")
    second = make.make_activity(title="second", event_type="job_completed")
    said = news(client_of_ana, first.cursor)
    assert said["cursor"] == second.cursor
    [message] = said["news"]
    assert message["activity"]["title"] == "second"
    assert message["href"] == f"/jobs/{second.entity_id}"
    assert message["notify"] is True
    assert news(client_of_ana, second.cursor) == {"news": [], "cursor": second.cursor}


def test_a_stranger_has_no_news(stranger: User) -> None:
    make.make_activity()
    client = Client()
    client.force_login(stranger)
    assert news(client, 0)["news"] == []


@pytest.mark.parametrize("after", ["", "x", "-1", "9" * 30])
def test_a_cursor_that_is_no_number_is_refused(client_of_ana: Client, after: str) -> None:
    assert client_of_ana.get(f"/activity/news?after={after}").status_code == 400
