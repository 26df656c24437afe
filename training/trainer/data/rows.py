"""Many rows of tokens in few arrays: in memory, or in an Arrow file that stays where it is."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from training.trainer.data.tokens import Row


class Flat(NamedTuple):
    """Rows behind one another. ``ids`` (tokens,), ``loss`` (tokens,), ``offsets`` (rows + 1,):
    where each row begins, and where the last one ends."""

    ids: npt.NDArray[np.int32]
    loss: npt.NDArray[np.bool_]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Flat:
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([row.length for row in rows], out=offsets[1:])
        if not rows:
            return cls(np.empty(0, np.int32), np.empty(0, np.bool_), offsets)
        return cls(
            np.concatenate([row.ids for row in rows]),
            np.concatenate([row.loss for row in rows]),
            offsets,
        )


class Rows(Sequence[Row]):
    """All rows, each made when it is asked for. ``lengths`` (rows,); ``highest`` token id."""

    def __init__(self, parts: Iterable[Flat], *, highest: int | None = None) -> None:
        self._parts = [part for part in parts if len(part.offsets) > 1]
        self._ends = np.cumsum([len(part.offsets) - 1 for part in self._parts]).tolist()
        self._highest = highest

    @functools.cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        counts = [np.diff(part.offsets) for part in self._parts]
        return np.concatenate(counts) if counts else np.empty(0, np.int64)

    @functools.cached_property
    def highest(self) -> int:
        if self._highest is not None:
            return self._highest
        return max((int(part.ids.max(initial=0)) for part in self._parts), default=0)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
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
    schema = pa.schema([("ids", ids), ("loss", loss)])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for part in parts:
            offsets = pa.array(part.offsets)
            arrays = [
                pa.LargeListArray.from_arrays(offsets, pa.array(values))
                for values in (part.ids, part.loss.view(np.uint8))
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def read(path: Path, *, highest: int) -> Rows:
    """Memory-mapped: the operating system reads what is looked at, and forgets it when it needs
    the memory. Raises OSError or ValueError (of which Arrow's own are) for another file."""
    import pyarrow as pa

    return Rows(_parts(pa.ipc.open_file(pa.memory_map(str(path)))), highest=highest)


def _parts(file: Any) -> Iterator[Flat]:
    for number in range(file.num_record_batches):
        ids, loss = file.get_batch(number).columns
        yield Flat(
            ids.values.to_numpy(),
            loss.values.to_numpy().view(np.bool_),
            ids.offsets.to_numpy(),
        )
