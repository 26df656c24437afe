"""Image folders: a folder for each class, with its images in it; around them a folder for each
split, or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from api.plain import plain_text
from registry.doctor.findings import Finding, Level
from registry.doctor.report import Report
from registry.doctor.splits import SPLITS, split_of
from registry.files import regular_files, relative_name

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def image_folders(path: Path) -> dict[str, list[Path]]:
    """The folder of each split, with the folders of its classes in it; nothing where ``path`` is no
    image folder. Without folders for splits all of it is the train split. Raises BadPath."""
    images = [file for file in regular_files(path) if _is_image(file)] if path.is_dir() else []
    folders = {file.relative_to(path).parts[:-1] for file in images}
    named = {parts[0]: split_of(parts[0]) for parts in folders if len(parts) > 1}
    found: dict[str, list[Path]] = {}
    for name, split in sorted(named.items()):
        if split:
            found.setdefault(split, []).append(path / name)
    if not found and any(folders):
        found = {"train": [path]}
    return {split: found[split] for split in SPLITS if split in found}


def check_images(path: Path) -> Report:
    """Look into every image once. Raises BadPath where the folder cannot be walked."""
    report = Report(row_format="labelled_image", columns={"image", "label"})
    classes: dict[str, set[str]] = {}
    for split, folders in image_folders(path).items():
        report.rows[split] = 0
        for folder in folders:
            for file, label in _images(folder):
                report.size_bytes += file.stat().st_size
                classes.setdefault(split, set()).add(label)
                if problem := _problem(file):
                    _blame(report, "bad_image", problem, "Save it again, or remove it.", path, file)
                else:
                    report.rows[split] += 1
                    report.add_labels(Counter([label]))
    report.read = report.num_samples + report.findings.counts["bad_image"]
    _compare(report, classes)
    from registry.doctor.comparison import balance  # which needs NumPy

    balance(report)
    return report


def _compare(report: Report, classes: dict[str, set[str]]) -> None:
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


def _images(folder: Path) -> Iterator[tuple[Path, str]]:
    """The images below a folder of classes, with the class of each."""
    for file in regular_files(folder):
        parts = file.relative_to(folder).parts
        if _is_image(file) and len(parts) > 1:
            yield file, parts[0]


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGES


def _problem(file: Path) -> str:
    """Its header alone is read, and of a PNG the checksums."""
    try:
        with Image.open(file) as image:
            image.verify()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"It is no image that can be read: {plain_text(str(error))[:200]}."
    return ""


def _blame(
    report: Report,
    code: str,
    message: str,
    fix: str,
    root: Path | None = None,
    file: Path | None = None,
) -> None:
    name = plain_text(relative_name(root, file)) if root and file else ""
    report.findings.add(Finding(code=code, message=message, fix=fix, level=Level.ERROR, file=name))
