"""One long story on a real platform, as a person lives it: from a template to an answer of the
model that came of it. Any complaint in the browser's console fails it, and any failed request."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, WebSocketRoute, expect

from tests.browsing import Visitor, chromium
from tests.e2e import rows
from tests.e2e.home import prepare
from tests.e2e.notifications import (
    CLICK,
    PRIVATE,
    listens,
    shown,
    wait_for_shown,
    wait_until,
    worker_of,
)
from tests.survival.conftest import Yard
from tests.training.trainer import tiny
from tests.trainyard.running.instances import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

CUT_SECONDS = 20
STEPS = 280  # all of them are points of the chart
# Eager attention keeps a number for each pair of tokens, and one of the held-out rows is long.
TEMPLATE = {
    "attn_implementation": "eager",
    "max_length": 8192,
    "max_steps": STEPS,
    "global_batch_size": 128,
    "grad_accum": 1,
    "learning_rate": 3e-3,
    "checkpoint_interval": STEPS,
}
WAY = ("data", "style", "settings", "resources", "preflight", "review")
CURVE = "window.Chart?.getChart(document.querySelector('canvas'))?.data.datasets[0].data"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitor(browser: Browser, yard: Yard) -> Iterator[Visitor]:
    visitor = Visitor(browser, f"http://127.0.0.1:{yard.instance.port}")
    yield visitor
    visitor.leave()
    assert [c for c in visitor.complaints if PRIVATE not in c] == []


@pytest.fixture(scope="module")
def stranger(yard: Yard) -> Iterator[Callable[[], dict[str, str]]]:
    """Whose project is another one: the cookie of their session. It is made meanwhile."""
    instance = yard.instance
    environment = {
        **instance.environment,
        "DJANGO_SETTINGS_MODULE": "trainyard.settings",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
        "REDIS_URL": f"unix://{instance.home / 'valkey.sock'}",
    }
    with ProcessPoolExecutor(1, get_context("spawn"), prepare, (environment,)) as pool:
        yield pool.submit(rows.sign_in_stranger).result


@pytest.fixture(scope="module")
def template(yard: Yard) -> str:
    """A recipe of the project; beside it a model that reads long rows, and rows of which one is."""
    tiny.make_model(yard.instance.home / "models" / "reader", context=8192)
    folder = yard.instance.home / "datasets" / "letters"
    folder.mkdir()
    sums = tiny.sums()
    long = {"prompt": "What comes after w?", "completion": " x" + "x" * 8000}
    tiny.write_rows(folder / "train.jsonl", sums[:80])
    tiny.write_rows(folder / "validation.jsonl", [*sums[80:], long])
    yard.post("/api/base-models", {"name": "reader", "storage_path": "reader"})
    yard.post("/api/datasets", {"name": "letters", "storage_path": "letters"})
    body = {"name": "our-way", "display_name": "Our way", "method": "full", "modality": "text"}
    return str(yard.post("/api/recipes", {**body, "defaults": {"train": TEMPLATE}})["id"])


class Line:
    """The sockets of a browser, which can be cut and mended."""

    def __init__(self, context: BrowserContext) -> None:
        self.is_cut = False
        self.cut_at = 0.0
        self.sockets: list[WebSocketRoute] = []
        context.route_web_socket(re.compile("/ws/"), self.open)

    def open(self, socket: WebSocketRoute) -> None:
        if self.is_cut:
            socket.close()
            return
        socket.connect_to_server()
        self.sockets.append(socket)

    def cut(self) -> None:
        self.is_cut, self.cut_at = True, time.monotonic()
        for socket in self.sockets:
            socket.close()

    def mend(self, page: Page) -> None:
        wait_until(page, lambda: time.monotonic() - self.cut_at >= CUT_SECONDS)
        self.is_cut = False


def choose(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).check()


def go_on(page: Page, to: str) -> None:
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"**/{to}")


def said(page: Page) -> dict[str, str]:
    """What stands in the form of a step; nothing where there is none."""
    answers: dict[str, str] = page.evaluate(
        """() => {
            const form = document.querySelector("form[data-answers]");
            const pairs = form ? [...new FormData(form)] : [];
            const ours = ["version", "tab", "csrfmiddlewaretoken"];
            return Object.fromEntries(pairs.filter(([name]) => !ours.includes(name)));
        }"""
    )
    return answers


def nothing_is_lost(page: Page) -> None:
    """Neither by a reload nor by going back and coming again."""
    if page.locator("#save-state").text_content():
        expect(page.locator("#save-state")).to_have_text("Saved")
    here, title, before = page.url, page.title(), said(page)
    page.reload()
    assert said(page) == before, (said(page), before)
    page.go_back()
    assert page.url != here
    page.go_forward()
    page.wait_for_url(here)
    assert (re.sub(r"^\(\d+\) ", "", page.title()), said(page)) == (
        re.sub(r"^\(\d+\) ", "", title),
        before,
    )


def walk(page: Page, look: Callable[[Page], None]) -> None:
    """From the template to the review, with ``look`` at every step."""
    page.get_by_role("link", name=re.compile("Use it.*Our way")).click()
    page.wait_for_url("**/model")
    choose(page, "reader")
    look(page)
    for step in WAY:
        if step == "review":
            page.get_by_role("alert").get_by_text("Does not fit").wait_for()
            expect(page.get_by_role("button", name="Continue")).to_be_disabled()
            look(page)
            page.get_by_role("button", name=re.compile("Apply.*Use sdpa attention")).click()
            page.get_by_text("It will work, as far as can be told").wait_for()
        go_on(page, step)
        if step == "data":
            choose(page, "letters 1.0")
        if step != "preflight":
            look(page)


def create(page: Page, name: str) -> str:
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_role("button", name="Create the job").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name, timeout=30_000)
    return page.url.rpartition("/")[2]


def without_scripts(visitor: Visitor) -> None:
    """The same way as far as creation; this one is not started."""
    page = visitor.open("/recipes", java_script_enabled=False)
    walk(page, lambda page: expect(page.get_by_role("heading", level=1)).to_be_visible())
    page.get_by_role("checkbox", name="Start").uncheck()
    create(page, "by hand")
    expect(page.get_by_text("It is prepared, but not started.")).to_be_visible()


def test_from_a_template_to_an_answer_of_what_came_of_it(
    yard: Yard, visitor: Visitor, stranger: Callable[[], dict[str, str]], template: str
) -> None:
    page = visitor.open("/recipes", permissions=["notifications"])
    line = Line(page.context)
    other = visitor.another(page.context, "/datasets")
    outside = visitor.open("/login", permissions=["notifications"])
    cookie: Any = {"url": visitor.address, **stranger()}
    outside.context.add_cookies([cookie])
    outside.goto("/activity")
    page.goto("/recipes")  # now its socket is on the line
    for tab in (page, other, outside):
        listens(tab)
    walk(page, nothing_is_lost)
    job = create(page, "the long story")

    # The chart moves by itself.
    page.wait_for_function(f"{CURVE}?.length > 2")
    seen = len(page.evaluate(CURVE))
    page.wait_for_function(f"seen => {CURVE}.length > seen", arg=seen)

    # Cut off in the middle of the run; another browser, without scripts, goes the same way.
    line.cut()
    expect(page.locator("#connection")).to_have_text("Reconnecting…")
    missed = len(page.evaluate(CURVE))
    metrics = f"{visitor.address}/api/jobs/{job}/metrics"
    wait_until(page, lambda: len(page.request.get(metrics).json()["metrics"]) > missed)
    assert len(page.evaluate(CURVE)) == missed
    without_scripts(visitor)
    line.mend(page)
    expect(page.locator("#connection")).to_be_hidden(timeout=15_000)

    # Nothing is lost: every step once, and one notification in all.
    [notification] = wait_for_shown(page, 1, seconds=120)
    assert notification["title"] == "Training completed: the long story"
    expect(page.get_by_role("status").locator(".badge")).to_have_text("Completed")
    page.wait_for_function(f"steps => {CURVE}.at(-1).x === steps", arg=STEPS)
    assert page.evaluate(f"{CURVE}.map(p => p.x)") == list(range(1, STEPS + 1))
    for tab in (page, other):
        listens(tab)
        assert shown(tab) == [notification]

    # Somebody of another project was told nothing, and finds nothing.
    listens(outside)
    expect(outside.locator("main")).not_to_contain_text("the long story")
    assert shown(outside) == []
    for path in (f"/jobs/{job}", f"/api/jobs/{job}", f"/jobs/new?clone={job}"):
        assert outside.context.request.get(path).status == 404
    assert "the long story" not in outside.context.request.get("/jobs").text()

    # A click leads to the job, and from there one asks what came of it.
    page.goto("/models")
    other.close()
    worker_of(page).evaluate(CLICK, notification["title"])
    page.wait_for_url(f"**/jobs/{job}")
    page.get_by_role("link", name="Try it").click()
    page.get_by_role("textbox", name="Prompt").fill("2 plus 2 is")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("status").locator(".badge")).to_have_text("Completed", timeout=60_000)
    # What so small a model says may be nothing at all, but it says when it has.
    expect(page.locator(".answers").first).to_contain_text(re.compile(r"\d+ tokens? in [\d.]+ s"))
