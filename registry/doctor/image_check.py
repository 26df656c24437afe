"""Look into every image of a folder once, and compare all with all."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from api.plain import plain_text
from registry.doctor.comparison import compare
from registry.doctor.examine import ORDER, Checked, Progress
from registry.doctor.findings import Finding, Level
from registry.doctor.image_sketch import SKETCH_BYTES, alike, sketch_of
from registry.doctor.images import Labelled, image_folders, labelled_images
from registry.doctor.keys import key_of
from registry.doctor.layouts import Layout
from registry.doctor.processes import in_order
from registry.doctor.report import Report
from registry.doctor.twins import first_alike, twins_of
from registry.files import relative_name

# Unpacked it takes four bytes a pixel; of larger ones the header alone is read.
MOST_PIXELS = 50_000_000
_AT_ONCE = 32
_BLOCK = 1 << 20
# What Pillow raises where bytes are not what they should be: its readers are many.
_BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, OverflowError, MemoryError),
    *(LookupError, TypeError, ZeroDivisionError, struct.error, zlib.error),
    Image.DecompressionBombError,
)


class Look(NamedTuple):
    """``content`` is the same number for files of the same bytes."""

    problem: str = ""
    size_bytes: int = 0
    content: int = 0
    sketch: bytes = bytes(SKETCH_BYTES)


@dataclass
class CheckedImages(Checked):
    """Of usable images: ``keys`` are of content and label, ``asked`` of the content alone, and
    ``images`` is what each of them is."""

    images: list[Labelled]


def check_images(
    path: Path, *, processes: int = 1, progress: Progress = lambda images, read_bytes: None
) -> CheckedImages:
    """Raises BadPath where the folder cannot be walked."""
    folders = image_folders(path)
    found = {split: labelled_images(split, folders[split]) for split in ORDER if split in folders}
    report = Report(
        row_format="labelled_image", layout=Layout("folders"), columns={"image", "label"}
    )
    for split in folders:
        report.rows[split] = 0
    usable: list[Labelled] = []
    looks: list[Look] = []
    for image, look in _looked_at([one for some in found.values() for one in some], processes):
        report.read += 1
        report.size_bytes += look.size_bytes
        if look.problem:
            name = plain_text(relative_name(path, image.path))
            _blame(report, "bad_image", look.problem, "Save it again, or remove it.", name)
        else:
            report.rows[image.split] += 1
            report.add_labels(Counter([image.label]))
            usable.append(image)
            looks.append(look)
        progress(report.read, report.size_bytes)
    checked = _checked(path, report, usable, looks)
    _compare_classes(report, {split: {one.label for one in found[split]} for split in found})
    names = [plain_text(relative_name(path, image.path)) for image in usable]
    compare(checked, names)
    _about_two_labels(checked, names)
    return checked


def in_two_classes(checked: CheckedImages) -> npt.NDArray[np.bool_]:
    """Which images are also there under another label."""
    same = checked.twins.same
    differs = np.array([image.label for image in checked.images])
    differs = differs != differs[same]
    return np.isin(same, same[differs])


def _about_two_labels(checked: CheckedImages, names: list[str]) -> None:
    for number in np.flatnonzero(in_two_classes(checked)).tolist():
        first = int(checked.twins.same[number])
        label, other = checked.images[number].label, checked.images[first].label
        if label != other:
            checked.report.findings.add(
                Finding(
                    code="two_labels",
                    message=f"The same image is {plain_text(other[:40])} in {names[first]}.",
                    fix="Keep the one whose label is right; a repaired copy keeps neither.",
                    level=Level.WARNING,
                    file=names[number],
                )
            )


def _looked_at(images: list[Labelled], processes: int) -> Iterator[tuple[Labelled, Look]]:
    some = [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]
    jobs = ((part, [str(image.path) for image in part]) for part in some)
    for part, looks in in_order(look_at, jobs, processes):
        yield from zip(part, looks, strict=True)


def _checked(
    path: Path, report: Report, images: list[Labelled], looks: list[Look]
) -> CheckedImages:
    numbers = np.arange(len(images))
    contents = np.array([look.content for look in looks], np.uint64)
    sketches = np.frombuffer(b"".join(look.sketch for look in looks), np.uint8)
    same = first_alike(contents)
    heads = np.flatnonzero(same == numbers)
    found = alike(sketches.reshape(-1, SKETCH_BYTES)[heads])
    pairs = zip(contents.tolist(), images, strict=True)
    return CheckedImages(
        root=path,
        report=report,
        files=[(image.split, image.path) for image in images],
        keys=np.array([key_of([content, image.label]) for content, image in pairs], np.uint64),
        asked=contents,
        places=numbers << 40,
        twins=twins_of(same, heads, found, len(images)),
        images=images,
    )


# --- One image -----------------------------------------------------------------------------------


def look_at(paths: list[str]) -> list[Look]:
    return [_look(Path(path)) for path in paths]


def _look(file: Path) -> Look:
    try:
        size, content = _content_of(file)
    except OSError as error:
        return Look(f"It cannot be read: {error.strerror}.")
    try:
        return Look("", size, content, _sketch(file))
    except _BROKEN as error:
        said = plain_text(str(error))[:200] or type(error).__name__
        return Look(f"It is no image that can be read: {said}.", size)


def _content_of(file: Path) -> tuple[int, int]:
    digest, size = hashlib.blake2b(digest_size=8), 0
    with open(file, "rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return size, int.from_bytes(digest.digest(), "little")


def _sketch(file: Path) -> bytes:
    """The image is unpacked as the trainer does it, so that nothing is left for that to find."""
    with Image.open(file) as image:
        if image.width * image.height > MOST_PIXELS:
            image.verify()
            return bytes(SKETCH_BYTES)
        image.draft("RGB", (256, 256))  # of a JPEG no more is unpacked than is looked at
        ImageOps.exif_transpose(image, in_place=True)
        return sketch_of(image.convert("RGB"))


# --- All of them ---------------------------------------------------------------------------------


def _compare_classes(report: Report, classes: dict[str, set[str]]) -> None:
    """Of the splits: to be chosen from is what the train split has."""
    known = classes.get("train", set())
    if "train" not in classes:
        _blame(report, "no_train_split", "There is no train split.", "Name a folder train.")
    elif len(known) < 2:
        _blame(
            report,
            "one_class",
            "All images to train on are of the same class, so there is nothing to learn.",
            "Make a folder for each class.",
        )
    for split, labels in classes.items():
        if strange := sorted(labels - known) if known else []:
            names = ", ".join(plain_text(name[:40]) for name in strange[:5])
            _blame(
                report,
                "unknown_label",
                f"The {split} split has classes that the train split has not: {names}.",
                f"Add them to train, or remove them from {split}.",
            )


def _blame(report: Report, code: str, message: str, fix: str, file: str = "") -> None:
    report.findings.add(Finding(code=code, message=message, fix=fix, level=Level.ERROR, file=file))
