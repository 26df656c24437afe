"""Image folders at the doctor: duplicates, overlap between splits, and repaired copies."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from PIL import Image, ImageDraw

from registry import checks, doctor, treatment
from registry.doctor import image_check, image_sketch, orders, repair
from registry.doctor.keeping import Repaired
from registry.files import BadPath
from registry.models import Dataset, DatasetTask
from tests.pages import Page
from tests.registry.photos import photo, save


def found(path: Path) -> dict[str, list[tuple[str, str]]]:
    """(file, message) of each finding, by code."""
    told: dict[str, list[tuple[str, str]]] = {}
    for one in doctor.check_images(path).findings.kept:
        told.setdefault(one.code, []).append((one.file, one.message))
    return told


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Two classes of six photos each, all different."""
    for number in range(6):
        save(photo(number), tmp_path / "animals" / "cat" / f"{number}.png")
        save(photo(100 + number), tmp_path / "animals" / "dog" / f"{number}.png")
    return tmp_path / "animals"


def test_different_images_are_not_alike(animals: Path):
    assert found(animals) == {}
    report = doctor.check_images(animals)
    assert report.statistics["duplicates"] == {"compared": 12, "compared_nearly": 12}


def test_an_image_is_found_twice_and_nearly_so(animals: Path):
    whole = animals / "cat" / "0.png"
    (animals / "cat" / "copy.png").write_bytes(whole.read_bytes())
    save(photo(1, (64, 48)), animals / "cat" / "smaller.png")
    save(photo(2), animals / "cat" / "pressed.jpg", quality=70)
    turned = Image.Exif()
    turned[0x0112] = 6  # lies on its side, and says so
    sideways = photo(3).transpose(Image.Transpose.ROTATE_90)
    save(sideways, animals / "cat" / "sideways.jpg", exif=turned, quality=95)
    told = found(animals)
    assert told == {
        "duplicate": [("cat/copy.png", "The same image is cat/0.png.")],
        "near_duplicate": [
            ("cat/pressed.jpg", "Nearly the same image is cat/2.png."),
            ("cat/sideways.jpg", "Nearly the same image is cat/3.png."),
            ("cat/smaller.png", "Nearly the same image is cat/1.png."),
        ],
    }
    report = doctor.check_images(animals)
    assert report.passed
    assert report.statistics["duplicates"]["near_duplicate"] == 3


def test_what_is_held_out_is_not_to_be_trained_on(tmp_path: Path):
    for number in range(4):
        save(photo(number), tmp_path / "train" / "ab"[number % 2] / f"{number}.png")
    save(photo(0), tmp_path / "test" / "a" / "held.png")
    save(photo(1, (80, 60)), tmp_path / "val" / "b" / "held.png")
    assert found(tmp_path) == {
        "leakage": [
            ("train/a/0.png", "The same image is in the test split (test/a/held.png).")
        ],
        "near_leakage": [
            ("train/b/1.png", "Nearly the same image is in the validation split (val/b/held.png).")
        ],
    }  # fmt: skip


def test_an_image_of_two_classes_is_told(animals: Path):
    (animals / "dog" / "cat.png").write_bytes((animals / "cat" / "0.png").read_bytes())
    told = found(animals)
    assert told["two_labels"] == [("dog/cat.png", "The same image is cat in cat/0.png.")]
    assert told["duplicate"] == [("dog/cat.png", "The same image is cat/0.png.")]


def test_the_same_shape_in_another_colour_is_another_image():
    def circle(colour: str) -> bytes:
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).ellipse([8, 8, 56, 56], fill=colour)
        return image_sketch.sketch_of(image)

    def twins(*sketches: bytes) -> list[int]:
        rows = np.frombuffer(b"".join(sketches), np.uint8).reshape(len(sketches), -1)
        return [int(number) for number in image_sketch.alike(rows).near]

    assert twins(circle("red"), circle("red"), circle("blue")) == [0, 0, 2]
    blank = image_sketch.sketch_of(Image.new("RGB", (64, 64), "white"))
    assert twins(blank, blank) == [0, 1]


def test_images_hang_together_by_one_between_them():
    """Two that are too different, and one that is nearly the same as both."""

    def sketch(places: range) -> Any:
        bits = np.zeros(256, np.uint8)
        bits[places] = 1
        return np.r_[np.packbits(bits), np.full(12, 128, np.uint8)]

    rows = [range(100), range(10, 110), range(5, 105), range(150, 250), range(5, 105)]
    found = image_sketch.alike(np.array([sketch(places) for places in rows], np.uint8))
    assert [int(number) for number in found.near] == [0, 1, 0, 3, 0]
    assert [int(number) for number in found.first] == [0, 0, 0, 3, 0]


