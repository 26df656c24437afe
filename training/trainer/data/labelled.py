"""Rows with one of a few labels: texts and images."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.trainer.data.examples import Examples
from training.trainer.data.files import RowFiles, bad_row
from training.trainer.data.read import Source, of_kinds, read_sources
from training.trainer.failures import BadData
from training.trainer.spec import METHODS

ROWS_AT_ONCE = 1000  # tokenized in one call
IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True)
class LabelledText:
    ids: npt.NDArray[np.int32]
    label: int
    weight: int = 1

    @property
    def length(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class LabelledImage:
    """The file is opened when its turn comes. An image counts as one token: how many there are
    inside of a model is nobody else's matter."""

    path: Path
    label: int
    length: int = 1
    weight: int = 1


class Labelled(NamedTuple):
    """A row before its label has a number: ``what`` is its text, or the path of its image."""

    where: str
    what: Any
    label: str | int


def load_texts(
    rows: Sequence[Labelled], ids: dict[str, int], tokenizer: Any, max_length: int
) -> Examples[LabelledText]:
    """Cut to ``max_length`` tokens, those that the tokenizer adds by itself included."""
    texts = []
    truncated = 0
    remaining = iter(rows)
    while chunk := list(itertools.islice(remaining, ROWS_AT_ONCE)):
        encoded = tokenizer([row.what for row in chunk], return_attention_mask=False, verbose=False)
        shortened = tokenizer(
            [row.what for row in chunk],
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
        )
        for row, whole, cut in zip(
            chunk, encoded["input_ids"], shortened["input_ids"], strict=True
        ):
            truncated += len(cut) < len(whole)
            texts.append(LabelledText(np.array(cut, np.int32), number_of(row, ids)))
    usable = [text for text in texts if text.length]
    return Examples(usable, truncated, len(texts) - len(usable))


def load_images(rows: Sequence[Labelled], ids: dict[str, int]) -> Examples[LabelledImage]:
    return Examples([LabelledImage(row.what, number_of(row, ids)) for row in rows])


def read_texts(files: RowFiles) -> Iterator[Labelled]:
    """Rows of kind labelled. Raises BadData."""
    method = "text_classification"
    for source in of_kinds(read_sources(files), METHODS[method].rows, method):
        yield Labelled(source.where, source.fields["text"], _label(source))


def read_images(places: RowFiles) -> Iterator[Labelled]:
    """Images of folders with a folder for each class, or of files with rows of kind
    labelled_image, whose paths begin where the file is. Raises BadData."""
    for name in places.paths:
        if Path(name).is_dir():
            yield from _image_folder(Path(name))
        else:
            yield from _image_rows(replace(places, paths=(name,)))


def _image_folder(folder: Path) -> Iterator[Labelled]:
    for path in sorted(folder.glob("*/**/*")):
        if path.suffix.lower() in IMAGES:
            parts = path.relative_to(folder).parts
            yield Labelled("/".join(parts), path, parts[0])


def _image_rows(files: RowFiles) -> Iterator[Labelled]:
    """Of one file."""
    method = "image_classification"
    file = Path(files.paths[0])
    for source in of_kinds(read_sources(files), METHODS[method].rows, method):
        named = source.fields["image"]
        if not isinstance(named, str) or not named:
            raise bad_row(source.where, "image must be the path of a file")
        path = (file.parent / named).resolve()
        if not path.is_relative_to(file.parent.resolve()):
            raise bad_row(source.where, f"the image {named} lies outside of the dataset's folder")
        if not path.is_file():
            raise bad_row(source.where, f"there is no image {named}")
        yield Labelled(source.where, path, _label(source))


def _label(source: Source) -> str | int:
    label = source.fields["label"]
    if isinstance(label, float) and label.is_integer():  # as tables with gaps in them hold numbers
        label = int(label)
    if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
        raise bad_row(source.where, f"label must be a word or a whole number, not {label!r}")
    return label


def names_of(rows: Iterable[Labelled]) -> list[str]:
    """Every label once: numbers by size, words by the alphabet. Raises BadData where there are not
    two of them."""
    labels = {row.label for row in rows}
    names = [str(label) for label in sorted(labels, key=lambda one: (isinstance(one, str), one))]
    if len(names) < 2:
        raise BadData(
            f"The training rows have {len(names)} different labels, where two or more are needed.",
            advice="Look whether the column label holds what it should.",
        )
    return names


def number_of(row: Labelled, ids: dict[str, int]) -> int:
    """Raises BadData for a label that the training rows do not have."""
    try:
        return ids[str(row.label)]
    except KeyError:
        known = ", ".join(list(ids)[:10])
        raise bad_row(
            row.where, f"the label {row.label!r} is not among those of the training rows ({known})"
        ) from None
