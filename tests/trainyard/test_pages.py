"""What all pages share: assets that ship, errors as pages, signing in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests.pages import Page


def test_the_chart_library_comes_with_an_installed_package() -> None:
    found = finders.find("unfold/js/chart/chart.js")
    assert found is not None
    assert "Chart" in Path(found).read_text(encoding="utf-8")[:400]


def test_htmx_comes_with_an_installed_package(client: Client, db: None) -> None:
    sources = [script.get("src", "") or "" for script in Page(client.get("/")).all("script")]
    (htmx,) = [source for source in sources if "htmx" in source]
    assert finders.find(htmx.removeprefix("/static/")) is not None


def test_every_file_that_a_page_loads_is_there(client: Client, db: None) -> None:
    page = Page(client.get("/"))
    loaded = [*(s.get("src") for s in page.all("script")), *(s["href"] for s in page.all("link"))]
    for address in filter(None, loaded):
        assert finders.find(address.removeprefix("/static/")), address


def test_scripts_import_only_each_other() -> None:
    scripts = Path(django_settings.BASE_DIR) / "static" / "js"
    names = {f'"./{path.name}"' for path in scripts.glob("*.js")}
    for path in scripts.glob("*.js"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("import "):
                assert line.split(" from ")[1].rstrip(";") in names, f"{path.name}: {line}"


@pytest.mark.parametrize(
    "name", ["home", "jobs", "models", "datasets", "transfers", "recipes", "activity"]
)
def test_the_menu_says_where_one_is(client: Client, db: None, name: str) -> None:
    page = Page(client.get(reverse(name)))
    page.check_outline()
    here = [a["href"] for a in page.all("a") if a.get("aria-current") == "page"]
    assert here == [reverse(name)]


def test_an_unknown_address_is_a_page_with_a_way_on(client: Client, db: None) -> None:
    response = client.get("/nowhere")
    assert response.status_code == 404
    page = Page(response)
    page.check_outline()
    assert "/jobs" in {a["href"] for a in page.all("a")}


def test_a_broken_server_still_answers_with_a_page(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("training.views.jobs.counts", broken)
    client = Client(raise_request_exception=False)
    response = client.get("/jobs")
    assert response.status_code == 500
    Page(response).check_outline()


class TestServerMode:
    @pytest.fixture(autouse=True)
    def _server_mode(self, settings: Any, db: None) -> None:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "LocalOwner" not in name]

    def test_one_signs_in_and_lands_where_one_wanted_to_go(self, client: Client) -> None:
        User.objects.create_user("ana", password="long enough")
        form = client.get("/login?next=/jobs")
        Page(form).check_outline()
        answer = client.post(
            "/login", {"username": "ana", "password": "long enough", "next": "/jobs"}
        )
        assert answer["Location"] == "/jobs"
        page = Page(client.get("/jobs"))
        assert "ana Sign out" in page.words

    def test_a_wrong_password_is_told_on_the_page(self, client: Client) -> None:
        User.objects.create_user("ana", password="long enough")
        page = Page(client.post("/login", {"username": "ana", "password": "wrong"}))
        page.check_outline()
        assert "correct username and password" in page.words

    def test_signing_out_needs_a_post_and_ends_the_session(self, client: Client, ana: User) -> None:
        client.force_login(ana)
        assert client.get("/logout").status_code == 405
        assert client.post("/logout")["Location"] == "/login"
        assert client.get("/").status_code == 302
