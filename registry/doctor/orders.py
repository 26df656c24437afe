"""What the doctor is told to do, and what comes of it, as plain values: in this process, or by
``python -m registry.doctor`` in one of its own, for what is large or written by strangers' tools.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from registry import files
from registry.doctor.findings import Finding, Level
from registry.doctor.images import image_folders
from registry.doctor.report import Report
from registry.doctor.splits import split_files
from registry.files import BadPath, Manifest

COMMAND = [sys.executable, "-m", "registry.doctor"]
ROOT = Path(__file__).resolve().parents[2]
NEWS_SECONDS = 1.0

# Told of rows and bytes read so far; raises to end the work.
News = Callable[[int, int], None]


class Outcome(TypedDict):
    """Of a check. ``manifest`` is None where the files were not hashed, ``examined`` False where
    there is nothing that could be judged."""

    examined: bool
    num_samples: int
    passed: bool
    integrity_report: dict[str, Any]
    statistics: dict[str, Any]
    manifest: Manifest | None


@dataclass(frozen=True, kw_only=True)
class Order:
    """``before`` is the manifest of an earlier check; with ``hashes`` the files are hashed first
    and compared with it. ``index`` is where to write what `compare` needs of the rows."""

    path: str
    modality: str = "text"
    columns: dict[str, str] = field(default_factory=dict)
    hashes: bool = False
    before: Manifest | None = None
    index: str = ""
    processes: int = 1
    repair: dict[str, Any] | None = None


class Failed(Exception):
    """The process ended without an answer. The message says how, in words."""


def carry_out(order: Order, news: News = lambda rows, read_bytes: None) -> Outcome:
    """Here and now. Raises BadPath."""
    path = Path(order.path)
    manifest = files.manifest(path) if order.hashes else None
    changed = [] if manifest is None else differences(order.before, manifest)
    report = _report(order, path, news)
    if report is None:
        empty = Report()
        return _outcome(empty, manifest, examined=False)
    outcome = _outcome(report, manifest, examined=True)
    for sentence in changed:
        add_changed(outcome, sentence)
    return outcome


def _report(order: Order, path: Path, news: News) -> Report | None:
    """What is neither text nor a labelled image is not read: nothing here could judge it."""
    if order.modality == "image" and image_folders(path):
        from registry.doctor import image_check, index

        images = image_check.check_images(path, processes=order.processes, progress=news)
        if order.index:
            index.write(Path(order.index), images)
        return images.report
    if order.modality == "text" or (order.modality == "image" and split_files(path)):
        from registry.doctor import examine, index

        checked = examine.check_whole(
            path, columns=order.columns, processes=order.processes, progress=news
        )
        if order.index:
            index.write(Path(order.index), checked)
        return checked.report
    return None


def _outcome(report: Report, manifest: Manifest | None, *, examined: bool) -> Outcome:
    return {
        "examined": examined,
        "num_samples": report.num_samples,
        "passed": report.passed,
        "integrity_report": report.integrity_report,
        "statistics": report.statistics,
        "manifest": manifest,
    }


def differences(before: Manifest | None, now: Manifest) -> list[str]:
    """Between two manifests, one sentence each; none where there was none before."""
    if before is None:
        return []
    found = []
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            found.append(f"{name} is missing.")
        elif name not in before:
            found.append(f"{name} is new.")
        elif before[name] != now[name]:
            sizes = f"{before[name]['size']:,} bytes then, {now[name]['size']:,} now"
            found.append(f"{name} has changed ({sizes}).")
    return found


def add_changed(outcome: Outcome, sentence: str) -> None:
    """A warning more in its report."""
    finding = Finding(
        code="file_changed",
        message=f"Since the last check: {sentence}",
        fix="Jobs that ran before have seen other rows. Register a new version to keep both.",
        level=Level.WARNING,
    )
    report = outcome["integrity_report"]
    report["findings"].append(asdict(finding))
    report["counts"][finding.code] = report["counts"].get(finding.code, 0) + 1
    report["warnings"] += 1


# --- In a process of its own ---------------------------------------------------------------------


def delegate(order: Order, news: News = lambda rows, read_bytes: None, *, limit_s: float) -> Any:
    """Let another process do it, and tell ``news`` at least every second what it has read; what
    that raises ends it. The answer is what the process wrote last. Raises BadPath, Failed."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ},
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
    }
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            cwd=ROOT,
            env=environment,
        )
        try:
            answer = _listen(process, order, news, limit_s)
        finally:
            # The other side ends when this pipe does, also where we are killed before this line.
            process.kill()
            process.communicate()
        if answer is None:
            complaints.seek(0)
            last = complaints.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
            words = last[-1][:300] if last else f"it ended with {process.returncode}"
            raise Failed(f"The reader broke off: {words}")
    if "bad_path" in answer:
        raise BadPath(answer["bad_path"])
    return answer["done"]


def _listen(
    process: subprocess.Popen[bytes], order: Order, news: News, limit_s: float
) -> dict[str, Any] | None:
    """The last line that it says; None where it ends without one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
    process.stdin.flush()
    until = time.monotonic() + limit_s
    rows = read_bytes = 0
    waiting = b""
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < until:
            if ready.select(NEWS_SECONDS):
                block = os.read(process.stdout.fileno(), 1 << 20)
                if not block:
                    return None
                *lines, waiting = (waiting + block).split(b"\n")
                for message in _messages(lines):
                    if "read" not in message:
                        return message
                    rows, read_bytes = message["read"]
            news(rows, read_bytes)
    raise Failed(f"The check was stopped after {limit_s:,.0f} seconds.")


def _messages(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    return (json.loads(line) for line in lines if line)
