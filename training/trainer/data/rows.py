"""Many rows of tokens in few arrays: in memory, or in an Arrow file that stays where it is."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.trainer.data.examples import MadeWhenAsked
from training.trainer.data.tokens import Row


class Flat(NamedTuple):
    """Rows behind one another. ``ids`` (tokens,), ``loss`` (tokens,), ``offsets`` (rows + 1,):
    where each row begins, and where the last one ends. ``labels`` (rows,) are numbers that say what
    else a row is, each kind of row has its own; 0 where there is nothing to say."""

    ids: npt.NDArray[np.int32]
    loss: npt.NDArray[np.bool_]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]

    @classmethod
    def of(cls, rows: Sequence[Row], labels: Sequence[int] | None = None) -> Flat:
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([row.length for row in rows], out=offsets[1:])
        return cls(
            np.concatenate([np.empty(0, np.int32), *(row.ids for row in rows)]),
            np.concatenate([np.empty(0, np.bool_), *(row.loss for row in rows)]),
            offsets,
            np.zeros(len(rows), np.int32) if labels is None else np.array(labels, np.int32),
        )


class Rows(MadeWhenAsked[Row]):
    """``labels`` (rows,) of all parts; ``highest`` token id."""

    def __init__(self, parts: Iterable[Flat], *, highest: int | None = None) -> None:
        self._parts = [part for part in parts if len(part.offsets) > 1]
        self._ends = np.cumsum([len(part.offsets) - 1 for part in self._parts]).tolist()
        self._highest = highest
        counts = [np.diff(part.offsets) for part in self._parts]
        self.lengths = np.concatenate([np.empty(0, np.int64), *counts])

    @functools.cached_property
    def labels(self) -> npt.NDArray[np.int32]:
        return np.concatenate([np.empty(0, np.int32), *(part.labels for part in self._parts)])

    @functools.cached_property
    def highest(self) -> int:
        if self._highest is not None:
            return self._highest
        return max((int(part.ids.max(initial=0)) for part in self._parts), default=0)

    def made(self, index: int) -> Row:
        which = bisect.bisect_right(self._ends, index)
        part = self._parts[which]
        within = index - (self._ends[which - 1] if which else 0)
        span = slice(int(part.offsets[within]), int(part.offsets[within + 1]))
        return Row(part.ids[span], part.loss[span])


def highest_token(rows: Sequence[Row]) -> int:
    """Of all rows, without looking at those that are on disk."""
    if isinstance(rows, Rows):
        return rows.highest
    return max((int(row.ids.max(initial=0)) for row in rows), default=0)


def write(path: Path, parts: Iterable[Flat]) -> None:
    """One record batch for each part, in Arrow's IPC file format."""
    import pyarrow as pa

    ids, loss = pa.large_list(pa.int32()), pa.large_list(pa.uint8())
    schema = pa.schema([("ids", ids), ("loss", loss), ("label", pa.int32())])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for part in parts:
            offsets = pa.array(part.offsets)
            arrays = [
                pa.LargeListArray.from_arrays(offsets, pa.array(values))
                for values in (part.ids, part.loss.view(np.uint8))
            ]
            labels = pa.array(part.labels)
            writer.write_batch(pa.record_batch([*arrays, labels], schema=schema))


def read(path: Path, *, highest: int) -> Rows:
    """Memory-mapped: the operating system reads what is looked at, and forgets it when it needs
    the memory. Raises OSError or ValueError (of which Arrow's own are) for another file."""
    import pyarrow as pa

    return Rows(_parts(pa.ipc.open_file(pa.memory_map(str(path)))), highest=highest)


def _parts(file: Any) -> Iterator[Flat]:
    for number in range(file.num_record_batches):
        ids, loss, labels = file.get_batch(number).columns
        yield Flat(
            ids.values.to_numpy(),
            loss.values.to_numpy().view(np.bool_),
            ids.offsets.to_numpy(),
            labels.to_numpy(),
        )
