"""Pages that keep themselves true, looked at with a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e import rows
from tests.e2e.conftest import Site, Visitor

pytestmark = pytest.mark.e2e

SHOWN_STEPS = "Chart.getChart(document.querySelector('canvas')).data.datasets[0].data.map(p => p.x)"


def wait_for_steps(page: Page, last: int) -> None:
    """The curve has each step from 1 to ``last`` once, in order."""
    page.wait_for_function(
        f"last => {{ const s = {SHOWN_STEPS}; return s.at(-1) === last }}", arg=last
    )
    assert page.evaluate(SHOWN_STEPS) == list(range(1, last + 1))


def wait_for_socket(page: Page) -> None:
    """The first message has come: from now on the page hears of everything."""
    page.wait_for_function("document.title.includes('%')")


def badge(page: Page) -> Any:
    return page.get_by_role("status").locator(".badge")


def test_the_job_page_follows_its_run(site: Site, visitor: Visitor) -> None:
    job = site.do(rows.new_job, "following", "RUNNING", [3.0, 2.9, 2.8])
    site.do(rows.write_log, job, "first line\n")
    page = visitor.open(f"/jobs/{job}")
    wait_for_steps(page, 3)
    wait_for_socket(page)
    expect(page.locator("#log")).to_have_text("first line\n")

    site.do(rows.log_steps, job, [2.7 - n / 50 for n in range(22)])
    wait_for_steps(page, 25)
    expect(page.locator("[data-live=state]")).to_contain_text("25 of 100 steps · 19 s left")
    expect(page).to_have_title("25 % · following · Trainyard")

    site.do(rows.write_log, job, "second line\n")
    site.do(rows.tell, job, "evaluation", "After step 25: loss 2.5.", eval_loss=2.5)
    expect(page.locator(".timeline")).to_contain_text("After step 25: loss 2.5.")
    expect(page.locator("#log")).to_have_text("first line\nsecond line\n")
    evaluated = SHOWN_STEPS.replace("datasets[0]", "datasets[1]")
    assert page.evaluate(evaluated) == [25]

    site.do(rows.complete, job)
    expect(badge(page)).to_have_text("Completed")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page).to_have_title("following · Trainyard")


def test_the_curve_begins_with_the_first_step(site: Site, visitor: Visitor) -> None:
    job = site.do(rows.new_job, "about to begin", "RUNNING")
    page = visitor.open(f"/jobs/{job}")
    wait_for_socket(page)
    expect(page.locator("#chart")).to_have_text("The curve begins with the first step.")
    expect(page.locator("canvas")).to_be_hidden()
    site.do(rows.log_steps, job, [3.0, 2.9])
    wait_for_steps(page, 2)
    expect(page.locator("canvas")).to_be_visible()
    assert page.locator("canvas").bounding_box()["height"] > 150  # type: ignore[index]


def test_a_crash_of_the_server_loses_no_step(site: Site, visitor: Visitor) -> None:
    job = site.do(rows.new_job, "through the crash", "RUNNING", [3.0, 2.9])
    page = visitor.open(f"/jobs/{job}")
    wait_for_steps(page, 2)
    wait_for_socket(page)
    word = page.locator("#connection")
    expect(word).to_be_hidden()

    site.kill()
    expect(word).to_have_text("Reconnecting…")
    site.do(rows.log_steps, job, [2.8, 2.7, 2.6])
    site.start()
    wait_for_steps(page, 5)
    expect(word).to_be_hidden()
    expect(page.locator("[data-live=state]")).to_contain_text("5 of 100 steps")
    # The browser itself says that nobody answered; nothing else may have gone wrong.
    away = ("WebSocket connection to", "ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET")
    visitor.complaints = [c for c in visitor.complaints if not any(word in c for word in away)]


def test_where_sockets_are_blocked_the_page_asks_every_thirty_seconds(
    site: Site, visitor: Visitor
) -> None:
    job = site.do(rows.new_job, "behind a proxy", "RUNNING", [3.0])
    page = visitor.open("/jobs")
    page.clock.install()
    page.route_web_socket("**/ws/**", lambda socket: socket.close())
    page.goto(f"/jobs/{job}")
    page.clock.run_for(1000)
    wait_for_steps(page, 1)

    site.do(rows.log_steps, job, [2.9, 2.8])
    page.clock.run_for(31_000)
    page.clock.resume()
    wait_for_steps(page, 3)
    expect(page.locator("[data-live=state]")).to_contain_text("3 of 100 steps")


def test_cancelling_works_without_scripts(site: Site, visitor: Visitor) -> None:
    job = site.do(rows.new_job, "no scripts", "QUEUED")
    page = visitor.open(f"/jobs/{job}", java_script_enabled=False)
    page.get_by_role("button", name="Cancel").click()
    expect(badge(page)).to_have_text("Cancelled")
    assert site.do(rows.status_of, job) == "CANCELLED"


def test_with_scripts_cancelling_asks_first(site: Site, visitor: Visitor) -> None:
    job = site.do(rows.new_job, "asked first", "QUEUED")
    page = visitor.open(f"/jobs/{job}")
    cancel = page.locator("main").get_by_role("button", name="Cancel")
    dialog = page.get_by_role("dialog")

    cancel.click()
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_have_count(0)
    assert site.do(rows.status_of, job) == "QUEUED"

    cancel.click()
    dialog.get_by_role("button", name="Cancel").click()
    expect(badge(page)).to_have_text("Cancelled")
    assert site.do(rows.status_of, job) == "CANCELLED"


def test_without_scripts_the_curve_is_drawn_by_the_server(site: Site, visitor: Visitor) -> None:
    job = site.do(rows.new_job, "drawn", "RUNNING", [3.0, 2.0, 1.0])
    page = visitor.open(f"/jobs/{job}", java_script_enabled=False)
    expect(page.get_by_role("img", name="Training loss from 3 at step 1")).to_be_visible()
    expect(page.locator("canvas")).to_be_hidden()


def test_home_follows_what_happens(site: Site, visitor: Visitor) -> None:
    with_socket = "document.querySelector('#connection').hidden"
    page = visitor.open("/")
    page.wait_for_function(with_socket)
    job = site.do(rows.new_job, "newly come", "RUNNING", [3.0, 2.9])
    row = page.locator(f"[data-job='{job}']")
    expect(row).to_contain_text("2 of 100 steps", timeout=10_000)
    expect(page.locator("[data-live=latest]")).to_contain_text("Job created: newly come")
    site.do(rows.log_steps, job, [2.8, 2.7])
    expect(row).to_contain_text("4 of 100 steps", timeout=10_000)


def test_the_list_is_searched_while_one_types(site: Site, visitor: Visitor) -> None:
    site.do(rows.new_job, "pineapple", "COMPLETED")
    site.do(rows.new_job, "coconut", "COMPLETED")
    page = visitor.open("/jobs")
    page.get_by_role("searchbox").press_sequentially("pineap")
    table = page.get_by_role("table")
    expect(table).not_to_contain_text("coconut")
    expect(table).to_contain_text("pineapple")
    assert page.url.endswith("q=pineap")
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("pineap")
    expect(table).not_to_contain_text("coconut")


def test_back_leads_to_the_whole_list_as_it_was(site: Site, visitor: Visitor) -> None:
    site.do(rows.new_job, "banana", "COMPLETED")
    page = visitor.open("/jobs")
    page.get_by_role("searchbox").fill("banan")
    page.wait_for_url("**/jobs?q=banan")
    page.get_by_role("link", name="banana").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("banana")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    expect(page.get_by_role("searchbox")).to_have_value("banan")
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("")
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()


@pytest.fixture(scope="module")
def addresses(site: Site) -> list[str]:
    pages: list[str] = site.do(rows.one_of_everything)
    return pages


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_every_page_fits_the_screen(
    addresses: list[str], visitor: Visitor, scheme: str, width: int
) -> None:
    page = visitor.open("/", viewport={"width": width, "height": 800}, color_scheme=scheme)
    for address in addresses:
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        assert page.locator("h1").count() == 1, address