def test_an_image_that_ends_too_early_is_found(animals: Path):
    """Its header is whole, which is all that Pillow's own check of a JPEG reads."""
    file = save(photo(9), animals / "cat" / "cut.jpg", quality=95)
    file.write_bytes(file.read_bytes()[:-2000])
    (told,) = found(animals)["bad_image"]
    assert told[0] == "cat/cut.jpg"
    assert "truncated" in told[1]


def test_of_a_huge_image_the_header_is_read(animals: Path, monkeypatch: Any):
    monkeypatch.setattr(image_check, "MOST_PIXELS", 100)
    save(photo(0, (80, 60)), animals / "cat" / "smaller.png")
    assert found(animals) == {}


def test_processes_find_the_same(animals: Path, monkeypatch: Any):
    monkeypatch.setattr(image_check, "_AT_ONCE", 5)
    save(photo(1, (64, 48)), animals / "cat" / "smaller.png")
    (animals / "dog" / "bad.png").write_bytes(b"no image")
    heard: list[int] = []
    one = doctor.check_images(animals)
    two = doctor.check_images(animals, processes=2, progress=lambda read, size: heard.append(read))
    assert one.statistics == two.statistics
    assert one.findings.as_list() == two.findings.as_list()
    assert heard == list(range(1, 15))


# --- Repaired copies -----------------------------------------------------------------------------


def repaired(folder: Path, **options: Any) -> Repaired:
    told = {"target": str(folder.parent / "copy"), **options}
    order = orders.Order(path=str(folder), modality="image", repair=told)
    return repair.carry_out(order, lambda *read: None)


def written(folder: Path) -> set[str]:
    copy = folder.parent / "copy"
    return {file.relative_to(copy).as_posix() for file in copy.rglob("*") if file.is_file()}


def test_a_copy_has_neither_bad_images_nor_duplicates(animals: Path):
    whole = animals / "cat" / "0.png"
    (animals / "cat" / "copy.png").write_bytes(whole.read_bytes())
    (animals / "cat" / "bad.png").write_bytes(b"no image")
    (animals / "dog" / "cat.png").write_bytes((animals / "cat" / "1.png").read_bytes())
    save(photo(2, (64, 48)), animals / "cat" / "more" / "smaller.png")
    made = repaired(animals)
    usual = {f"train/{label}/{number}.png" for label in ("cat", "dog") for number in range(6)}
    assert written(animals) == usual - {"train/cat/1.png"} | {"train/cat/more/smaller.png"}
    assert {name: count for name, count in made["counts"].items() if count} == {
        "kept": 12,
        "dropped_bad": 1,
        "dropped_duplicates": 2,
        "dropped_two_labels": 1,
    }
    assert made["outcome"]["passed"]
    assert set(made["outcome"]["integrity_report"]["counts"]) == {"near_duplicate"}
    assert whole.stat().st_nlink == 1


def test_near_duplicates_go_where_that_is_asked_for(animals: Path):
    save(photo(2, (64, 48)), animals / "cat" / "smaller.png")
    made = repaired(animals, drop_near_duplicates=True, links=True)
    assert made["counts"]["dropped_near_duplicates"] == 1
    assert made["outcome"]["integrity_report"]["counts"] == {}
    assert (animals / "cat" / "0.png").stat().st_nlink == 2


def test_what_is_held_out_stays_and_goes_from_train(tmp_path: Path):
    folder = tmp_path / "mixed"
    for number in range(4):
        save(photo(number), folder / "train" / "ab"[number % 2] / f"{number}.png")
    save(photo(0), folder / "val" / "a" / "x.png")
    save(photo(7), folder / "valid" / "a" / "x.png")
    made = repaired(folder, validation_share=0.5)  # there is a validation split
    assert made["counts"]["dropped_leaked_duplicates"] == 1
    assert made["counts"]["moved_to_validation"] == 0
    names = {"train/b/1.png", "train/a/2.png", "train/b/3.png", "validation/a/x.png"}
    (other,) = written(folder) - names
    assert other.startswith("validation/a/x-")
    assert made["outcome"]["integrity_report"]["counts"] == {}


