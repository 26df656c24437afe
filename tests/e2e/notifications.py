"""The notifications of a real browser, as its service worker has them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Worker, expect

# Chromium puts its list right when it is asked for it, and forgets on the way what it is about to
# show at that moment: so one has to wait for the other.
IN_TURN = """() => {
    if (self.turn) return;
    self.turn = Promise.resolve();
    for (const name of ["showNotification", "getNotifications"]) {
        const real = ServiceWorkerRegistration.prototype[name];
        ServiceWorkerRegistration.prototype[name] = function (...args) {
            const mine = self.turn.then(() => real.apply(this, args));
            self.turn = mine.catch(() => {});
            return mine;
        };
    }
}"""
SHOWN = """async () => {
    const shown = await self.registration.getNotifications();
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


def worker_of(page: Page) -> Worker:
    """Its service worker, which shows notifications in turn from now on."""
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    wait_until(page, lambda: page.context.service_workers)
    worker = page.context.service_workers[0]
    worker.evaluate(IN_TURN)
    return worker


def shown(page: Page) -> list[dict[str, str]]:
    """The notifications that the browser shows now. Ask `worker_of` before there can be one."""
    found: list[dict[str, str]] = worker_of(page).evaluate(SHOWN)
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
    worker_of(page)
    expect(page.locator("#connection")).to_be_hidden()
