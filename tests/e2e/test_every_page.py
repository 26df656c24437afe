"""Every page there is, light and dark, wide and narrow: nothing broken, nothing shut to anybody.

A new page fails here until `tests.e2e.samples` says where it is.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browsing import WATCH_SHIFTS, Visitor, unsteady
from tests.e2e import rows, samples
from tests.e2e.conftest import Site

pytestmark = pytest.mark.e2e

AXE = Axe()
# What axe-core calls worse than minor.
GRAVE = ("moderate", "serious", "critical")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# The dark half looks only at what darkness changes.
RULES = {
    "light": {"type": "tag", "values": TAGS},
    "dark": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]},
}


@pytest.fixture(scope="module")
def pages(site: Site) -> dict[str, list[str]]:
    found: dict[str, list[str]] = site.do(samples.pages)
    return found


def test_every_page_of_the_url_configuration_has_a_sample(
    site: Site, pages: dict[str, list[str]]
) -> None:
    assert site.do(samples.names_of_pages) == set(pages)


def test_what_is_wrong_is_seen(visitor: Visitor) -> None:
    page = visitor.open("/styleguide", viewport={"width": 360, "height": 800})
    page.evaluate(
        "document.querySelector('main').innerHTML = `<h1>a</h1><h1>b</h1><input type='text'>"
        "<p style='color: #bbb; width: 400px; background: #fff'>pale</p>`"
    )
    found = " ".join(_problems(page, 360, RULES["light"]))
    page.add_init_script(WATCH_SHIFTS)
    page.reload()
    page.evaluate("setTimeout(() => document.querySelector('main').style.marginTop = '400px', 600)")
    page.wait_for_timeout(800)
    assert "shifts by" in unsteady(page)[0]
    for problem in ("pixels broad", "2 <h1>", "label:", "color-contrast:"):
        assert problem in found


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 360)])
def test_it_is_whole_fits_the_screen_and_is_usable_by_everybody(
    pages: dict[str, list[str]], visitor: Visitor, scheme: str, width: int
) -> None:
    page = visitor.open("/", viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.add_init_script(WATCH_SHIFTS)
    found = []
    for address in (address for addresses in pages.values() for address in addresses):
        page.goto(address)
        found += [f"{address}: {problem}" for problem in _problems(page, width, RULES[scheme])]
        found += [f"{address}: {problem}" for problem in unsteady(page)]
        found += [f"{address}: {complaint}" for complaint in visitor.complaints]
        visitor.complaints.clear()
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 360)])
@pytest.mark.parametrize("name", ["400", "403", "403_csrf", "404", "429", "500"])
def test_pages_of_errors_are_too(
    site: Site, visitor: Visitor, name: str, scheme: str, width: int
) -> None:
    html = site.do(samples.error_page, name)
    visitor.forgive("LOCAL_NETWORK_ACCESS_CHECKS")  # of a page that comes from nowhere
    page = visitor.open("/", viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.route("**/an-error", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto("/an-error")
    assert page.locator(".code").inner_text() == name[:3]
    assert _problems(page, width, RULES[scheme]) == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 360)])
def test_forms_that_come_back_with_errors_are_too(
    pages: dict[str, list[str]], visitor: Visitor, scheme: str, width: int
) -> None:
    page = visitor.open("/", viewport={"width": width, "height": 800}, color_scheme=scheme)
    visitor.forgive("422")
    (settings,) = [address for address in pages["draft-step"] if address.endswith("/settings")][:1]
    wrong = {
        pages["model-new"][0]: {"storage_path": "nowhere", "params_b": "many"},
        pages["dataset-new"][0]: {"name": ""},
        pages["recipe-new"][0]: {"train.learning_rate": "quick"},
        pages["settings-webhook-new"][0]: {"url": "nowhere"},
        f"{pages['transfer-new'][0]}&hf_repo_id=no+repository+at+all": {},
        settings: {"train.learning_rate": "quick"},
    }
    found = []
    for address, said in wrong.items():
        page.goto(address)
        for name, value in said.items():
            field = page.locator(f"main [name='{name}']").first
            field.evaluate("(field, value) => { field.value = value; }", value)
            field.evaluate("(field) => { field.closest('details')?.setAttribute('open', ''); }")
        if said:
            with page.expect_navigation():
                page.locator(f"main form:has([name='{name}'])").last.evaluate(
                    "(form) => form.submit()"
                )
        assert page.locator("[data-tone='bad']").count(), address
        found += [f"{address}: {problem}" for problem in _problems(page, width, RULES[scheme])]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 360)])
def test_what_opens_on_a_page_is_too(
    site: Site, pages: dict[str, list[str]], visitor: Visitor, scheme: str, width: int
) -> None:
    """The bell's list, the menu, a question, and what is folded away in the wizard."""
    page = visitor.open(
        pages["job"][0], viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    found: list[str] = []

    def look(what: str) -> None:
        found.extend(f"{what}: {problem}" for problem in _problems(page, width, RULES[scheme]))

    site.do(rows.note, "for the list of the bell")
    page.locator("#bell summary").click()
    page.locator("#bell .feed").wait_for()
    look("bell")
    page.keyboard.press("Escape")
    if (menu := page.get_by_role("button", name="Menu")).is_visible():
        menu.click()
        look("menu")
        page.keyboard.press("Escape")
    page.locator("main").get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").wait_for()
    look("question")
    for address in pages["draft-step"]:
        page.goto(address)
        page.evaluate("document.querySelectorAll('main details').forEach((one) => one.open = true)")
        look(address)
    assert found == [], "\n".join(found)


def _problems(page: Page, width: int, rules: dict[str, Any]) -> list[str]:
    problems = []
    if (broad := page.evaluate("document.documentElement.scrollWidth")) > width:
        problems.append(f"{broad} pixels broad")
    if (count := page.locator("h1").count()) != 1:
        problems.append(f"{count} <h1>")
    options = {"runOnly": rules, "resultTypes": ["violations"]}
    for violation in AXE.run(page, options=options).response["violations"]:
        if violation["impact"] in GRAVE:
            where = [node["target"] for node in violation["nodes"][:3]]
            problems.append(f"{violation['id']}: {violation['help']} {json.dumps(where)}")
    return problems
