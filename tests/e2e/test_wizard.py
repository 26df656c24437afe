"""The whole wizard in a real browser, with scripts and without, to a job that is there."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browsing import AWAY, Visitor
from tests.e2e import rows
from tests.e2e.conftest import Site

pytestmark = pytest.mark.e2e

# Whether what has the focus can be seen: at its upper edge there is nothing else.
NOT_COVERED = """() => {
    const { left, top } = document.activeElement.getBoundingClientRect();
    return !document.elementFromPoint(left + 3, top + 3)?.closest(".fit");
}"""
STEPS = ("model", "data", "style", "settings", "resources", "preflight", "review")


@pytest.fixture(scope="module")
def yard(site: Site) -> dict[str, str]:
    ids: dict[str, str] = site.do(rows.yard)
    return ids


def draft_of(page: Page) -> str:
    return page.url.split("/jobs/new/")[1].split("/")[0]


def go_on(page: Page, to: str) -> None:
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"**/{to}*")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def choose(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).check()


def box(page: Page, name: str) -> Locator:
    return page.get_by_role("textbox", name=name, exact=True)


def saved(page: Page) -> None:
    expect(page.locator("#save-state")).to_have_text("Saved")


def fits_the_screen(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, page.url


def test_from_a_model_that_is_too_large_to_a_job(
    site: Site, visitor: Visitor, yard: dict[str, str]
) -> None:
    """Narrow screen, dark: choose, be told that it does not fit, fix it, create it."""
    screen: Any = {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}
    page = visitor.open("/jobs", **screen)
    page.get_by_role("link", name="New job").click()
    page.wait_for_url("**/model")
    page.get_by_role("searchbox").press_sequentially("70b")
    expect(page.locator("#found").get_by_role("radio")).to_have_count(1)
    choose(page, "Yard-Llama-70B")
    saved(page)
    page.reload()
    expect(page.get_by_role("radio", name="Yard-Llama-70B")).to_be_checked()
    fits_the_screen(page)
    go_on(page, "data")

    page.get_by_text("Do not go with Yard-Llama-70B").click()
    expect(page.get_by_role("radio", name="Yard-pictures 1.0")).to_be_disabled()
    choose(page, "Yard-dates 1.0")
    expect(page.locator("#columns")).to_contain_text("Columns of Yard-dates")
    go_on(page, "style")

    expect(page.get_by_role("radio", name="DPO")).to_be_disabled()
    choose(page, "LoRA")
    expect(page.locator("#live")).to_contain_text("does not fit")
    fits_the_screen(page)
    go_on(page, "settings")

    rate = box(page, "Learning rate")
    rate.fill("quick")
    expect(page.locator("#f-train-learning_rate-error")).to_have_text("A valid number is required.")
    expect(page.locator("#live")).to_contain_text("The estimate comes back")
    saved(page)
    page.reload()
    expect(box(page, "Learning rate")).to_have_value("quick")
    rate.fill("1e-4")
    box(page, "Steps").fill("50")
    expect(page.locator("#live dd").nth(1)).to_have_text("50")
    fits_the_screen(page)
    go_on(page, "resources")

    choose(page, "cards")
    expect(page.get_by_label("Precision")).to_have_value("bf16")
    expect(page.locator("#live")).to_contain_text("of 80.0 GiB: does not fit")
    fits_the_screen(page)
    go_on(page, "preflight")

    expect(page.get_by_role("alert")).to_contain_text("Does not fit")
    expect(page.get_by_role("button", name="Continue")).to_be_disabled()
    page.get_by_role("button", name="Apply").first.click()
    expect(page.get_by_text("It will work, as far as can be told")).to_be_visible()
    fits_the_screen(page)
    page.go_back()
    page.goto(page.url.replace("/preflight", "/settings"))
    expect(box(page, "Learning rate")).to_have_value("1e-4")
    page.get_by_role("link", name="Preflight").click()
    go_on(page, "review")

    box(page, "Name").fill("out of the yard")
    expect(page.locator("#curl")).to_contain_text('"name": "out of the yard"')
    fits_the_screen(page)
    draft = draft_of(page)
    page.get_by_role("button", name="Create the job").dblclick()
    page.wait_for_url("**/jobs/*-*")
    expect(page.get_by_role("heading", level=1)).to_have_text("out of the yard")
    job = site.do(rows.job_of_draft, draft)
    assert job["jobs"] == 1
    assert page.url.endswith(job["id"])
    assert (job["train"]["max_steps"], job["train"]["learning_rate"]) == (50, 1e-4)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("out of the yard")


def test_without_scripts_the_same_way_leads_to_a_job(
    site: Site, visitor: Visitor, yard: dict[str, str]
) -> None:
    page = visitor.open("/jobs/new", java_script_enabled=False)
    page.get_by_role("searchbox").fill("Yard")
    page.get_by_role("button", name="Search").click()
    choose(page, "Yard-Llama")
    go_on(page, "data")
    choose(page, "Yard-dates 1.0")
    go_on(page, "style")
    choose(page, "Full Fine-Tune")
    page.get_by_role("button", name="Save and estimate").click()
    expect(page.locator("#live")).to_contain_text("fits")
    go_on(page, "settings")
    box(page, "Steps").fill("none")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_contain_text("A valid integer is required.")
    expect(box(page, "Steps")).to_have_value("none")
    box(page, "Steps").fill("20")
    go_on(page, "resources")
    go_on(page, "preflight")
    go_on(page, "review")
    page.get_by_role("link", name="Change hyperparameters").click()
    box(page, "Steps").fill("30")
    go_on(page, "resources")
    page.get_by_role("link", name="Review").click()
    box(page, "Name").fill("by hand")
    draft = draft_of(page)
    page.get_by_role("button", name="Create the job").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("by hand")
    job = site.do(rows.job_of_draft, draft)
    assert (job["name"], job["train"]["max_steps"]) == ("by hand", 30)
    page.get_by_role("link", name="Clone").click()
    page.wait_for_url("**/preflight")
    go_on(page, "review")
    expect(box(page, "Name")).to_have_value("by hand (copy)")
    # The one answer that refused something, which is what it was asked for.
    visitor.forgive("422")


def test_what_was_typed_last_is_not_lost_by_leaving(
    site: Site, visitor: Visitor, yard: dict[str, str]
) -> None:
    """A link that is followed at once waits until what was typed is on the server."""
    page = visitor.open(f"/jobs/new?model={yard['model']}&dataset={yard['dataset']}&recipe=lora")
    go_on(page, "style")
    go_on(page, "settings")
    visitor.slow_line(page, 700)
    box(page, "Steps").press_sequentially("777", delay=600)  # each is sent before the last is saved
    saved(page)
    assert site.do(rows.answers_of, draft_of(page))["train.max_steps"] == "777"
    box(page, "Steps").fill("77")
    page.get_by_role("link", name="Training style").click()
    page.wait_for_url("**/style")
    assert site.do(rows.answers_of, draft_of(page))["train.max_steps"] == "77"
    # What an early answer changes is told where one is, and on the later steps.
    choose(page, "Full Fine-Tune")
    expect(page.locator("#live")).to_contain_text("fits")
    assert page.evaluate("document.activeElement.type") == "radio"  # focus stays where it was


def test_two_tabs_and_a_probe(site: Site, visitor: Visitor, yard: dict[str, str]) -> None:
    """The second tab is told of what the first has changed; and preflight has it measured."""
    page = visitor.open(f"/jobs/new?model={yard['model']}&dataset={yard['dataset']}&recipe=lora")
    go_on(page, "style")
    go_on(page, "settings")
    second = page.context.new_page()
    second.goto(page.url)
    box(page, "Steps").fill("40")
    saved(page)
    box(second, "Steps").fill("30")
    told = second.get_by_role("alert")
    expect(told).to_contain_text("Steps: here 30, there 40")
    expect(second.locator("#save-state")).to_have_text("Not saved: changed on another page")
    told.get_by_role("button", name="Keep what is here").click()
    saved(second)
    assert site.do(rows.answers_of, draft_of(page))["train.max_steps"] == "30"
    second.close()
    page.reload()
    expect(box(page, "Steps")).to_have_value("30")

    go_on(page, "resources")
    go_on(page, "preflight")
    page.get_by_role("button", name="Run a probe").click()
    expect(page.locator("#probe-state")).to_contain_text("queued")
    site.do(rows.end_probe, draft_of(page))
    expect(page.locator("#probe")).to_contain_text("Measured of these very settings")
    expect(page.locator("#probe")).to_contain_text("1.5 GiB")
    visitor.forgive("409")


def test_a_restart_of_the_server_loses_nothing(
    site: Site, visitor: Visitor, yard: dict[str, str]
) -> None:
    page = visitor.open(f"/jobs/new?model={yard['model']}&dataset={yard['dataset']}&recipe=lora")
    go_on(page, "style")
    go_on(page, "settings")
    site.kill()
    box(page, "Steps").fill("88")
    expect(page.locator("#save-state")).to_have_text("Not saved yet. Trying again…")
    site.start()
    saved(page)
    page.reload()
    expect(box(page, "Steps")).to_have_value("88")
    visitor.forgive(*AWAY, "htmx:sendError", "htmx:afterRequest")


def test_the_whole_way_by_keyboard(site: Site, visitor: Visitor, yard: dict[str, str]) -> None:
    page = visitor.open("/jobs/new?recipe=lora")
    keys = page.keyboard

    def tab_to(role: str, name: str) -> None:
        wanted = page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
        for _ in range(80):
            if wanted.evaluate("e => e === document.activeElement"):
                return
            keys.press("Tab")
        raise AssertionError(f"Tab never comes to {name}")

    def press_continue(to: str) -> None:
        tab_to("button", "Continue")
        keys.press("Enter")
        page.wait_for_url(f"**/{to}*")

    # Within a group of radio buttons the arrows move.
    page.get_by_role("radio").first.focus()
    for _ in range(3):
        if page.get_by_role("radio", name="Yard-Llama", exact=True).is_checked():
            break
        keys.press("ArrowDown")
    expect(page.get_by_role("radio", name="Yard-Llama", exact=True)).to_be_checked()
    press_continue("data")
    tab_to("radio", "Yard-dates 1.0")
    keys.press("Space")
    press_continue("style")
    press_continue("settings")
    tab_to("textbox", "Steps")
    keys.type("12")
    press_continue("resources")
    press_continue("preflight")
    press_continue("review")
    draft = draft_of(page)
    tab_to("button", "Create the job")
    keys.press("Enter")
    page.wait_for_url("**/jobs/*-*")
    assert site.do(rows.job_of_draft, draft)["train"]["max_steps"] == 12


# Of a group of radio buttons Tab comes to one, and the arrows to the others.
TO_REACH = """() => [...document.querySelectorAll(
    "main :is(a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0'])"
)].filter((one) => !one.disabled && one.tabIndex >= 0 && one.checkVisibility())
  .filter((one) => one.type !== "radio"
      || one.checked
      || !document.querySelector(`input[type=radio][name="${one.name}"]:checked`)
         && one === document.querySelector(`input[type=radio][name="${one.name}"]:enabled`))
  .map((one, number) => (one.dataset.number = number))"""
FOCUSED = """() => {
    const one = document.activeElement;
    const { outlineStyle } = getComputedStyle(one.closest(".choice") ?? one);
    const seen = one.matches(":focus-visible") && outlineStyle !== "none";
    return { number: one.dataset.number ?? null, seen, what: one.outerHTML.slice(0, 120) };
}"""


@pytest.mark.parametrize("step", STEPS)
def test_tab_comes_to_every_control_of_every_step(
    site: Site, visitor: Visitor, yard: dict[str, str], step: str
) -> None:
    page = visitor.open(f"/jobs/new?model={yard['model']}&dataset={yard['dataset']}")
    go_on(page, "style")
    choose(page, "LoRA")
    saved(page)
    for name in STEPS[3:]:
        go_on(page, name)
    page.goto(page.url.replace("/review", f"/{step}"))
    keys = page.keyboard
    # What is folded away is opened by the keyboard, too.
    folded = page.locator("main details:not([open]) > summary")
    for left in reversed(range(folded.count())):
        folded.first.focus()
        keys.press("Enter")
        expect(folded).to_have_count(left)
    wanted = set(page.evaluate(TO_REACH))
    assert len(wanted) > 5
    page.locator("#main").focus()
    reached: set[int] = set()
    for _ in range(3 * len(wanted)):
        keys.press("Tab")
        found = page.evaluate(FOCUSED)
        if found["number"] is None:
            break  # through
        assert found["seen"], found["what"]
        reached.add(int(found["number"]))
    missed = [page.locator(f"[data-number='{n}']").first.inner_html() for n in wanted - reached]
    assert missed == []


def test_kinds_of_controls_answer_to_their_keys(
    site: Site, visitor: Visitor, yard: dict[str, str]
) -> None:
    page = visitor.open(f"/jobs/new?model={yard['model']}&dataset={yard['dataset']}")
    keys = page.keyboard
    page.goto(page.url.replace("/data", "/model"))
    page.get_by_label("Sort").focus()
    keys.press("n")  # Newest, Name: the first that begins so and is another one
    keys.press("n")
    page.wait_for_url("**sort=name**")
    page.get_by_role("searchbox").focus()
    keys.type("70b")
    expect(page.locator("#found").get_by_role("radio")).to_have_count(1)
    page.goto(page.url.split("/model")[0] + "/data")
    go_on(page, "style")
    page.get_by_role("radio", name="LoRA", exact=True).focus()
    keys.press("Space")
    saved(page)
    go_on(page, "settings")
    page.get_by_text("Advanced", exact=True).focus()
    keys.press("Space")
    switch = page.locator("#answers details input[type=checkbox]").first
    before = switch.is_checked()
    switch.focus()
    keys.press("Space")
    assert switch.is_checked() is not before
    saved(page)
    draft = draft_of(page)
    said = switch.get_attribute("name")
    assert site.do(rows.answers_of, draft)[str(said)] == str(not before).lower()


def test_a_draft_goes_on_on_another_device(
    site: Site, visitor: Visitor, yard: dict[str, str]
) -> None:
    page = visitor.open(f"/jobs/new?model={yard['model']}&dataset={yard['dataset']}&recipe=lora")
    go_on(page, "style")
    go_on(page, "settings")
    box(page, "Steps").fill("64")
    saved(page)
    # Another browser, that has never been here: a phone that finds it among the jobs.
    phone = visitor.open("/jobs", viewport={"width": 390, "height": 800}, has_touch=True)
    if (folded := phone.locator(".drafts summary")).count():  # other tests leave drafts as well
        folded.tap()
    phone.locator(".drafts").get_by_role("link", name="Continue").first.tap()
    phone.wait_for_url("**/settings")
    assert draft_of(phone) == draft_of(page)
    expect(box(phone, "Steps")).to_have_value("64")
    box(phone, "Steps").fill("32")
    saved(phone)
    go_on(phone, "resources")
    # Back at the desk nothing of it is overwritten.
    box(page, "Learning rate").fill("3e-4")
    told = page.get_by_role("alert")
    expect(told).to_contain_text("Steps: here 64, there 32")
    told.get_by_role("link", name="Take what is there").click()
    expect(box(page, "Steps")).to_have_value("32")
    assert site.do(rows.answers_of, draft_of(page))["train.max_steps"] == "32"
    visitor.forgive("409")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1920])
def test_every_step_fits_the_screen_and_what_it_needs_stays_in_sight(
    visitor: Visitor, yard: dict[str, str], scheme: Any, width: int
) -> None:
    screen: Any = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    page = visitor.open(f"/jobs/new?model={yard['model']}&dataset={yard['dataset']}", **screen)
    fits_the_screen(page)
    go_on(page, "style")
    choose(page, "LoRA")
    for step in STEPS[3:]:
        go_on(page, step)
        fits_the_screen(page)
        if step in ("settings", "resources"):
            page.get_by_role("button", name="Continue").scroll_into_view_if_needed()
            expect(page.locator("#live .fit")).to_be_in_viewport(ratio=1)
            page.get_by_role("button", name="Continue").focus()
            for _ in range(12):  # backwards, so that fields come in from above
                page.keyboard.press("Shift+Tab")
                assert page.evaluate(NOT_COVERED), page.evaluate("document.activeElement.outerHTML")
    page.goto(page.url.replace("/review", "/model"))
    fits_the_screen(page)