def test_each_class_gives_its_share_and_twins_stay_together(tmp_path: Path):
    folder = tmp_path / "many"
    for label, count in (("usual", 40), ("rare", 4), ("single", 1)):
        for number in range(count):
            image = photo(number + 1000 * count)
            save(image, folder / label / f"{number}.png")
            if number % 4 == 0 and count > 1:
                save(image.resize((64, 48)), folder / label / f"{number}-small.png")
    made = repaired(folder, validation_share=0.2)
    held = Counter(name.split("/")[1] for name in written(folder) if name.startswith("val"))
    assert 10 <= held["usual"] <= 11
    assert 1 <= held["rare"] <= 2
    assert held["single"] == 0
    counts = made["outcome"]["integrity_report"]["counts"]
    assert set(counts) <= {"near_duplicate", "unbalanced_labels"}
    assert made["counts"]["moved_to_validation"] == held.total()
    first = written(folder)
    folder.parent.joinpath("copy").rename(folder.parent / "first")
    repaired(folder, validation_share=0.2)
    assert written(folder) == first
    folder.parent.joinpath("copy").rename(folder.parent / "second")
    repaired(folder, validation_share=0.2, seed=1)
    assert written(folder) != first


def test_a_copy_of_nothing_is_none(tmp_path: Path):
    (tmp_path / "bad" / "cat").mkdir(parents=True)
    (tmp_path / "bad" / "cat" / "1.png").write_bytes(b"no image")
    with pytest.raises(BadPath, match="Not one usable image"):
        repaired(tmp_path / "bad")


# --- Through the registry ------------------------------------------------------------------------


@pytest.fixture
def uploaded(home: Path, client_of: Any, ana: Any, animals: Path) -> tuple[Any, dict[str, Any]]:
    """With a duplicate and a broken image among them."""
    (animals / "cat" / "copy.png").write_bytes((animals / "cat" / "0.png").read_bytes())
    (animals / "cat" / "bad.png").write_bytes(b"no image")
    client = client_of(ana)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(animals.rglob("*.png")):
            archive.write(file, file.relative_to(animals).as_posix())
    packed.seek(0)
    packed.name = "animals.zip"
    given = {"name": "animals", "modality": "image", "file": packed}
    return client, client.post("/api/datasets", given, format="multipart").json()


@pytest.mark.django_db
def test_a_repaired_copy_of_images_becomes_the_next_version(uploaded: Any, ana: Any, home: Path):
    client, dataset = uploaded
    assert dataset["integrity_report"]["counts"] == {"bad_image": 1, "duplicate": 1}
    page = Client()
    page.force_login(ana)
    shown = Page(page.get(f"/datasets/{dataset['id']}"))
    shown.check_outline()
    assert "Percent of images to hold out" in shown.words
    assert "Mend encoding" not in shown.words
    asked = {"validation_share": 0.2}
    task = client.post(f"/api/datasets/{dataset['id']}/repair", asked, format="json")
    assert task.status_code == 202, task.json()
    checks.request_check(Dataset.objects.get(), user=ana, columns={})
    waiting = Page(page.get(f"/datasets/{dataset['id']}")).words
    assert "The images are being checked." in waiting
    treatment.work(task.json()["id"])
    done = DatasetTask.objects.get(pk=task.json()["id"])
    assert done.status == "done", done.message
    copy = client.get(f"/api/datasets/{done.result_id}").json()
    assert (copy["version"], copy["modality"], copy["num_samples"]) == ("1.1", "image", 12)
    assert copy["integrity_passed"]
    assert copy["statistics"]["rows"] == {"train": 8, "validation": 4}
    assert "mend_text" not in copy["metadata"]["repair"]
    found = client.get(f"/api/datasets/{copy['id']}/difference").json()
    assert [found[name] for name in ("added", "removed", "changed", "same")] == [0, 1, 0, 12]
    (gone,) = found["removed_rows"]
    assert gone == {"where": "cat/copy.png", "row": {"image": "cat/copy.png"}}
    one, other = (Path(entry["storage_path"]) for entry in (dataset, copy))
    (kept,) = other.glob("*/dog/0.png")
    assert kept.samefile(one / "dog" / "0.png")
    assert not list(home.glob("datasets/.*"))


@pytest.mark.django_db
def test_rows_that_name_images_are_not_repaired(client_of: Any, ana: Any, home: Path):
    folder = home / "datasets" / "named"
    save(photo(1), folder / "a.png")
    (folder / "train.jsonl").write_text('{"image": "a.png", "label": "a"}\n')
    client = client_of(ana)
    given = {"name": "named", "modality": "image", "storage_path": "named"}
    made = client.post("/api/datasets", given, format="json").json()
    assert made["num_samples"] == 1
    refused = client.post(f"/api/datasets/{made['id']}/repair", {}, format="json")
    assert refused.status_code == 400
    assert "not rows that name images" in refused.json()["error"]
    Dataset.objects.filter(pk=made["id"]).update(statistics={})
    task = client.post(f"/api/datasets/{made['id']}/repair", {}, format="json").json()
    treatment.work(task["id"])
    assert "not rows that name images" in DatasetTask.objects.get(pk=task["id"]).message
