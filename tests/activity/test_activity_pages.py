"""``/activity``: who sees what, filters, and marking."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import User
from activity.models import ReadMark
from tests import factories as make
from tests.pages import Page


@pytest.fixture
def client_of_ana(ana: User) -> Client:
    client = Client()
    client.force_login(ana)
    return client


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
    make.make_activity(title="apples", status="error")
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
    assert client_of_ana.get("/activity?status=purple").status_code == 400


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
        with django_assert_num_queries(4):  # type: ignore[operator]
            client_of_ana.get("/activity")
