"""Pages that keep themselves true, looked at with a real browser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import AWAY, WATCH_SHIFTS, Visitor, unsteady
from tests.e2e import rows
from tests.e2e.conftest import Site

pytestmark = pytest.mark.e2e

CURVES = "window.Chart?.getChart(document.querySelector('canvas'))"  # its script may be on its way
SHOWN_STEPS = f"{CURVES}?.data.datasets[0].data.map(p => p.x)"


def wait_for_steps(page: Page, last: int) -> None:
    """The curve has each step from 1 to ``last`` once, in order."""
    page.wait_for_function(
        f"last => {{ const s = {SHOWN_STEPS}; return s?.at(-1) === last }}", arg=last
    )
    assert page.evaluate(SHOWN_STEPS) == list(range(1, last + 1))


def wait_for_socket(page: Page) -> None:
    """The first message has come: from now on the page hears of everything."""
    page.wait_for_function("document.title.includes('%')")


def badge(page: Page) -> Any:
    return page.get_by_role("status").locator(".badge")


def title(words: str) -> re.Pattern[str]:
    """Before them may stand how much is unread: what other tests' jobs have told."""
    return re.compile(rf"^(\(\d+\+?\) )?{re.escape(words)}$")


def test_the_job_page_follows_its_run(site: Site, visitor: Visitor) -> None:
    job = site.do(rows.new_job, "following", "RUNNING", [3.0, 2.9, 2.8])
    site.do(rows.write_log, job, "first line\n")
    page = visitor.open("/jobs")
    page.add_init_script(WATCH_SHIFTS)
    page.goto(f"/jobs/{job}")
    wait_for_steps(page, 3)
    wait_for_socket(page)
    expect(page.locator("#log")).to_have_text("first line\n")

    site.do(rows.log_steps, job, [2.7 - n / 50 for n in range(22)])
    wait_for_steps(page, 25)
    expect(page.locator("[data-live=state]")).to_contain_text("25 of 100 steps · 19 s left")
    expect(page).to_have_title(title("25 % · following · Trainyard"))

    site.do(rows.write_log, job, "second line\n")
    site.do(rows.tell, job, "evaluation", "After step 25: loss 2.5.", eval_loss=2.5)
    expect(page.locator(".timeline")).to_contain_text("After step 25: loss 2.5.")
    expect(page.locator("#log")).to_have_text("first line\nsecond line\n")
    evaluated = SHOWN_STEPS.replace("datasets[0]", "datasets[1]")
    assert page.evaluate(evaluated) == [25]

    site.do(rows.complete, job)
    expect(badge(page)).to_have_text("Completed")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page).to_have_title(title("following · Trainyard"))
    assert unsteady(page) == []


def test_the_charts_and_the_whole_log_are_at_hand(site: Site, visitor: Visitor) -> None:
    """Of a run of a hundred steps with a log of a megabyte: other curves, smoothed; and words that
    stand far from the end."""
    job = site.do(rows.new_job, "looked into", "RUNNING", [3.0 - n / 50 for n in range(100)])
    noise = "nothing to see here, step after step after step\n" * 10_000
    site.do(rows.write_log, job, f"Warning: a Needle\n{noise}{noise}the needle again\n{noise}")
    page = visitor.open(f"/jobs/{job}")
    wait_for_steps(page, 100)
    page.get_by_role("tab", name="Loss").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Learning rate")).to_be_focused()
    page.wait_for_function(f"{CURVES}.data.datasets[0].data[0].y === 2e-4")
    page.get_by_role("tab", name="Throughput").click()
    page.wait_for_function(f"{CURVES}.data.datasets[0].data.at(-1).y === 2400")
    assert page.evaluate(f"{CURVES}.data.datasets[0].data.at(-1)") == {"x": 100, "y": 2400}
    assert page.evaluate(f"{CURVES}.data.datasets[0].data.length") == 100
    page.get_by_role("tab", name="Memory").click()
    page.wait_for_function(f"{CURVES}.data.datasets[0].data[0].y === 812")
    page.get_by_role("tab", name="Loss").click()
    page.get_by_label("Smoothing").fill("0.9")
    page.wait_for_function(f"{CURVES}.data.datasets[2].data.length === 100")
    page.get_by_label("Log scale").check()
    page.wait_for_function(f"{CURVES}.options.scales.y.type === 'logarithmic'")

    page.get_by_role("searchbox", name="Search the whole log").fill("needle")
    found = page.locator("#log-found")
    expect(found).to_contain_text("2 lines")
    found.get_by_role("button", name="the needle again").click()
    expect(page.locator("#log mark[data-here]")).to_have_text("needle")
    expect(page.locator("#log mark[data-here]")).to_be_in_viewport()
    expect(page.get_by_label("Follow")).not_to_be_checked()
    page.get_by_label("Follow").check()
    expect(page.locator("#log mark")).to_have_count(0)
    site.do(rows.write_log, job, "the last line\n")
    site.do(rows.tell, job, "note", "Something was written.")
    expect(page.locator("#log")).to_contain_text("the last line")


def test_the_log_is_searched_without_scripts_too(site: Site, visitor: Visitor) -> None:
    job = site.do(rows.new_job, "plain", "COMPLETED", [3.0, 2.0])
    site.do(rows.write_log, job, "first\nneedle <b>\nlast\n")
    page = visitor.open(f"/jobs/{job}", java_script_enabled=False)
    page.get_by_role("searchbox", name="Search the whole log").fill("NEEDLE")
    page.locator("#log-search").get_by_role("button").click()
    page.get_by_role("link", name="needle <b>").click()
    expect(page.locator("#log")).to_have_text("needle <b>\nlast\n")


