"""Feed the dataset doctor with bytes that atheris makes up from what it has seen to matter.

    .venv/bin/pip install atheris==3.0.0
    .venv/bin/python benchmarks/fuzz/dataset_readers.py json_lines --seconds 60

Any exception but BadPath, any answer that takes more than ten seconds or 512 MB, or that could not
be sent as JSON, ends it and leaves the input in a file that libFuzzer names. Parquet and Arrow are
read by C++ in a process of its own (docs/decisions/dataset-doctor.md), and are not fuzzed here.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import atheris

from benchmarks.fuzz.run import Reader, file, fuzz

with atheris.instrument_imports(include=["registry.doctor", "registry.archives"]):
    from registry import archives
    from registry.doctor import examine, image_check
    from registry.files import BadPath

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
ROW = b'{"prompt": "1 plus 1", "completion": "2"}\n'


def rows_in(name: str) -> Reader:
    def read(folder: Path, content: bytes) -> object:
        file(folder, name, content)
        report = examine.check(folder)
        return json.dumps([report.integrity_report, report.statistics]).encode()

    return read


def packed(folder: Path, content: bytes) -> object:
    """The bytes below the packing are what is changed; its own are those of gzip."""
    return rows_in("train.jsonl.gz")(folder, gzip.compress(content, 1))


def archive_called(name: str) -> Reader:
    def read(folder: Path, content: bytes) -> object:
        archives.unpack(file(folder, name, content), folder / "unpacked")
        return examine.check(folder / "unpacked")

    return read


def image(folder: Path, content: bytes) -> object:
    (folder / "cat").mkdir()
    file(folder / "cat", "1.png", content)
    return image_check.check_images(folder).report


def named_image(folder: Path, content: bytes) -> object:
    row = {"image": content.decode("utf-8", "surrogateescape"), "label": "cat"}
    return rows_in("train.jsonl")(folder, json.dumps(row).encode())


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/train.jsonl", ROW)
    return content.getvalue()


def tarred() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("data/train.jsonl")
        member.size = len(ROW)
        archive.addfile(member, io.BytesIO(ROW))
    return content.getvalue()


READERS: dict[str, Reader] = {
    "json_lines": rows_in("train.jsonl"),
    "json": rows_in("train.json"),
    "csv": rows_in("train.csv"),
    "tsv": rows_in("train.tsv"),
    "text": rows_in("train.txt"),
    "gzip": rows_in("train.jsonl.gz"),
    "packed": packed,
    "zstd": rows_in("train.jsonl.zst"),
    "zip": archive_called("rows.zip"),
    "tar": archive_called("rows.tar"),
    "image": image,
    "named_image": named_image,
}
SEEDS = {
    "json_lines": ROW + b'{"messages": [{"role": "user", "content": "a"}]}\n',
    "json": b'[{"text": "a", "label": 1}, {"text": "b", "label": 2}]',
    "csv": b'prompt,completion\n"a, ""b""",c\n1;2,3\n',
    "tsv": b"text\tlabel\na\tb\n",
    "text": b"One.\n\nTwo.\r\n\r\n\xef\xbb\xbfThree.",
    "gzip": gzip.compress(ROW),
    "packed": ROW,
    "zstd": bytes.fromhex("28b52ffd0458110000") + ROW,
    "zip": zipped(),
    "tar": tarred(),
    "image": PNG,
    "named_image": b"../cat/1.png",
}


if __name__ == "__main__":
    fuzz(__doc__, READERS, SEEDS, BadPath, patience_seconds=10)
