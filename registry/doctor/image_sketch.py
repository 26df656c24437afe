"""Which images are nearly the same: saved again, made smaller, a little darker.

The image is shrunk to 17 x 16 grey places, and of each row is kept where it becomes brighter
(dHash, 256 bits): that survives what a camera, a browser or a resize does to it. Beside them stand
the colours of its four quarters, or a red car would be the same as a blue one. 44 bytes an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from registry.doctor.twins import Alike, join

SIDE = 16
_HASH_BYTES = SIDE * SIDE // 8
SKETCH_BYTES = _HASH_BYTES + 4 * 3
NEAR = 0.9  # of the places that become brighter in one of them do so in both
_BRIGHTER = 3  # of 255: less is noise of the compression
_SAME_COLOUR = 12  # of 255
# Of a blank page, or a gradient, nobody can tell.
FEWEST_PLACES = 16
_ROWS_AT_ONCE = 64

Sketches = npt.NDArray[np.uint8]


def sketch_of(image: Image.Image) -> bytes:
    """Of an image in three colours."""
    shrunk = image.resize((SIDE + 1, SIDE), Image.Resampling.BILINEAR)
    grey = np.asarray(shrunk.convert("L"), np.int16)
    bits = np.packbits(grey[:, 1:] - grey[:, :-1] >= _BRIGHTER)
    quarters = np.asarray(shrunk.resize((2, 2), Image.Resampling.BOX), np.uint8)
    return bits.tobytes() + quarters.tobytes()


def alike(sketches: Sketches) -> Alike:
    """All are compared with all: a hundred thousand, which no folder goes beyond, take a minute,
    and to read them took many."""
    near, first = np.arange(len(sketches)), np.arange(len(sketches))
    for one, other in _pairs(np.ascontiguousarray(sketches[:, :_HASH_BYTES]).view(np.uint64)):
        apart = np.abs(
            sketches[one, _HASH_BYTES:].astype(np.int16) - sketches[other, _HASH_BYTES:]
        ).max(axis=1)
        one, other = one[apart <= _SAME_COLOUR], other[apart <= _SAME_COLOUR]
        np.minimum.at(near, np.maximum(one, other), np.minimum(one, other))
        join(first, one, other)
    return Alike(near, first)


def _pairs(hashes: npt.NDArray[np.uint64]) -> Iterator[tuple[Any, Any]]:
    """Those of which enough places agree. Sorted by how many they have, only neighbours can."""
    places = np.bitwise_count(hashes).sum(axis=1, dtype=np.int16)
    order = np.argsort(places, kind="stable")
    order = order[places[order] >= FEWEST_PLACES]
    hashes, places = hashes[order], places[order]
    for start in range(0, len(order), _ROWS_AT_ONCE):
        end = min(start + _ROWS_AT_ONCE, len(order))
        last = int(np.searchsorted(places, places[end - 1] / NEAR, side="right"))
        both = np.zeros((end - start, last - start), np.int16)
        for word in hashes.T:
            both += np.bitwise_count(word[start:end, None] & word[None, start:last])
        either = places[start:end, None] + places[None, start:last] - both
        one, other = np.nonzero(both >= NEAR * either.astype(np.float32))
        later = one < other
        yield order[start + one[later]], order[start + other[later]]
