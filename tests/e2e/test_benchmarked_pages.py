"""The benchmark of the pages leaves none out."""

from __future__ import annotations

import uuid
from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.urls import resolve

from benchmarks.latency.pages import pages
from tests.e2e import samples
from training.wizard.steps import NAMES


@pytest.mark.django_db
def test_every_page_is_measured() -> None:
    facts: dict[str, Any] = defaultdict(uuid.uuid4, compared=[uuid.uuid4()], steps=NAMES)
    measured = {resolve(urlsplit(address).path).url_name for _, address in pages(facts)}
    assert measured >= samples.names_of_pages()
