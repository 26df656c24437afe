"""How fast the dataset doctor is: a million JSON lines, beside `datasets` and a Python pass.

    python benchmarks/doctor_speed.py [rows]

The doctor runs as a worker runs it, in a process of its own with two more to share the work. The
other side loads the same file with ``datasets.load_dataset("json")`` and looks in plain Python for
the same things: bad rows, lengths, exact and near duplicates (datasketch), damaged text, addresses
and keys. It is given a hundredth of the rows for what takes a time in proportion to them, and its
time for all of them is said to be calculated. Memory is that of all processes together. It ends
with 1 where a bar is missed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
ROWS = 1_000_000
BAR_SECONDS = 60.0  # for so many, and no measure for fewer: to begin takes a few of them
BAR_MB = 600.0
SHARE = 100  # one in so many rows for what is slow
WORDS = [a + b for a in ("ba", "ka", "lo", "mi", "nu", "pe", "ri") for b in ("rin", "tol", "men")]

DOCTOR = """
import json, sys
from registry.doctor import orders
order = orders.Order(path=sys.argv[1], processes=2, hashes=True)
if __name__ == "__main__":
    answer = orders.delegate(order, limit_s=3600)
    print(json.dumps({"counts": answer["integrity_report"]["counts"], **answer["statistics"]}))
"""
LOAD = """
import sys, datasets
datasets.disable_progress_bars()
rows = datasets.load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
seen = set()
for row in rows:
    seen.add(hash((row["prompt"], row["completion"])))
print(len(seen))
"""


def write(path: Path, rows: int) -> int:
    """Rows of 13 to 100 words; one in 500 is bad, a duplicate, nearly one, or gives much away."""
    rng = random.Random(1)
    earlier: list[dict[str, str]] = []
    with open(path, "w", encoding="utf-8") as file:
        for number in range(rows):
            row = {
                "prompt": " ".join(rng.choices(WORDS, k=rng.randint(8, 40))),
                "completion": " ".join(rng.choices(WORDS, k=rng.randint(5, 60))),
            }
            kind = number % 2500
            if kind == 0:
                file.write("{nonsense\n")
                continue
            if kind == 500 and earlier:
                row = earlier[-1]
            elif kind == 1000 and earlier:
                row = {**earlier[-2], "completion": earlier[-2]["completion"] + " indeed"}
            elif kind == 1500:
                row["completion"] += f" ana{number}@mail.org"
            elif kind == 2000:
                row["completion"] += " cafÃ© déjÃ\xa0"
            elif kind in (499, 999):
                earlier.append(row)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path.stat().st_size


def measured(program: str, *arguments: str) -> tuple[float, float, float, str]:
    """Seconds by the clock and of all cores, the most memory of all its processes at one time in
    MB, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"}
    start = time.perf_counter()
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(program)
        file.flush()
        process = subprocess.Popen(
            [sys.executable, file.name, *arguments], stdout=subprocess.PIPE, env=environment
        )
        most = [0.0]
        over = threading.Event()
        watch = threading.Thread(target=_watch, args=(process.pid, most, over))
        watch.start()
        said, _ = process.communicate()
        over.set()
        watch.join()
    assert process.returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cores, most[0], said.decode()


def _watch(pid: int, most: list[float], over: threading.Event) -> None:
    while not over.wait(0.2):
        total = 0.0
        try:
            root = psutil.Process(pid)
            for one in (root, *root.children(recursive=True)):
                total += one.memory_full_info().pss
        except psutil.Error:
            continue
        most[0] = max(most[0], total / 1e6)


def python_pass(path: Path) -> float:
    """Seconds for all rows, from one in SHARE of them."""
    from datasketch import MinHash, MinHashLSH

    email = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
    keys = re.compile(r"\bsk-\w{20,}|\bAKIA[0-9A-Z]{16}|\bhf_\w{30,}|-----BEGIN [A-Z ]*PRIVATE KEY")
    card = re.compile(r"\b(?:\d[ -]?){13,19}\b")
    with open(path, encoding="utf-8") as file:
        lines = [line for number, line in enumerate(file) if number % SHARE == 0]
    start = time.perf_counter()
    lsh, seen = MinHashLSH(threshold=0.8, num_perm=64), set()
    for number, line in enumerate(lines):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        text = row["prompt"] + "\n" + row["completion"]
        seen.add(hashlib.sha1(text.encode()).digest())
        found: Any = email.search(text), keys.search(text), card.search(text), "Ã" in text
        words = text.split()
        sketch = MinHash(num_perm=64)
        sketch.update_batch(
            " ".join(w).encode() for w in zip(words, words[1:], words[2:], strict=False)
        )
        found = (*found, lsh.query(sketch))
        lsh.insert(str(number), sketch)
    return (time.perf_counter() - start) * SHARE


def missed(rows: int, seconds: float, memory_mb: float) -> list[str]:
    """The bars that are."""
    found = []
    if rows >= ROWS and seconds > BAR_SECONDS * rows / ROWS:
        bar = f"{BAR_SECONDS:.0f} s for {ROWS:,}"
        found.append(f"missed: {seconds:.1f} s for {rows:,} rows; the bar is {bar}.")
    if memory_mb > BAR_MB:
        found.append(f"missed: {memory_mb:,.0f} MB; the bar is {BAR_MB:,.0f} MB.")
    return found


def main(rows: int = ROWS) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows" / "train.jsonl"
        path.parent.mkdir()
        size = write(path, rows)
        print(f"{rows:,} rows, {size / 1e6:,.0f} MB, {os.cpu_count()} cores")
        seconds, cores, memory, said = measured(DOCTOR, str(path.parent))
        answer: dict[str, Any] = json.loads(said)
        took = f"{seconds:.1f} s ({cores:.1f} s of cores), {memory:,.0f} MB"
        print(f"doctor: {took}, {rows / seconds:,.0f} rows/s")
        print(f"  found: {answer['counts']}, compared {answer['duplicates']['compared']:,}")
        compare_with_others(path, Path(folder), seconds)
    bars = missed(rows, seconds, memory)
    print("\n".join(bars))
    return int(bool(bars))


def compare_with_others(path: Path, folder: Path, seconds: float) -> None:
    # datasets gives up at a line that is no JSON: it gets the file without them.
    clean = folder / "clean.jsonl"
    with open(path, encoding="utf-8") as rows, open(clean, "w", encoding="utf-8") as out:
        out.writelines(line for line in rows if line != "{nonsense\n")
    loaded, cores, memory, _ = measured(LOAD, str(clean), str(folder / "cache"))
    took = f"{loaded:.1f} s ({cores:.1f} s of cores), {memory:,.0f} MB"
    print(f"load_dataset and a walk over its rows: {took}")
    passed = python_pass(path)
    print(f"a Python pass for the same findings: {passed:,.0f} s (calculated from 1 in {SHARE})")
    print(f"together {(loaded + passed) / seconds:.1f} times the doctor's time")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else ROWS))
