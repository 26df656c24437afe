from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from registry import files, storage
from registry.storage import BadPath


def test_an_absolute_path_below_a_root_is_its_real_place(home: Path):
    (home / "models" / "a").mkdir()
    assert storage.resolve(str(home / "models" / "a")) == home / "models" / "a"


@pytest.mark.parametrize("path", ["tiny", "models/tiny", "./tiny"])
def test_a_relative_path_is_looked_up_below_the_home(home: Path, path: str):
    (home / "models" / "tiny").mkdir()
    assert storage.resolve(path) == home / "models" / "tiny"


def test_a_relative_path_may_be_a_dataset(home: Path):
    (home / "datasets" / "dates").mkdir()
    assert storage.resolve("dates") == home / "datasets" / "dates"


@pytest.mark.parametrize(
    "path",
    ["/etc", "/etc/passwd", "../../etc", "models/../../x", "runs/1", "", "a\x00b", "x" * 9000],
)
def test_what_lies_outside_the_roots_is_refused(home: Path, path: str):
    with pytest.raises(BadPath):
        storage.resolve(path)


def test_the_refusal_names_the_roots_and_not_whether_the_place_exists(home: Path):
    messages = []
    for path in ("/etc/passwd", "/etc/no-such-file"):
        with pytest.raises(BadPath) as caught:
            storage.resolve(path)
        messages.append(str(caught.value).replace(path, "PATH"))
    assert messages[0] == messages[1]
    assert str(home / "models") in messages[0]


def test_a_link_out_of_the_root_is_refused(home: Path, tmp_path_factory: pytest.TempPathFactory):
    (home / "models" / "link").symlink_to(tmp_path_factory.mktemp("outside"))
    with pytest.raises(BadPath, match="not below one of the storage roots"):
        storage.resolve(str(home / "models" / "link"))
    with pytest.raises(BadPath):
        storage.resolve("link")


def test_a_circle_of_links_is_refused(home: Path):
    (home / "models" / "a").symlink_to(home / "models" / "b")
    (home / "models" / "b").symlink_to(home / "models" / "a")
    with pytest.raises(BadPath):
        storage.resolve("a")


def test_a_root_itself_and_what_holds_it_are_refused(home: Path, monkeypatch, settings):
    settings.TRAINYARD_STORAGE_ROOTS = [home.parent, home / "models"]
    for path in (home, home / "models"):
        with pytest.raises(BadPath):
            storage.resolve(str(path))


def test_a_missing_path_below_a_root_is_told_as_missing(home: Path):
    with pytest.raises(BadPath, match="does not exist"):
        storage.resolve("models/nothing")


def test_the_manifest_has_hash_and_size_of_every_file(home: Path):
    folder = home / "models" / "m"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"one")
    (folder / "sub" / "b").write_bytes(b"")
    (folder / ".hidden").write_bytes(b"x")
    assert storage.manifest(folder) == {
        "a": {"sha256": hashlib.sha256(b"one").hexdigest(), "size": 3},
        "sub/b": {"sha256": hashlib.sha256(b"").hexdigest(), "size": 0},
    }


def test_the_checksum_is_that_of_the_written_manifest(home: Path):
    folder = home / "models" / "m"
    folder.mkdir()
    for name in ("z", "a"):
        (folder / name).write_text(name)
    manifest = storage.manifest(folder)
    path = home / "models" / "written.jsonl"
    storage.write_manifest(path, manifest)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == storage.checksum(manifest)
    assert [json.loads(line)["file"] for line in path.read_text().splitlines()] == ["a", "z"]
    assert storage.read_manifest(path) == manifest
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []


def test_a_file_that_links_out_of_the_root_is_refused(home: Path):
    folder = home / "models" / "m"
    folder.mkdir()
    (folder / "config.json").symlink_to("/etc/passwd")
    with pytest.raises(BadPath, match=r"config\.json.*outside the storage roots"):
        storage.manifest(folder)


def test_a_link_to_a_file_below_the_roots_counts_as_the_file(home: Path):
    (home / "models" / "blob").write_bytes(b"weights")
    folder = home / "models" / "m"
    folder.mkdir()
    (folder / "w").symlink_to(home / "models" / "blob")
    assert storage.manifest(folder)["w"]["size"] == 7


def test_a_linked_folder_is_refused(home: Path):
    folder = home / "models" / "m"
    folder.mkdir()
    (folder / "sub").symlink_to(home / "datasets")
    with pytest.raises(BadPath, match="link to a folder"):
        storage.manifest(folder)


def test_a_pipe_is_refused_and_not_waited_for(home: Path):
    folder = home / "models" / "m"
    folder.mkdir()
    os.mkfifo(folder / "config.json")
    with pytest.raises(BadPath, match="not an ordinary file"):
        storage.manifest(folder)


def test_a_name_that_is_not_utf8_is_refused(home: Path):
    folder = os.fsencode(home / "models" / "m")
    os.mkdir(folder)
    open(folder + b"/\xff", "wb").close()
    with pytest.raises(BadPath, match="not UTF-8"):
        storage.manifest(home / "models" / "m")


def test_a_folder_without_end_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "MOST_FILES", 2)
    for name in "abc":
        (home / "models" / name).touch()
    with pytest.raises(BadPath, match="more than 2 files"):
        files.regular_files(home / "models")


def test_a_damaged_manifest_counts_as_none(home: Path):
    path = home / "models" / "m.manifest.jsonl"
    path.write_text('{"file": "a"}\nnonsense')
    assert storage.read_manifest(path) is None
