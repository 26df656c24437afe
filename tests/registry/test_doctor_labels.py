"""Rows with preferences and labels, and folders of images: kinds of their own to the doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from registry import doctor, inspect
from registry.doctor import Report
from tests.registry.files import write_rows

USER = {"role": "user", "content": "2 plus 3"}
GOOD = {"role": "assistant", "content": "5"}
BAD = {"role": "assistant", "content": "23"}


def check_rows(folder: Path, *rows: Any) -> Report:
    write_rows(folder / "train.jsonl", list(rows))
    return doctor.check(folder)


@pytest.mark.parametrize(
    ("row", "kind", "characters"),
    [
        ({"prompt": "ab", "chosen": "c", "rejected": "def"}, "preference", 5),
        ({"chosen": "abc", "rejected": "abde"}, "preference", 4),
        ({"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}, "preference", 10),
        ({"chosen": [USER, GOOD], "rejected": [USER, BAD]}, "preference", 10),
        ({"prompt": "a", "completion": "b", "label": False}, "unpaired_preference", 2),
        ({"prompt": [USER], "completion": [GOOD], "label": True}, "unpaired_preference", 9),
        ({"prompt": "a", "completion": "b", "label": "x"}, "prompt_completion", 2),
        ({"text": "ab", "label": "x"}, "labelled", 2),
        ({"text": "ab", "label": 0}, "labelled", 2),
        ({"text": "ab", "label": 0.5}, "text", 2),
        ({"image": "red/1.png", "label": "red"}, "labelled_image", 9),
    ],
)
def test_kinds_of_rows(row: dict[str, Any], kind: str, characters: int, tmp_path: Path):
    save(tmp_path / "red" / "1.png")
    report = check_rows(tmp_path, row)
    assert report.passed
    assert report.findings.kept == []
    assert report.row_format == kind
    assert report.max_characters == characters


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": 7}, "wrong_type", "rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": [BAD]}, "wrong_type", "rejected"),
        ({"prompt": 7, "chosen": "b", "rejected": "c"}, "wrong_type", "prompt"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "same_answers", "rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": ""}, "empty", "rejected"),
        ({"chosen": [USER], "rejected": [USER, BAD]}, "no_answer", "chosen"),
        ({"text": "a", "label": ""}, "bad_label", "label"),
        ({"image": "1.png", "label": None}, "bad_label", "label"),
        ({"image": 5, "label": "red"}, "wrong_type", "image"),
    ],
)
def test_what_is_wrong_with_a_row(row: dict[str, Any], code: str, field: str, tmp_path: Path):
    report = check_rows(tmp_path, row)
    assert not report.passed
    found = report.findings.kept[0]
    assert (found.code, found.field, found.line) == (code, field, 1)


def save(path: Path, colour: str = "red") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(path)


def test_images_that_rows_name_have_to_be_there(tmp_path: Path):
    """As the trainer looks for them: from where the file of rows is, and nowhere else."""
    data = tmp_path / "data"
    save(data / "images" / "1.png")
    save(tmp_path / "secret.png")
    (data / ".hidden").mkdir()  # where nobody else looks for links
    (data / ".hidden" / "way").symlink_to(tmp_path)
    (data / ".hidden" / "out.png").symlink_to(tmp_path / "secret.png")
    (data / ".hidden" / "in.png").symlink_to("../images/1.png")
    paths = {
        "images/1.png": "",
        ".hidden/in.png": "",
        "./images/../images/1.png": "",
        "images/2.png": "missing_image",
        "images": "missing_image",
        "x" * 5000: "missing_image",
        "../secret.png": "image_outside",
        str(tmp_path / "secret.png"): "image_outside",
        "/etc/passwd": "image_outside",
        ".hidden/way/secret.png": "image_outside",
        ".hidden/out.png": "image_outside",
        "images/1.png\0": "image_outside",
    }
    rows = [{"image": path, "label": "red"} for path in paths]
    write_rows(data / "train.jsonl", rows)
    report = doctor.check(data)
    told = {found.line: found for found in report.findings.kept if found.level == "error"}
    assert {line: found.code for line, found in told.items()} == {
        line: code for line, code in enumerate(paths.values(), 1) if code
    }
    assert report.num_samples == 3
    missing = told[4]
    assert (missing.file, missing.field) == ("train.jsonl", "image")
    assert missing.message == "There is no image images/2.png."
    assert missing.fix.startswith("Add the file")
    assert report.findings.errors == 9


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for split, count, shade in (("train", 3, 0), ("val", 1, 60)):
        for number in range(count):
            folder, dark = tmp_path / "colours" / split, shade + 20 * number
            save(folder / "red" / f"{number}.png", f"rgb(255, {dark}, {dark})")
            save(folder / "blue" / f"{number}.png", f"rgb({dark}, {dark}, 255)")
    return tmp_path / "colours"


def test_an_image_folder_passes_with_its_statistics(images: Path):
    report = doctor.check_images(images)
    assert report.passed
    assert report.statistics["rows"] == {"train": 6, "validation": 2}
    assert report.statistics["row_format"] == "labelled_image"
    assert report.size_bytes == sum(file.stat().st_size for file in images.rglob("*.png"))
    assert doctor.image_folders(images) == {
        "train": [images / "train"],
        "validation": [images / "val"],
    }


def test_folders_of_classes_alone_are_the_train_split(images: Path):
    assert doctor.image_folders(images / "train") == {"train": [images / "train"]}
    assert doctor.check_images(images / "train").statistics["rows"] == {"train": 6}


def test_what_is_no_image_folder_has_no_splits(tmp_path: Path):
    save(tmp_path / "loose.png")
    assert doctor.image_folders(tmp_path) == {}
    assert doctor.image_folders(tmp_path / "loose.png") == {}


def test_a_broken_image_is_found(images: Path):
    (images / "train" / "red" / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    report = doctor.check_images(images)
    (found,) = report.findings.kept
    assert (found.code, found.file) == ("bad_image", "train/red/half.png")
    assert not report.passed
    assert report.rows["train"] == 6


def test_a_class_that_nothing_teaches_is_found(images: Path):
    save(images / "val" / "green" / "0.png", "green")
    (found,) = doctor.check_images(images).findings.kept
    assert found.code == "unknown_label"
    assert "validation" in found.message
    assert "green" in found.message


def test_one_class_is_no_choice(tmp_path: Path):
    save(tmp_path / "train" / "red" / "0.png")
    (found,) = doctor.check_images(tmp_path).findings.kept
    assert found.code == "one_class"


def test_images_without_a_train_split_are_told(images: Path):
    (images / "train").rename(images / "test")
    (found,) = doctor.check_images(images).findings.kept
    assert found.code == "no_train_split"


@pytest.mark.parametrize("family", ["vit", "clip", "perceiver"])
def test_a_model_that_classifies_images_takes_images(family: str):
    config: dict[str, Any] = {"model_type": family, "architectures": ["XForImageClassification"]}
    if family == "clip":
        config["vision_config"] = {"hidden_size": 8}
    assert inspect.from_config(config).modality == "image"


def test_classes_of_images_are_counted(tmp_path: Path):
    for number in range(62):
        folder = tmp_path / "train" / ("rare" if number % 31 == 0 else "usual")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (number, 0, 0)).save(folder / f"{number}.png")
    report = doctor.check_images(tmp_path)
    assert report.statistics["labels"] == {"usual": 60, "rare": 2}
    assert report.statistics["rows_read"] == 62
    assert report.passed
