"""What the fuzzing scripts have in common."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import atheris

Reader = Callable[[Path, bytes], object]


def file(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def fuzz(
    about: str,
    readers: Mapping[str, Reader],
    seeds: Mapping[str, bytes],
    expected: type[Exception],
    *,
    patience_seconds: int,
) -> None:
    """Feed the reader that the command line names. Ends at the first exception but ``expected``."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("reader", choices=readers)
    parser.add_argument("--seconds", type=int, default=60)
    asked = parser.parse_args()
    read = readers[asked.reader]
    with tempfile.TemporaryDirectory() as place:
        folder, corpus = Path(place, "files"), Path(place, "corpus")
        corpus.mkdir()
        file(corpus, "seed", seeds[asked.reader])

        def once(content: bytes) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            with contextlib.suppress(expected):
                read(folder, content)

        atheris.Setup(
            [
                sys.argv[0],
                f"-max_total_time={asked.seconds}",
                f"-timeout={patience_seconds}",
                "-rss_limit_mb=512",
                str(corpus),
            ],
            once,
        )
        atheris.Fuzz()
