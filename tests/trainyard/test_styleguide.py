"""/styleguide shows every class of the stylesheet, and no page uses one that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from tests.pages import Page

ROOT = Path(settings.BASE_DIR)


def classes_of_the_stylesheet() -> set[str]:
    css = (ROOT / "static" / "trainyard.css").read_text(encoding="utf-8")
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    selectors = " ".join(re.findall(r"([^{}]+)\{", css))
    return set(re.findall(r"\.([a-z][\w-]*)", selectors))


@pytest.mark.django_db
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_class_of_the_stylesheet_is_on_the_styleguide(client: Client, scheme: str) -> None:
    page = Page(client.get(f"/styleguide?scheme={scheme}"))
    page.check_outline()
    shown = {name for _, attrs in page.tags for name in (attrs.get("class") or "").split()}
    assert classes_of_the_stylesheet() - shown == set()


@pytest.mark.django_db
def test_there_are_two_schemes(client: Client) -> None:
    assert client.get("/styleguide?scheme=sepia").status_code == 400
