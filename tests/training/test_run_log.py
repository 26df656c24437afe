"""A run's log, read from its end or from an offset, also while it grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories import make_job
from training import run_log
from training.models import Job, Status

pytestmark = pytest.mark.django_db


@pytest.fixture
def job(home: Path) -> Job:
    job = make_job(status=Status.RUNNING)
    (home / "runs" / str(job.pk)).mkdir()
    return job


def write(home: Path, job: Job, text: str) -> None:
    (home / "runs" / str(job.pk) / "log.txt").write_text(text, encoding="utf-8")


def test_a_run_that_has_not_begun_has_none(job: Job) -> None:
    assert run_log.tail(job) == run_log.read(job, 5) == run_log.Part("", 0, 0, 0)


def test_a_short_log_is_its_own_tail(home: Path, job: Job) -> None:
    write(home, job, "one\ntwo\n")
    assert run_log.tail(job) == run_log.Part("one\ntwo\n", 0, 8, 8)


def test_the_tail_of_a_long_log_begins_with_a_whole_line(
    home: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "TAIL_BYTES", 10)
    write(home, job, "first line\nsecond\nthird\n")
    assert run_log.tail(job) == run_log.Part("third\n", 18, 24, 24)


def test_readings_join_without_a_gap_and_no_letter_is_torn(
    home: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "MOST_BYTES", 12)
    text = "".join(f"größer {n}\n" for n in range(6))
    write(home, job, text)
    parts = [run_log.read(job, 0)]
    while parts[-1].next_offset < parts[-1].size:
        parts.append(run_log.read(job, parts[-1].next_offset))
    assert "".join(part.text for part in parts) == text


def test_an_offset_beyond_the_end_reads_nothing(home: Path, job: Job) -> None:
    write(home, job, "one\n")
    assert run_log.read(job, 99) == run_log.Part("", 4, 4, 4)
