"""What takes how much room, by project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import Project, User
from registry import files, store
from tests.factories import make_artifact, make_checkpoint, make_dataset, make_job, make_model
from tests.pages import Page

pytestmark = pytest.mark.django_db


def page_for(user: User) -> Page:
    client = Client()
    client.force_login(user)
    page = Page(client.get("/storage"))
    page.check_outline()
    return page


def test_an_empty_project_says_so(ana: User, home: Path) -> None:
    words = page_for(ana).words
    assert "It has no files yet." in words
    assert "Nothing is registered yet." in words


def test_each_kind_is_counted_beside_its_quota(ana: User, home: Path, project: Project) -> None:
    Project.objects.update(max_storage_gb=1)
    make_model(name="orchard", storage_path=str(home / "models" / "m"), size_bytes=2 << 20)
    make_dataset(storage_path=str(home / "datasets" / "d"), size_bytes=1 << 20)
    job = make_job()
    make_artifact(job, "x.gguf", kind="gguf", size_bytes=4 << 20)
    make_checkpoint(job, 1, size_bytes=8 << 20)
    words = page_for(ana).words
    assert "Default 7.0 MiB of 954 MiB" in words
    assert "Models 2.0 MiB Datasets 1.0 MiB Adapters – Other exports 4.0 MiB" in words
    assert "Checkpoints 8.0 MiB" in words
    assert "orchard 2.0 MiB model, Default" in words
    assert "Shared files" not in words
    assert "It has no files yet." not in words


def test_strangers_see_their_own_only(stranger: User, home: Path) -> None:
    make_model(name="orchard", storage_path=str(home / "models" / "m"))
    words = page_for(stranger).words
    assert "Elsewhere" in words
    assert "orchard" not in words


def test_staff_sees_what_sharing_saves(root: User, home: Path) -> None:
    for name in "ab":
        folder = home / "exports" / name
        folder.mkdir()
        (folder / "w").write_bytes(bytes(1 << 20))
        store.adopt(folder, files.manifest(folder))
    assert "Saved by sharing 1.0 MiB" in page_for(root).words


def test_it_costs_the_same_however_much_there_is(
    ana: User, home: Path, django_assert_num_queries: Any
) -> None:
    client = Client()
    client.force_login(ana)
    for _ in range(5):
        make_model(storage_path=str(home / "models" / "m"))
    with django_assert_num_queries(12):  # session, user, projects, 5 sums, 3 lists, the bell
        client.get("/storage")
