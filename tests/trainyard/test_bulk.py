"""What is true of every list whose rows can be ticked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Membership, Project, User
from tests import factories as make
from tests.pages import Page
from training.models import Status


@dataclass(frozen=True)
class List:
    row: str
    make: Callable[..., Any]
    deeds: list[str]
    deed: str  # one that each fresh row takes

    @property
    def address(self) -> str:
        return f"/{self.row}s"


def experiment_with_a_job(**fields: Any) -> Any:
    experiment = make.make_experiment(**fields)
    make.make_job(experiment=experiment, status=Status.FAILED, project=experiment.project)
    return experiment


def waiting_job(**fields: Any) -> Any:
    return make.make_job(status=Status.QUEUED, **fields)


LISTS = [
    List("model", make.make_model, ["promote", "check", "archive"], "archive"),
    List("dataset", make.make_dataset, ["check", "delete"], "delete"),
    List(
        "job",
        waiting_job,
        ["compare", "pause", "resume", "retry", "cancel", "delete"],
        "cancel",
    ),
    List("experiment", experiment_with_a_job, ["delete"], "delete"),
    List("recipe", make.make_recipe, ["delete"], "delete"),
    List("transfer", make.make_transfer, ["pause", "resume", "retry", "cancel"], "cancel"),
]

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("home"),
    pytest.mark.parametrize("of", LISTS, ids=[one.address for one in LISTS]),
]


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def tick(client: Client, of: List, *rows: Model, do: str = "", back: str = "") -> Any:
    said = {"do": do or of.deed, of.row: [str(row.pk) for row in rows], "back": back}
    return client.post(f"{of.address}/bulk", said, follow=True)


def is_untouched(row: Model) -> bool:
    now = type(row)._default_manager.filter(pk=row.pk).values().first()
    return now == {name: getattr(row, name) for name in now} if now else False


def make_untouched(of: List, **fields: Any) -> Any:
    row = of.make(**fields)
    row.refresh_from_db()
    return row


def test_each_row_has_a_box_and_below_are_the_buttons(of: List, ana: User) -> None:
    row = of.make()
    page = Page(signed_in(ana).get(of.address))
    page.check_outline()
    [box] = [one for one in page.all("input") if one.get("value") == str(row.pk)]
    assert (box["type"], box["name"], box["form"]) == ("checkbox", of.row, "bulk")
    assert str(box["aria-label"]).startswith("Choose ")
    [form] = page.forms_to(f"{of.address}/bulk")
    assert (form["id"], form["aria-label"]) == ("bulk", f"With the {of.row}s that are ticked")
    deeds = [one["value"] for one in page.all("button") if one.get("name") == "do"]
    assert deeds == of.deeds


def test_what_is_ticked_is_done_and_the_list_stays_as_it_was(of: List, ana: User) -> None:
    rows = [make_untouched(of) for _ in range(4)]
    response = tick(signed_in(ana), of, *rows[:3], back=f"{of.address}?q=a")
    assert response.redirect_chain == [(f"{of.address}?q=a", 302)]
    assert [is_untouched(row) for row in rows] == [False, False, False, True]


def test_only_ones_own_can_be_ticked(of: List, viewer: User, stranger: User) -> None:
    row = make_untouched(of)
    assert tick(signed_in(viewer), of, row).status_code == 403
    words = Page(tick(signed_in(stranger), of, row)).words
    assert "Nothing was ticked." in words  # as if it were not there
    assert is_untouched(row)
    assert Client().post(f"{of.address}/bulk", {"do": of.deed}).status_code == 302


def elsewhere_seen_by(user: User) -> Project:
    project = Project.objects.create(name="Elsewhere")
    Membership.objects.create(user=user, project=project, role=Membership.Role.VIEWER)
    return project


def test_of_several_projects_only_those_that_one_may_change(of: List, ana: User) -> None:
    mine = make_untouched(of)
    theirs = make_untouched(of, project=elsewhere_seen_by(ana))
    words = Page(tick(signed_in(ana), of, mine, theirs)).words
    assert f"You may see {of.row} '{theirs}', but not change it." in words
    assert (is_untouched(mine), is_untouched(theirs)) == (False, True)


def test_rights_are_asked_for_once_for_each_project(of: List, ana: User) -> None:
    client, project = signed_in(ana), elsewhere_seen_by(ana)
    theirs = [of.make(project=project) for _ in range(20)]
    asked = []
    for count in (2, 20):
        rows = [of.make(), *theirs[:count]]
        with CaptureQueriesContext(connection) as queries:
            tick_only(client, of, rows)
        asked.append(len(queries))
    assert asked[0] == asked[1]


def tick_only(client: Client, of: List, rows: list[Any]) -> None:
    """Without looking at the list again."""
    said = {"do": of.deed, of.row: [str(row.pk) for row in rows]}
    assert client.post(f"{of.address}/bulk", said).status_code == 302


def test_what_is_no_deed_or_no_id_is_a_bad_request(of: List, ana: User) -> None:
    client = signed_in(ana)
    assert tick(client, of, do="explode").status_code == 400
    bad = {"do": of.deed, of.row: "7"}
    assert client.post(f"{of.address}/bulk", bad).status_code == 400
    assert client.get(f"{of.address}/bulk").status_code == 405
    assert "Nothing was ticked." in Page(tick(client, of)).words


def test_nobody_is_led_elsewhere(of: List, ana: User) -> None:
    response = tick(signed_in(ana), of, back="https://elsewhere.example/?q=1")
    assert response.redirect_chain == [(f"{of.address}?q=1", 302)]
