"""Files that are not what they should be: a finding for each, in bounded time and memory."""

from __future__ import annotations

import base64
import bz2
import errno
import gzip
import io
import json
import lzma
import os
import random
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from api.plain import is_plain
from registry import archives, doctor
from registry.doctor import Report, orders, readers, repair, unpack
from registry.files import BadPath
from tests.registry.files import write_rows

FUZZ = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ROWS = [{"prompt": f"day {n}", "completion": "ä" * n} for n in range(1, 21)]


def codes(report: Report) -> dict[str, int]:
    return dict(report.findings.counts)


@pytest.mark.parametrize(
    ("name", "content", "code", "line"),
    [
        ("r.json", b"", "not_an_array", 1),
        ("r.json", b"3", "not_an_array", 1),
        ("r.json", b'{\n "a": {"0": 1}\n}', "not_an_array", 1),
        ("r.json", b'[{"text": "x"} {"text": "y"}]', "not_json", 2),
        ("r.json", b'[{"text": "x"}, {"text]', "not_json", 2),
        ("r.json", b'[{"text": "x"}, 5]', "not_an_object", 2),
        ("r.json", b'[{"text": "x"},\n {"text": "\xff"}]', "invalid_utf8", 2),
        ("r.json", b"[" * 100_000, "not_json", 1),
        ("r.csv", b"a,a\n1,2\n", "bad_header", 1),
        ("r.csv", b"text\nx\ny,z\n", "wrong_cells", 3),
        ("r.csv", b'text\n"x\n', "not_csv", 2),
        ("r.csv", b"text\nx\n\xff\n", "invalid_utf8", 3),
        ("r.csv", b"a,b\n1,2\n", "missing_field", 2),
        ("r.jsonl", '{"text": "a"}\n'.encode("utf-16"), "invalid_utf8", None),
        ("r.parquet", b"PAR1", "damaged", None),
        ("r.arrow", b"ARROW1", "damaged", None),
        ("r.arrow", b"nothing of the kind", "damaged", None),
        ("r.jsonl.gz", b"not packed", "damaged", None),
        ("r.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 9)[:-9], "damaged", None),
        ("r.jsonl.bz2", bz2.compress(b"x")[:-2], "damaged", None),
        ("r.jsonl.xz", b"\xfd7zXZ\x00", "damaged", None),
        ("r.jsonl.zst", b"(\xb5/\xfd", "damaged", None),
    ],
)
def test_damage_is_a_finding_with_its_place(
    tmp_path: Path, name: str, content: bytes, code: str, line: int | None
):
    path = tmp_path / name
    path.write_bytes(content)
    report = doctor.check(path)
    found = next(one for one in report.findings.kept if one.code == code)
    assert (found.file, found.line) == (name, line)
    assert not report.passed


@pytest.mark.parametrize(
    ("name", "pack"), [("r.jsonl.gz", gzip.compress), ("r.txt.xz", lzma.compress)]
)
def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch, name: str, pack: Any):
    monkeypatch.setattr(unpack, "ALWAYS_BYTES", 1_000_000)
    path = tmp_path / name
    path.write_bytes(pack(b" " * 30_000_000))
    tracemalloc.start()
    report = doctor.check(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codes(report) == {"bomb": 1, "no_rows": 1}
    assert peak < 20_000_000


@pytest.mark.parametrize("depth", [99, 100, 500, 995, 100_000])
@pytest.mark.parametrize(("begins", "ends"), [("[", "]"), ('{"a": ', "}")])
def test_a_row_nested_without_end_is_told_and_left_out_of_a_copy(
    tmp_path: Path, depth: int, begins: str, ends: str
):
    """Wherever it goes deep, and whoever walks through it."""
    talk = '{"messages": [{"role": "assistant", "content": "b"%s}]%s}'
    deep = f"{begins * depth}1{ends * depth}"
    lines = [talk % ("", ""), talk % (f', "z": {deep}', ""), talk % ("", f', "z": {deep}')]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    report = doctor.check(tmp_path)
    is_read = [True, depth + 2 <= 100, depth <= 100]
    assert report.num_samples == sum(is_read)
    assert report.findings.counts["not_json"] == 3 - sum(is_read)
    asked = {"target": str(tmp_path / "copy"), "drop_duplicates": False}
    made = repair.carry_out(orders.Order(path=str(tmp_path), repair=asked), lambda *read: None)
    assert made["counts"]["kept"] == sum(is_read)


@pytest.mark.parametrize("name", ["r.csv", "r.json", "r.txt", "r.jsonl"])
def test_a_row_without_end_is_read_past_and_not_into_memory(tmp_path: Path, monkeypatch, name: str):
    monkeypatch.setattr(readers, "LONGEST_LINE_BYTES", 100_000)
    begin = {"r.csv": b"text\nfirst\n", "r.json": b'[{"text": "first"}, {"text": "'}
    begun = begin.get(name, b'{"text": "first"}\n')
    (tmp_path / name).write_bytes(begun + b"x" * 8_000_000)
    tracemalloc.start()
    report = doctor.check(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (codes(report), report.num_samples) == ({"too_long": 1}, 1)
    assert peak < 4_000_000


HUGE = 100 * 1024 * 1024
ROUND = {  # what stands before a huge text, and behind it
    "r.jsonl": (b'{"text": "first"}\n{"text": "', b'"}\n{"text": "last"}\n'),
    "r.csv": (b"text\nfirst\n", b"\nlast\n"),
    "r.json": (b'[{"text": "first"},\n{"text": "', b'"},\n{"text": "last"}]\n'),
    "r.txt": (b"first\n\n", b"\n\nlast\n"),
}


@pytest.mark.parametrize("name", ROUND)
def test_a_line_of_a_hundred_megabytes_is_told_in_bounded_memory(tmp_path: Path, name: str):
    """At the limit that everybody has: 16 MB."""
    before, behind = ROUND[name]
    with open(tmp_path / name, "wb") as file:
        file.write(before)
        for _ in range(HUGE // 2**20):
            file.write(b"x" * 2**20)
        file.write(behind)
    tracemalloc.start()
    report = doctor.check(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codes(report) == {"too_long": 1}
    (found,) = report.findings.kept
    assert (found.message, found.fix) == ("The line is longer than 16 MB.", "Split the row.")
    # An array of JSON is read as one: nobody knows where its next row begins.
    assert report.num_samples == (1 if name == "r.json" else 2)
    assert peak < 6 * readers.LONGEST_LINE_BYTES


def test_one_in_utf16_is_left_out_of_a_repaired_copy(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(readers, "LONGEST_LINE_BYTES", 1000)
    rows = ['{"text": "a"}', '{"text": "%s"}' % ("x" * 5000), '{"text": "b"}']
    (tmp_path / "train.jsonl").write_text("\n".join(rows), encoding="utf-16")
    order = orders.Order(path=str(tmp_path), repair={"target": str(tmp_path / "copy")})
    made = repair.carry_out(order, lambda rows, read_bytes: None)
    assert {name: count for name, count in made["counts"].items() if count} == {
        "kept": 2,
        "dropped_bad": 1,
    }


def test_a_mended_reading_takes_what_is_not_utf8(tmp_path: Path):
    (tmp_path / "train.jsonl").write_bytes('{"text": "caf\xe9"}\n'.encode("latin-1"))
    (tmp_path / "test.jsonl").write_text('{"text": "ä"}\n', encoding="utf-16")
    assert codes(doctor.check(tmp_path)) == {"invalid_utf8": 2, "no_rows": 1}
    told = {"target": str(tmp_path / "copy")}
    order = orders.Order(path=str(tmp_path), repair=told)
    repaired = repair.carry_out(order, lambda rows, read_bytes: None)
    assert repaired["outcome"]["passed"]
    assert json.loads((tmp_path / "copy" / "train.jsonl").read_text()) == {"text": "café"}
    assert json.loads((tmp_path / "copy" / "test.jsonl").read_text()) == {"text": "ä"}


# --- Anything at all -----------------------------------------------------------------------------


def whole(name: str) -> bytes:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    table = pa.Table.from_pylist(ROWS)
    sink = io.BytesIO()
    if name.endswith("parquet"):
        parquet.write_table(table, sink)
    elif name.endswith("arrow"):
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table)
    packers: dict[str, Any] = {
        "r.json": lambda: json.dumps(ROWS).encode(),
        "r.csv": lambda: b'prompt,completion\n"a\nb",c\n' * 9,
        "r.tsv": lambda: b"prompt\tcompletion\na\tb\n" * 9,
        "r.txt": lambda: b"one\n\ntwo\n\n" * 9,
        "r.jsonl.gz": lambda: gzip.compress(lines),
        "r.jsonl.bz2": lambda: bz2.compress(lines),
        "r.jsonl.xz": lambda: lzma.compress(lines),
        "r.jsonl.zst": lambda: pa.Codec("zstd").compress(lines, asbytes=True),
    }
    return sink.getvalue() or packers.get(name, lambda: lines)()


NAMES = [
    *("r.jsonl", "r.json", "r.csv", "r.tsv", "r.txt", "r.parquet", "r.arrow"),
    *("r.jsonl.gz", "r.jsonl.bz2", "r.jsonl.xz", "r.jsonl.zst"),
]
WHOLE = {name: whole(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@FUZZ
@given(seed=st.integers(0, 10**6), cut=st.booleans(), junk=st.binary(max_size=12))
def test_damage_anywhere_never_breaks_the_doctor(
    tmp_path: Path, name: str, seed: int, cut: bool, junk: bytes
):
    content, place = WHOLE[name], random.Random(seed).randrange(len(WHOLE[name]))
    rest = b"" if cut else content[place + len(junk) :]
    (tmp_path / name).write_bytes(content[:place] + junk + rest)
    report = doctor.check(tmp_path / name)
    assert is_plain(report.integrity_report)
    assert is_plain(report.statistics)
    assert report.passed or report.findings.errors


@pytest.mark.parametrize("name", ["r.json", "r.csv", "r.txt", "r.tsv"])
@FUZZ
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
def test_bytes_of_any_kind_never_break_a_reader(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    report = doctor.check(tmp_path / name)
    assert is_plain(report.integrity_report)
    assert is_plain(report.statistics)


# --- Archives ------------------------------------------------------------------------------------


def archive(path: Path, **files: bytes | str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return path


def test_an_archive_is_unpacked_without_what_is_no_row(tmp_path: Path):
    files = {
        "set/train.jsonl": json.dumps(ROWS[0]),
        "set/test.csv": "prompt,completion\na,b\n",
        "set/README.md": "no rows",
        "__MACOSX/set/._train.jsonl": "x",
        "set/.hidden.jsonl": "x",
    }
    archives.unpack(archive(tmp_path / "a.zip", **files), tmp_path / "into")
    assert sorted(path.name for path in (tmp_path / "into").iterdir()) == [
        "test.csv",
        "train.jsonl",
    ]
    assert doctor.check(tmp_path / "into").statistics["rows"] == {"train": 1, "test": 1}


def test_folders_that_say_something_stay(tmp_path: Path):
    files = {"train/cats/1.png": b"x", "train/dogs/1.png": b"y"}
    archives.unpack(archive(tmp_path / "a.zip", **files), tmp_path / "into")
    assert (tmp_path / "into" / "train" / "dogs" / "1.png").read_bytes() == b"y"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"../train.jsonl": "{}"}, "leads out of its folder"),
        ({"/etc/train.jsonl": "{}"}, "leads out of its folder"),
        ({"a/" * 300 + "train.jsonl": "{}"}, "name is too long"),
        ({"notes.md": "x"}, "neither a file of rows nor an image"),
        ({"train.jsonl": b" " * 3_000_000}, "far more than it should"),
    ],
)
def test_an_archive_that_means_no_good_is_refused(tmp_path: Path, monkeypatch, files, says: str):
    monkeypatch.setattr(archives, "ALWAYS_BYTES", 1_000_000)
    with pytest.raises(BadPath, match=says):
        archives.unpack(archive(tmp_path / "a.zip", **files), tmp_path / "into")
    assert [path.name for path in tmp_path.rglob("train.jsonl") if "into" not in str(path)] == []


def test_what_is_no_archive_is_refused(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(BadPath, match="cannot be unpacked"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "into")


def test_places_and_names_that_are_none_are_refused(tmp_path: Path):
    """As atheris has found them."""
    (tmp_path / "a.zip").write_bytes(
        base64.b64decode(
            b"UEsDBBQAAAAIAFNafJupX48rKAAAACoAAAAQAAAAZAYK5qSWZObngWSMlGq5AFBLAQIUAx"
            b"QAgAAIAFNafF2pX48rKAAAACoAAAAQAAAAAAAAAAAAAACAAQAAAABkYXRhL3RyYWluLmpz"
            b"b25sUEsFBgAAAAABAAEAPgAAAFYAAAAGAA=="
        )
    )
    with pytest.raises(BadPath, match="cannot be unpacked"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "into")
    nameless = (
        b"UEsDBBQABgrmpJZk5ueBZIyUarkAUEsBAhQDFAAAAAgAwVp8XalfjysoAAAAKgAAAP////8AAAAA"
        b"AAAAAIABAGEAAABkdGGvdHJhaW4uanNvbmxQSwUGAAAAAAEAAQA+AAAAVgAAAAAA"
    )
    (tmp_path / "nameless.zip").write_bytes(base64.b64decode(nameless))
    with pytest.raises(BadPath, match="cannot be unpacked"):
        archives.unpack(tmp_path / "nameless.zip", tmp_path / "nameless")
    member = tarfile.TarInfo("data/\udcff\udcfe.jsonl")
    with tarfile.open(tmp_path / "b.tar", "w") as opened:
        opened.addfile(member)
    with pytest.raises(BadPath, match="not UTF-8"):
        archives.unpack(tmp_path / "b.tar", tmp_path / "other")
    files = {"set/a.jsonl": "{}", "set/a.jsonl/b.jsonl": "{}", "c.jsonl": ""}
    with pytest.raises(BadPath):
        archives.unpack(archive(tmp_path / "c.zip", **files), tmp_path / "third")


def test_a_full_disk_is_not_the_archives_fault(tmp_path: Path, monkeypatch):
    def full(member: Any, target: Path, room: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archives, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        archives.unpack(archive(tmp_path / "a.zip", **{"train.jsonl": "{}"}), tmp_path / "into")


def test_a_link_in_an_archive_is_no_file(tmp_path: Path):
    described = zipfile.ZipInfo("train.jsonl")
    described.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr(described, "/etc/passwd")
        opened.writestr("test.jsonl", json.dumps(ROWS[0]))
    archives.unpack(tmp_path / "a.zip", tmp_path / "into")
    assert [path.name for path in (tmp_path / "into").iterdir()] == ["test.jsonl"]


KILLED = """
import sys
import tarfile
from registry.doctor import orders
order = orders.Order(path=sys.argv[1], processes=2)
orders.delegate(order, lambda *read: print(flush=True), limit_s=99)
"""


def test_it_never_outlives_who_asked(tmp_path: Path):
    """Killed with -9, who asked tells nobody; neither the doctor nor its helpers stay behind."""
    rows = [{"text": f"row {n} " + "word " * 200} for n in range(10_000)]
    write_rows(tmp_path / "train.jsonl", rows)
    environment = {**os.environ, "PYTHONPATH": f"{orders.ROOT}:{orders.ROOT / 'platform'}"}
    asker = psutil.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, env=environment
    )
    with asker.stdout:
        asker.stdout.readline()  # it is at work
        others = asker.children(recursive=True)
        asker.kill()
    asker.wait()
    assert others
    _, alive = psutil.wait_procs(others, timeout=60)
    assert alive == []


def test_rows_are_written_by_the_other_process_too(tmp_path: Path):
    """The order as it is carried out, and what breaks it off."""
    write_rows(tmp_path / "train.jsonl", ROWS)
    order = orders.Order(path=str(tmp_path), hashes=True, processes=2)
    seen: list[tuple[int, int]] = []
    answer = orders.delegate(order, lambda *read: seen.append(read), limit_s=120)
    assert (answer["num_samples"], answer["passed"]) == (20, True)
    assert list(answer["manifest"]) == ["train.jsonl"]
    assert seen
    with pytest.raises(BadPath):
        orders.delegate(orders.Order(path=str(tmp_path / "gone")), limit_s=120)
    with pytest.raises(orders.Failed, match="stopped after"):
        orders.delegate(order, limit_s=0)
