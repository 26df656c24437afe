"""The notifications of a real browser, as its service worker has them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

SHOWN = """async () => {
    const { getNotifications } = ServiceWorkerRegistration.prototype;
    const registration = await navigator.serviceWorker.ready;
    const shown = await getNotifications.call(registration);
    return shown.map(({ title, body }) => ({ title, body }));
}"""
CLICK = """async (title) => {
    const shown = await self.registration.getNotifications();
    const notification = shown.find((one) => one.title === title);
    self.dispatchEvent(new NotificationEvent("notificationclick", { notification }));
}"""
# As the browser hands them to the worker; on a busy machine it may take its time with that.
TELL = """(said) => {
    self.dispatchEvent(new ExtendableMessageEvent("message", { data: { tell: said } }));
}"""
PUSH = "(said) => self.dispatchEvent(new PushEvent('push', { data: JSON.stringify(said) }))"
# What a browser says of push in the private windows that tests are given.
PRIVATE = "Push API in incognito mode"


def shown(page: Page) -> list[dict[str, str]]:
    """The notifications that the browser shows now."""
    found: list[dict[str, str]] = page.evaluate(SHOWN)
    return found


def wait_for_shown(page: Page, count: int, seconds: float = 30) -> list[dict[str, str]]:
    wait_until(page, lambda: len(shown(page)) == count, seconds)
    return shown(page)


def wait_until(page: Page, condition: Callable[[], Any], seconds: float = 30) -> None:
    """Lets the browser go on meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def listens(page: Page) -> None:
    """Its socket is open and the service worker is there."""
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    expect(page.locator("#connection")).to_be_hidden()