def test_ticked_jobs_are_compared(site: Site, visitor: Visitor) -> None:
    for name in ("to compare, one", "to compare, two", "to compare, three"):
        site.do(rows.new_job, name, "COMPLETED", [3.0, 2.0, 1.0])
    page = visitor.open("/jobs?q=to+compare")
    expect(page.get_by_role("button", name="Compare")).to_be_hidden()
    page.get_by_role("checkbox", name="Choose to compare, one").check()
    page.get_by_role("checkbox", name="Choose to compare, two").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("2 jobs beside each other")
    sets = f"{CURVES}?.data.datasets"
    page.wait_for_function(f"{sets}?.length === 2 && {sets}[1].data.length === 3")
    page.get_by_role("tab", name="Throughput").click()
    page.wait_for_function(f"{sets}[0].data[0].y === 2400")
    page.goto("/jobs?q=to+compare")
    page.get_by_role("checkbox", name="Choose to compare, three").check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("'to compare, three' deleted.")).to_be_visible()


def test_rows_are_ticked_by_the_keyboard_alone_and_without_scripts(
    site: Site, visitor: Visitor
) -> None:
    for name in ("to be stopped, one", "to be stopped, two"):
        site.do(rows.new_transfer, name, status="PAUSED")
    page = visitor.open("/transfers?q=to+be+stopped", java_script_enabled=False)
    for name in ("one", "two"):
        page.get_by_role("checkbox", name=f"Choose to be stopped, {name}").focus()
        page.keyboard.press("Space")
    bar = page.get_by_role("form", name="With the transfers that are ticked")
    bar.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(
        page.get_by_text("'to be stopped, two', 'to be stopped, one' cancelled.")
    ).to_be_visible()
    expect(page.get_by_role("row", name="to be stopped, one")).to_contain_text("Cancelled")


def test_where_the_chart_library_does_not_arrive_the_page_lives_on(
    site: Site, visitor: Visitor
) -> None:
    job = site.do(rows.new_job, "without a library", "RUNNING", [3.0, 2.0])
    page = visitor.open("/models")
    page.route("**/chart.js", lambda route: route.abort())
    page.goto(f"/jobs/compare?job={job}")
    expect(page.locator("#drawing")).to_be_visible()
    page.goto(f"/jobs/{job}")
    wait_for_socket(page)
    expect(page.get_by_role("img", name="Training loss from 3 at step 1")).to_be_visible()
    site.do(rows.log_steps, job, [1.9, 1.8])
    expect(page.locator("[data-live=state]")).to_contain_text("4 of 100 steps")
    visitor.forgive("ERR_FAILED")


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
    visitor.forgive(*AWAY)


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
    expect(page.get_by_role("img", name="Memory from 812 at step 1")).to_be_visible()
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
    visitor.slow_line(page, 700)  # one asks again before the first answer is there
    page.get_by_role("searchbox").press_sequentially("pineap", delay=300)
    table = page.get_by_role("table")
    expect(table).not_to_contain_text("coconut")
    expect(table).to_contain_text("pineapple")
    page.wait_for_url("**/jobs?q=pineap")
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("pineap")
    expect(table).not_to_contain_text("coconut")


@pytest.mark.parametrize("status", [0, 500], ids=["nobody answers", "the server fails"])
def test_a_list_that_is_asked_for_in_vain_says_so(
    site: Site, visitor: Visitor, status: int
) -> None:
    site.do(rows.new_job, "blackberry", "COMPLETED")
    page = visitor.open("/jobs")
    away = "**/jobs?q=*"
    page.route(away, lambda route: route.fulfill(status=status) if status else route.abort())
    search = page.get_by_role("searchbox")
    search.fill("blackb")
    told = page.locator("#found").get_by_role("alert")
    expect(told).to_contain_text("The server answered 500." if status else "did not answer")
    search.fill("blackbe")
    expect(told).to_have_count(1)
    expect(page.get_by_role("table")).to_be_visible()
    page.unroute(away)
    search.fill("blackberry")
    page.wait_for_url("**/jobs?q=blackberry")
    expect(told).to_have_count(0)
    visitor.forgive("ERR_FAILED", "500", "htmx:sendError", "htmx:afterRequest")


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


def test_on_a_narrow_screen_the_menu_opens_without_scripts(visitor: Visitor) -> None:
    narrow: Any = {"viewport": {"width": 390, "height": 800}, "java_script_enabled": False}
    page = visitor.open("/models", **narrow)
    menu = page.get_by_role("navigation", name="Main")
    expect(menu).to_be_hidden()
    page.get_by_role("button", name="Menu").press("Enter")
    expect(menu.get_by_role("link")).to_have_count(8)
    for link in menu.get_by_role("link").all():
        expect(link).to_be_in_viewport()
    expect(menu.get_by_role("link", name="Models")).to_have_attribute("aria-current", "page")
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    page.keyboard.press("Tab")
    expect(menu.get_by_role("link", name="Home")).to_be_focused()
    menu.get_by_role("link", name="Datasets").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Datasets")


def test_a_transfer_moves_on_its_page_and_is_paused_there(site: Site, visitor: Visitor) -> None:
    transfer = site.do(rows.new_transfer, "ana/rows")
    page = visitor.open("/transfers")
    expect(page.get_by_role("row", name="ana/rows")).to_contain_text("0 of 1 files")
    site.do(rows.move_transfer, transfer, 250)
    expect(page.get_by_role("row", name="ana/rows")).to_contain_text("100 B/s · 8 s left")
    page.get_by_role("link", name="ana/rows").click()
    site.do(rows.move_transfer, transfer, 500)
    expect(page.get_by_label("Progress", exact=True)).to_contain_text("50 %")
    page.get_by_role("button", name="Pause").click()
    expect(badge(page)).to_have_text("Paused")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
