"""Debian's Chromium, and somebody who looks at pages with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

# Keeps how far what one saw has moved by itself, and what of it.
WATCH_SHIFTS = """
    window.shifts = [];
    new PerformanceObserver((list) => {
        for (const { value, hadRecentInput, sources } of list.getEntries()) {
            const moved = sources.map(({ node }) => node?.id || node?.className || node?.nodeName);
            if (!hadRecentInput) window.shifts.push({ value, moved });
        }
    }).observe({ type: "layout-shift", buffered: true });
"""
# What the browser itself says where nobody answers, or somebody who is going down.
AWAY = (
    "WebSocket connection to",
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_CONNECTION_CLOSED",
    "ERR_EMPTY_RESPONSE",
    "ERR_CONTENT_LENGTH_MISMATCH",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
)
MOST_SHIFT = 0.05  # of the screen's area and height, as browsers count it; 0.1 is called good

# Beside other lanes a page may take more than the five seconds that Playwright waits for it.
expect.set_options(timeout=20_000)


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


def unsteady(page: Page) -> list[str]:
    """What has moved on a page that was opened after `WATCH_SHIFTS`; nothing where it is little."""
    shifts = page.evaluate("window.shifts")
    total = sum(shift["value"] for shift in shifts)
    return [f"shifts by {total:.3f}: {shifts}"] if total > MOST_SHIFT else []


class Visitor:
    """Opens pages, and hears every complaint of the browser about them."""

    def __init__(self, browser: Browser, address: str) -> None:
        self._browser = browser
        self.address = address
        self.complaints: list[str] = []
        self._forgiven: tuple[str, ...] = ()

    def open(self, path: str, **options: Any) -> Page:
        context = self._browser.new_context(base_url=self.address, **options)
        return self.another(context, path)

    def another(self, context: BrowserContext, path: str) -> Page:
        """One more tab of the same browser."""
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._complain(str(error)))
        page.on("response", self._look)
        page.goto(path)
        return page

    @staticmethod
    def slow_line(page: Page, latency_ms: int) -> None:
        """From now on every answer takes this much longer."""
        network = page.context.new_cdp_session(page)
        speed = {"downloadThroughput": -1, "uploadThroughput": -1}
        conditions = {"offline": False, "latency": latency_ms, **speed}
        network.send("Network.emulateNetworkConditions", conditions)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._complain(message.text)

    def _look(self, response: Any) -> None:
        if not response.url.startswith(self.address) or response.status >= 400:
            self._complain(f"{response.status} {response.url}")

    def _complain(self, sentence: str) -> None:
        if not any(word in sentence for word in self._forgiven):
            self.complaints.append(sentence)

    def forgive(self, *words: str) -> None:
        """Forget the complaints that hold one of the words, also those that are still on their way:
        the test has brought them about."""
        self._forgiven += words
        self.complaints = [c for c in self.complaints if not any(word in c for word in words)]

    def leave(self) -> None:
        for context in self._browser.contexts:
            context.close()
