"""The bell, and the notifications of a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import AWAY, Visitor
from tests.e2e import rows
from tests.e2e.conftest import Site
from tests.e2e.notifications import (
    CLICK,
    PRIVATE,
    PUSH,
    TELL,
    listens,
    shown,
    wait_until,
    worker_of,
)

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def private(visitor: Visitor) -> Iterator[None]:
    yield
    visitor.forgive(PRIVATE)


def told(page: Page, title: str) -> list[dict[str, str]]:
    """Those with this title, once there is one: what other tests have done may be told as well."""
    wait_until(page, lambda: any(one["title"] == title for one in shown(page)))
    return [one for one in shown(page) if one["title"] == title]


def bell(page: Page) -> Any:
    return page.locator("#bell .bell-count")


def test_a_completed_job_is_told_once_however_many_tabs_are_open(
    site: Site, visitor: Visitor
) -> None:
    job = site.do(rows.new_job, "told once", "RUNNING", [3.0])
    page = visitor.open("/models", permissions=["notifications"])
    other = visitor.another(page.context, "/datasets")
    outside = visitor.open("/", permissions=["notifications"])
    cookie = site.do(rows.sign_in_stranger)
    outside.context.add_cookies([{"url": site.address, **cookie}])  # type: ignore[typeddict-item]
    outside.goto("/activity")
    for tab in (page, other, outside):
        listens(tab)

    site.do(rows.finish, job)
    [notification] = told(page, "Training completed: told once")
    assert notification["body"] == "It took 3 s"
    for tab in (page, other):
        expect(tab).to_have_title(re.compile(r"^\(\d+\) "))
        expect(bell(tab)).not_to_have_text("0")
    # Who comes later hears of it again, and says nothing again.
    third = visitor.another(page.context, "/jobs")
    listens(third)
    other.reload()
    listens(other)
    assert told(page, notification["title"]) == [notification]

    # Somebody of another project was told nothing by then.
    expect(outside.locator("main")).not_to_contain_text("Training completed")
    assert shown(outside) == []

    worker_of(page).evaluate(CLICK, notification["title"])
    wait_until(page, lambda: any(job in tab.url for tab in page.context.pages))
    assert notification not in shown(page)


def test_a_failed_job_is_told_and_what_nobody_asked_for_is_not(
    site: Site, visitor: Visitor
) -> None:
    page = visitor.open("/models", permissions=["notifications"])
    listens(page)
    job = site.do(rows.new_job, "told of its end", "RUNNING", [3.0])
    site.do(rows.note, "beside it")
    site.do(rows.finish, job, "job_failed", "Training failed")
    [notification] = told(page, "Training failed: told of its end")
    assert notification["body"] == "It took 3 s"
    assert [one["title"] for one in shown(page) if "beside it" in one["title"]] == []
    worker_of(page).evaluate(CLICK, notification["title"])
    wait_until(page, lambda: any(f"/jobs/{job}" in tab.url for tab in page.context.pages))


def test_what_was_brought_in_is_told_too(site: Site, visitor: Visitor) -> None:
    page = visitor.open("/models", permissions=["notifications"])
    listens(page)
    ids = site.do(rows.brought_in, "from-far-away")
    for kind, title in (("dataset", "Dataset imported"), ("transfer", "Transfer completed")):
        [notification] = told(page, f"{title}: from-far-away")
        assert notification["body"] == "1,000 rows"
        worker_of(page).evaluate(CLICK, notification["title"])
        address = f"/{kind}s/{ids[kind]}"
        wait_until(page, lambda: any(address in tab.url for tab in page.context.pages))  # noqa: B023


def test_the_icon_of_the_installed_app_says_how_much_is_unread(
    site: Site, visitor: Visitor
) -> None:
    page = visitor.open("/models")
    page.add_init_script(
        "window.badges = []; navigator.setAppBadge = async (count) => { badges.push(count) }"
    )
    page.goto("/activity")
    with page.expect_navigation():
        page.get_by_role("button", name="Mark all read").first.click()
    page.wait_for_function("badges.at(-1) === 0")
    for number in (1, 2):
        site.do(rows.note, f"for the badge {number}")
        page.wait_for_function("number => badges.at(-1) === number", arg=number)
    page.locator("#bell summary").click()
    page.locator("#bell").get_by_role("button", name="Mark all read").click()
    page.wait_for_function("badges.at(-1) === 0")


def test_nobody_is_asked_before_they_have_pressed_the_button(site: Site, visitor: Visitor) -> None:
    page = visitor.open("/settings/notifications")
    page.add_init_script(
        """
        window.asked = 0;
        Object.defineProperty(Notification, "permission", { get: () => "default" });
        Notification.requestPermission = async () => { window.asked++; return "denied"; };
        """
    )
    page.reload()
    button = page.locator("main").get_by_role("button", name="Show notifications here")
    expect(button).to_be_visible()
    page.locator("#bell summary").click()
    in_bell = page.locator("#bell").get_by_role("button", name="Show notifications here")
    expect(in_bell).to_be_visible()
    assert page.evaluate("window.asked") == 0
    in_bell.click()
    assert page.evaluate("window.asked") == 1


def test_the_bell_opens_marks_and_stays_true(site: Site, visitor: Visitor) -> None:
    page = visitor.open("/models")
    site.do(rows.note, "one thing")
    expect(bell(page)).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#bell summary").focus()
    page.keyboard.press("Enter")
    latest = page.locator("#bell .bell-list")
    expect(latest).to_contain_text("one thing")
    site.do(rows.note, "another thing")
    expect(latest).to_contain_text("another thing")
    mark = latest.get_by_role("button", name=re.compile("Mark read.*another thing"))
    mark.click()
    expect(mark).to_have_count(0)
    # What is marked in one tab is marked in the others.
    other = visitor.another(page.context, "/activity")
    expect(bell(other)).to_be_visible()
    latest.get_by_role("button", name="Mark all read").click()
    expect(bell(page)).to_be_hidden()
    expect(bell(other)).to_be_hidden()
    expect(page).to_have_title("Models · Trainyard")
    page.keyboard.press("Escape")
    expect(latest).to_be_hidden()


def test_whoever_opens_the_thing_has_seen_it(site: Site, visitor: Visitor) -> None:
    page = visitor.open("/activity")
    with page.expect_navigation():
        page.get_by_role("button", name="Mark all read").first.click()
    job = site.do(rows.new_job, "looked at", "RUNNING", [3.0])
    expect(bell(page)).to_have_text("1")
    page.goto(f"/jobs/{job}")
    expect(bell(page)).to_be_hidden()
    site.do(rows.finish, job, "job_failed", "Failed")
    expect(page.locator("[data-live=state]")).to_contain_text("ran out of memory")
    expect(bell(page)).to_be_hidden()


def test_a_cut_socket_loses_nothing(site: Site, visitor: Visitor) -> None:
    job = site.do(rows.new_job, "behind the cut", "RUNNING", [3.0])
    page = visitor.open("/activity", permissions=["notifications"])
    listens(page)
    with page.expect_navigation():  # whole, with its scripts
        page.get_by_role("button", name="Mark all read").first.click()
    expect(bell(page)).to_be_hidden()
    visitor.forgive(*AWAY)
    site.kill()
    expect(page.locator("#connection")).to_have_text("Reconnecting…")
    for number in range(3):
        site.do(rows.note, f"while away {number}")
    site.do(rows.finish, job)
    site.start()
    expect(bell(page)).to_have_text("4", timeout=30_000)
    for number in range(3):
        expect(page.locator("main .feed")).to_contain_text(f"while away {number}")
    assert len(told(page, "Training completed: behind the cut")) == 1


def test_where_sockets_are_blocked_the_bell_asks_by_itself(site: Site, visitor: Visitor) -> None:
    page = visitor.open("/models", permissions=["notifications"])
    worker_of(page)
    page.clock.install()
    page.route_web_socket("**/ws/**", lambda socket: socket.close())
    page.goto("/activity")
    page.clock.run_for(1000)
    job = site.do(rows.new_job, "no sockets here", "RUNNING", [3.0])
    site.do(rows.finish, job)
    page.clock.run_for(31_000)
    page.clock.resume()
    expect(page.locator("main .feed")).to_contain_text("Training completed: no sockets here")
    expect(page).to_have_title(re.compile(r"^\(\d+\+?\) Activity"))
    assert len(told(page, "Training completed: no sockets here")) == 1


def test_a_push_message_and_an_open_tab_say_it_once(visitor: Visitor) -> None:
    page = visitor.open("/models", permissions=["notifications"])
    listens(page)
    worker = worker_of(page)

    def hear(event: str, id: str, title: str) -> None:
        worker.evaluate(event, {"id": id, "title": title, "body": "said", "href": "/jobs"})

    def said() -> list[str]:
        """What has happened in other tests may still be told, too."""
        return sorted(one["title"] for one in shown(page) if one["body"] == "said")

    hear(PUSH, "1", "by push")
    wait_until(page, lambda: said() == ["by push"])
    hear(TELL, "1", "by the tab")
    hear(TELL, "2", "another")
    wait_until(page, lambda: "another" in said())
    hear(PUSH, "2", "another by push")
    hear(PUSH, "3", "the last")  # what comes before it has been heard
    wait_until(page, lambda: "the last" in said())
    assert said() == ["another", "by push", "the last"]
