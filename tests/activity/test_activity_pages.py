"""``/activity``: who sees what, filters, and marking."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import Project, User
from activity.models import Activity, ReadMark
from tests import factories as make
from tests.pages import Page


def test_the_feed_leads_to_what_it_tells_of(client_of_ana: Client) -> None:
    job = make.make_activity(title="Training completed: dates", status="success")
    model = make.make_activity(entity_type="model", event_type="model_created")
    page = Page(client_of_ana.get("/activity"))
    page.check_outline()
    links = {a["href"] for a in page.all("a")}
    assert {f"/jobs/{job.entity_id}", f"/models/{model.entity_id}"} <= links
    assert "Training completed: dates (unread)" in page.words


def test_what_has_no_page_is_no_link(client_of_ana: Client) -> None:
    make.make_activity(entity_type="transfer", event_type="transfer_started", title="Fetching")
    make.make_activity(entity_id=None, title="Something of no job")
    page = Page(client_of_ana.get("/activity"))
    assert "Fetching" in page.words
    assert not [a for a in page.all("a") if "None" in (a["href"] or "")]


def test_an_empty_feed_says_what_will_come(client_of_ana: Client) -> None:
    assert "Nothing has happened yet." in Page(client_of_ana.get("/activity")).words


def test_the_feed_filters(client_of_ana: Client, ana: User) -> None:
    apple = make.make_activity(title="apples", status="error", user=ana, message="red ones")
    Activity.objects.filter(pk=apple.pk).update(created_at="2026-01-31T23:59:59Z")
    plum = make.make_activity(title="plums", entity_type="dataset", event_type="dataset_imported")
    ReadMark.objects.create(activity=plum, user=ana)

    def shown(query: str) -> set[str]:
        words = Page(client_of_ana.get(f"/activity?{query}")).words
        return {title for title in ("apples", "plums") if title in words}

    assert shown("") == {"apples", "plums"}
    assert shown("entity_type=dataset") == {"plums"}
    assert shown("status=error") == {"apples"}
    assert shown("unread=on") == {"apples"}
    assert shown("status=error&entity_type=dataset") == set()
    assert shown("event_type=dataset_imported") == {"plums"}
    assert shown(f"user={ana.pk}") == {"apples"}
    assert shown(f"project={Project.objects.default().pk}") == {"apples", "plums"}
    assert shown("q=PLUM") == {"plums"}
    assert shown("q=red") == {"apples"}
    assert shown("since=2026-01-31&until=2026-01-31") == {"apples"}
    assert shown("until=2026-01-30") == set()
    assert shown("since=2026-02-01") == {"plums"}
    Page(client_of_ana.get("/activity?q=plum&since=2026-01-01")).check_outline()


@pytest.mark.parametrize(
    "query",
    [
        "status=purple",
        "event_type=x",
        "since=yesterday",
        "until=9999-12-31",
        "project=x",
        "user=1",
        "q=%00",
    ],
)
def test_a_filter_that_cannot_be_is_refused(client_of_ana: Client, query: str) -> None:
    assert client_of_ana.get(f"/activity?{query}").status_code == 400


def test_one_filters_by_those_one_knows(client_of_ana: Client, stranger: User) -> None:
    assert client_of_ana.get(f"/activity?user={stranger.pk}").status_code == 400
    assert "stranger" not in Page(client_of_ana.get("/activity")).words


def test_a_stranger_sees_nothing_and_marks_nothing(stranger: User) -> None:
    activity = make.make_activity(title="a secret")
    client = Client()
    client.force_login(stranger)
    assert "a secret" not in client.get("/activity").content.decode()
    assert client.post(f"/activity/{activity.pk}/read").status_code == 404
    client.post("/activity/read")
    assert not ReadMark.objects.exists()


def test_one_line_is_marked_and_one_comes_back_to_the_list_as_it_was(
    client_of_ana: Client, ana: User
) -> None:
    activity, other = make.make_activity(), make.make_activity()
    back = "/activity?status=info"
    answer = client_of_ana.post(f"/activity/{activity.pk}/read", {"next": back})
    assert answer["Location"] == back
    assert list(ReadMark.objects.values_list("activity", "user")) == [(activity.pk, ana.pk)]
    page = Page(client_of_ana.get("/activity"))
    assert page.forms_to(f"/activity/{activity.pk}/read") == []
    assert len(page.forms_to(f"/activity/{other.pk}/read")) == 1


def test_all_are_marked_for_oneself_alone(client_of_ana: Client, ana: User, bob: User) -> None:
    for _ in range(3):
        make.make_activity()
    page = Page(client_of_ana.post("/activity/read", follow=True))
    assert "3 marked as read." in page.words
    assert not ReadMark.objects.exclude(user=ana).exists()


def test_one_is_not_sent_to_another_site(client_of_ana: Client) -> None:
    answer = client_of_ana.post("/activity/read", {"next": "https://elsewhere.example/"})
    assert answer["Location"] == "/activity"


def test_reading_needs_a_post(client_of_ana: Client) -> None:
    assert client_of_ana.get("/activity/read").status_code == 405
    assert client_of_ana.get(f"/activity/{uuid4()}/read").status_code == 405


def test_the_feed_asks_the_same_number_of_questions_however_long_it_is(
    client_of_ana: Client, django_assert_num_queries: object
) -> None:
    for _ in range(2):
        make.make_activity()
        # session, user, count, ids, rows; projects and people to filter by; the bell
        with django_assert_num_queries(8):  # type: ignore[operator]
            client_of_ana.get("/activity")
