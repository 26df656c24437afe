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
from tests.e2e import samples
from tests.e2e.conftest import Site

pytestmark = pytest.mark.e2e

AXE = Axe()
# What axe-core calls worse than moderate.
GRAVE = ("serious", "critical")
# The dark half looks only at what darkness changes.
RULES = {
    "light": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]},
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
    most = 1 if scheme == "dark" else 100
    for address in (address for addresses in pages.values() for address in addresses[:most]):
        page.goto(address)
        found += [f"{address}: {problem}" for problem in _problems(page, width, RULES[scheme])]
        found += [f"{address}: {problem}" for problem in unsteady(page)]
        found += [f"{address}: {complaint}" for complaint in visitor.complaints]
        visitor.complaints.clear()
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
