"""A repaired copy of an image folder: its images as they are, without those that are of no use, in
a folder for each split and in that one for each class."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np

from registry.doctor import image_check, orders
from registry.doctor.image_check import CheckedImages
from registry.doctor.keeping import Repair, Repaired, carved_by_label, kept
from registry.files import BadPath


def carry_out(order: orders.Order, repair: Repair, news: orders.News) -> Repaired:
    """Raises BadPath, also where nothing would be left."""
    path, target = Path(order.path), Path(repair.target)
    checked = image_check.check_images(path, processes=order.processes, progress=news)
    if not checked.report.read:
        raise BadPath("Only folders of images are repaired, not rows that name images.")
    counts = Counter(dropped_bad=checked.report.read - len(checked.images))
    keeps = kept(checked, repair, counts)
    if repair.drop_duplicates:  # nobody can tell which of the two labels is right
        gone = image_check.in_two_classes(checked) & keeps
        counts["dropped_two_labels"] = int(gone.sum())
        keeps &= ~gone
    labels = [image.label for image in checked.images]
    held_out = carved_by_label(checked, repair, keeps, labels)
    for number in np.flatnonzero(keeps).tolist():
        _write(checked, number, held_out[number], target, repair.links)
        news(checked.report.read, checked.report.size_bytes)
    counts["kept"] = int(keeps.sum())
    counts["moved_to_validation"] = int((held_out & keeps).sum())
    if not counts["kept"]:
        raise BadPath("Not one usable image would be left.")
    copy = orders.Order(
        path=str(target),
        modality=order.modality,
        hashes=True,
        index=order.index,
        processes=order.processes,
    )
    return {"counts": dict(counts), "outcome": orders.carry_out(copy, news)}


def _write(checked: CheckedImages, number: int, is_held: bool, target: Path, links: bool) -> None:
    image = checked.images[number]
    place = target / ("validation" if is_held else image.split) / image.label / image.name
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():  # "val" and "valid" are the same split
        place = place.with_name(f"{place.stem}-{number}{place.suffix}")
    if links:
        with contextlib.suppress(OSError):  # too many links, or another file system
            os.link(image.path, place)
            return
    with open(image.path, "rb") as source, open(place, "xb") as copy:
        shutil.copyfileobj(source, copy)
        copy.flush()
        os.fsync(copy.fileno())
