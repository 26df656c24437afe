"""Rows with one of a few labels: texts and images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.trainer.data.cache import Kept
from training.trainer.data.examples import Examples, MadeWhenAsked
from training.trainer.data.files import RowFiles, bad_row
from training.trainer.data.load import Chunk, load
from training.trainer.data.read import Source, of_kinds, read_sources
from training.trainer.data.rows import Flat, Rows
from training.trainer.data.tokens import Row
from training.trainer.failures import BadData
from training.trainer.spec import METHODS, RunSpec

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


class LabelledTexts(MadeWhenAsked[LabelledText]):
    """``numbers`` are those of the labels, by what `rows.Rows` has for them."""

    def __init__(self, rows: Rows, numbers: Sequence[int]) -> None:
        self.rows = rows
        self.lengths = rows.lengths
        self._numbers = numbers

    def made(self, index: int) -> LabelledText:
        return LabelledText(self.rows[index].ids, self._numbers[self.rows.labels[index]])


class Labelled(NamedTuple):
    """A row before its label has a number: ``what`` is its text, or the path of its image."""

    where: str
    what: Any
    label: str | int


@dataclass(frozen=True)
class TextCutter:
    """Tokenizes texts and cuts them to ``max_length`` tokens, those that the tokenizer adds by
    itself included."""

    tokenizer: Any
    max_length: int

    @property
    def settings(self) -> list[Any]:
        return ["labelled", self.max_length]

    def __call__(self, read: list[Labelled]) -> Chunk:
        encoded = self._encode(read)
        long = [at for at, ids in enumerate(encoded) if len(ids) > self.max_length]
        if long:
            cut = self._encode(
                [read[at] for at in long], truncation=True, max_length=self.max_length
            )
            for at, ids in zip(long, cut, strict=True):
                encoded[at] = ids
        numbers: dict[str | int, int] = {}
        labels: list[tuple[str | int, str]] = []
        rows: list[Row] = []
        of_rows: list[int] = []
        for labelled, ids in zip(read, encoded, strict=True):
            if labelled.label not in numbers:
                numbers[labelled.label] = len(numbers)
                labels.append((labelled.label, labelled.where))
            if ids:
                rows.append(Row(np.array(ids, np.int32), np.zeros(len(ids), np.bool_)))
                of_rows.append(numbers[labelled.label])
        return Chunk(Flat.of(rows, of_rows), len(long), len(read) - len(rows), labels)

    def _encode(self, read: list[Labelled], **settings: Any) -> list[list[int]]:
        encoded = self.tokenizer(
            [row.what for row in read],
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
            **settings,
        )
        return list(encoded["input_ids"])


def load_texts(files: RowFiles, tokenizer: Any, spec: RunSpec) -> Kept:
    """Rows of kind labelled; the tally names their labels. Raises BadData, DiskFull."""
    return load(read_texts(files), files, TextCutter(tokenizer, spec.train.max_length), spec)


def numbered(kept: Kept, ids: dict[str, int]) -> Examples[LabelledText]:
    """Raises BadData for a label that the training rows do not have."""
    numbers = [number_of(label, where, ids) for label, where in kept.tally.labels]
    return Examples(LabelledTexts(kept.rows, numbers), kept.tally.truncated, kept.tally.dropped)


def load_images(rows: Sequence[Labelled], ids: dict[str, int]) -> Examples[LabelledImage]:
    return Examples([LabelledImage(row.what, number_of(row.label, row.where, ids)) for row in rows])


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


def names_of(labels: Iterable[str | int]) -> list[str]:
    """Every label once: numbers by size, words by the alphabet. Raises BadData where there are not
    two of them."""
    ordered = sorted(set(labels), key=lambda one: (isinstance(one, str), one))
    names = [str(label) for label in ordered]
    if len(names) < 2:
        raise BadData(
            f"The training rows have {len(names)} different labels, where two or more are needed.",
            advice="Look whether the column label holds what it should.",
        )
    return names


def number_of(label: str | int, where: str, ids: dict[str, int]) -> int:
    """Raises BadData for a label that the training rows do not have."""
    try:
        return ids[str(label)]
    except KeyError:
        known = ", ".join(list(ids)[:10])
        raise bad_row(
            where, f"the label {label!r} is not among those of the training rows ({known})"
        ) from None
