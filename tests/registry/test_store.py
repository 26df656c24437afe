"""One copy of each content, whoever has it; and nobody loses a byte on the way there."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry import files, store

LATER = time.time() + 3600


@pytest.fixture
def place(home: Path) -> Callable[..., Path]:
    """``place("a", weights=b"...")``: a folder with these files."""

    def make(name: str, **contents: bytes) -> Path:
        folder = home / "exports" / name
        folder.mkdir(parents=True)
        for file, content in contents.items():
            (folder / file).write_bytes(content)
        return folder

    return make


def adopt(folder: Path) -> dict[str, files.Seen]:
    return store.adopt(folder, files.manifest(folder))


def links(path: Path) -> int:
    return path.stat().st_nlink


def test_the_same_bytes_are_on_the_disk_once(place):
    first, second = place("a", w=b"weights", c=b"one"), place("b", x=b"weights", c=b"two")
    adopt(first)
    looks = adopt(second)
    assert (first / "w").samefile(second / "x")
    assert not (first / "c").samefile(second / "c")
    assert [copy.users for copy in sorted(store.copies(), key=lambda c: -c.users)] == [2, 1, 1]
    assert looks["x"] == files.seen((second / "x").stat())
    assert not list((store.folder() / "incoming").iterdir())


def test_what_is_shared_cannot_be_changed_by_accident(place):
    folder = place("a", w=b"weights")
    adopt(folder)
    assert (folder / "w").stat().st_mode & 0o222 == 0


def test_adopting_twice_changes_nothing(place):
    folder = place("a", w=b"weights")
    assert adopt(folder) == adopt(folder)
    assert links(folder / "w") == 2


def test_links_and_files_that_are_not_as_said_are_left_alone(place, home):
    folder = place("a", w=b"weights", grown=b"1")
    (folder / "link").symlink_to(folder / "w")
    manifest = files.manifest(folder)
    (folder / "grown").write_bytes(b"12")
    (folder / "w").unlink()
    assert store.adopt(folder, manifest) == {}
    assert list(store.copies()) == []


def test_a_damaged_copy_takes_nobodys_place(place):
    first = place("a", w=b"weights")
    adopt(first)
    (first / "w").chmod(0o644)
    (first / "w").write_bytes(b"WEIGHTS")  # through its own name, and so in the store as well
    second, third = place("b", w=b"weights"), place("c", w=b"weights")
    adopt(second)
    adopt(third)
    assert (second / "w").read_bytes() == b"weights"
    assert (second / "w").samefile(third / "w")
    assert not (second / "w").samefile(first / "w")


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM])
@pytest.mark.parametrize("is_first", [True, False])
def test_where_links_are_impossible_there_are_copies(place, monkeypatch, number, is_first):
    if not is_first:
        adopt(place("a", w=b"weights"))

    def refuse(source: Any, target: Any, **more: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    folder = place("b", w=b"weights")
    assert adopt(folder) == {"w": files.seen((folder / "w").stat())}
    assert links(folder / "w") == 1
    assert [path.name for path in folder.iterdir()] == ["w"]


def test_a_full_disk_is_told(place, monkeypatch):
    def refuse(source: Any, target: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="No space left"):
        adopt(place("a", w=b"weights"))


def test_a_copy_is_unused_when_its_last_file_has_gone(place):
    first, second = place("a", w=b"weights"), place("b", w=b"weights")
    adopt(first)
    adopt(second)
    (first / "w").unlink()
    assert list(store.unused(LATER)) == []
    (second / "w").unlink()
    assert list(store.unused(time.time() - 3600)) == []  # the grace time counts from now
    [copy] = store.unused(LATER)
    assert store.discard(copy, LATER)
    assert list(store.copies()) == []
    assert not store.discard(copy, LATER)


def test_whoever_links_in_the_last_moment_keeps_it(place):
    folder = place("a", w=b"weights")
    adopt(folder)
    (folder / "w").unlink()
    [copy] = store.unused(LATER)
    late = place("b", w=b"weights")
    adopt(late)
    assert not store.discard(copy, LATER)
    assert (late / "w").samefile(copy.path)


def test_a_copy_that_is_collected_while_it_is_looked_at_is_made_anew(place, monkeypatch):
    folder = place("a", w=b"weights")
    adopt(folder)
    [copy] = store.copies()
    real = files.facts_of

    def collected(path: Path) -> Any:
        found = real(path)
        if path == copy.path:
            copy.path.unlink()
        return found

    late = place("b", w=b"weights")
    manifest = files.manifest(late)
    monkeypatch.setattr(files, "facts_of", collected)
    store.adopt(late, manifest)
    assert (late / "w").samefile(copy.path)


def test_a_link_that_a_killed_process_left_goes_and_its_copy_stays(place):
    folder = place("a", w=b"weights")
    adopt(folder)
    [copy] = store.copies()
    (store.folder() / "incoming").mkdir(exist_ok=True)
    os.link(copy.path, store.folder() / "incoming" / "left")
    [left] = store.unused(LATER)
    assert store.discard(left, LATER)
    assert links(folder / "w") == 2
