"""Server mode: nobody tries many passwords, at whichever door."""

from __future__ import annotations

import base64
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache.backends.redis import RedisCache
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from accounts import sign_in
from accounts.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("server_mode")]
PASSWORD = "correct horse battery"
Door = Callable[..., Any]


@pytest.fixture(autouse=True)
def three_a_minute(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TRAINYARD_SIGN_INS_PER_MINUTE = 3
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick
    monkeypatch.setattr(sign_in, "time", lambda: 1_000_000_018.5)  # of its minute: 58.5 s


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


def page(name: str, password: str, address: str = "10.0.0.1", path: str = "/login") -> Any:
    given = {"username": name, "password": password}
    return Client(REMOTE_ADDR=address).post(path, given)


def admin(name: str, password: str, address: str = "10.0.0.1") -> Any:
    return page(name, password, address, "/admin/login/")


def basic(name: str, password: str, address: str = "10.0.0.1") -> Any:
    words = base64.b64encode(f"{name}:{password}".encode()).decode()
    client = APIClient(REMOTE_ADDR=address, HTTP_AUTHORIZATION=f"Basic {words}")
    return client.post("/api/tokens", {"name": "ci"}, format="json")


# What the right password and a wrong one are answered with.
DOORS: dict[Door, tuple[int, int]] = {page: (302, 200), admin: (302, 200), basic: (201, 401)}
every_door = pytest.mark.parametrize("door", DOORS)


@every_door
def test_one_wrong_password_too_many_is_told_when_to_come_back(door: Door, root: User) -> None:
    _, wrong = DOORS[door]
    assert [door("root", "guess").status_code for _ in range(4)] == [wrong] * 3 + [429]
    answer = door("root", PASSWORD)
    assert answer.status_code == 429, "not even the right one helps now"
    assert answer["Retry-After"] == "2"
    assert "Too many wrong names or passwords. Try again in 2 seconds." in answer.content.decode()


@every_door
def test_when_the_minute_is_over_the_right_one_opens(
    door: Door, root: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        door("root", "guess")
    monkeypatch.setattr(sign_in, "time", lambda: 1_000_000_020.5)
    right, _ = DOORS[door]
    assert door("root", PASSWORD).status_code == right


@every_door
def test_who_gets_in_does_not_count(door: Door, root: User) -> None:
    right, _ = DOORS[door]
    assert {door("root", PASSWORD).status_code for _ in range(5)} == {right}


def test_all_doors_count_together(root: User) -> None:
    answers = [door("root", "guess").status_code for door in (page, admin, basic, page)]
    assert answers == [200, 200, 401, 429]


def test_a_name_is_counted_from_wherever_one_tries(root: User) -> None:
    answers = [basic("root", "guess", f"10.0.0.{n}").status_code for n in range(4)]
    assert answers == [401, 401, 401, 429]


def test_an_address_is_counted_whatever_name_it_tries(root: User) -> None:
    names = ("ana", "b" * 300, "not there", "root")
    assert [basic(name, "guess").status_code for name in names] == [401, 401, 401, 429]
    assert basic("root", PASSWORD, "10.0.0.2").status_code == 201


def test_the_page_leads_back_to_the_form(root: User) -> None:
    for _ in range(3):
        page("root", "guess")
    answer = page("root", "guess")
    assert "text/html" in answer["Content-Type"]
    assert 'href="/login"' in answer.content.decode()


def test_the_api_answers_in_its_own_shape(root: User) -> None:
    for _ in range(3):
        basic("root", "guess")
    assert basic("root", "guess").json() == {
        "error": "Too many wrong names or passwords. Try again in 2 seconds."
    }


def test_local_mode_counts_nothing(root: User, settings: Any) -> None:
    settings.TRAINYARD_MODE = "local"
    answers = [basic("root", "guess", "127.0.0.1").status_code for _ in range(5)]
    assert 429 not in answers


def test_it_counts_in_redis_as_servers_do(
    root: User, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = RedisCache(broker_url, {"KEY_PREFIX": f"test-{uuid.uuid4()}"})
    monkeypatch.setattr(sign_in, "cache", cache)
    answers = [basic("root", word).status_code for word in ("a", "b", PASSWORD, "c", "d")]
    assert answers == [401, 401, 201, 401, 429]
    cache.close()


def test_without_its_redis_signing_in_goes_on(root: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "cache", RedisCache("unix:///nowhere.sock", {}))
    assert [basic("root", "guess").status_code for _ in range(5)] == [401] * 5
    assert basic("root", PASSWORD).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_many_at_once_are_each_counted(root: User) -> None:
    gate, answers = threading.Barrier(8), []

    def guess() -> None:
        gate.wait()
        try:
            answers.append(basic("root", "guess").status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [401] * 3 + [429] * 5
