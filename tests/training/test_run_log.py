"""A run's log, read from its end or from an offset, also while it grows."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from accounts.models import User
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


def test_the_tail_of_a_long_log_begins_with_a_whole_line(home: Path, job: Job) -> None:
    write(home, job, "first line\nsecond\nthird\n")
    assert run_log.tail(job, 10) == run_log.Part("third\n", 18, 24, 24)


def test_readings_join_without_a_gap_and_no_letter_is_torn(home: Path, job: Job) -> None:
    text = "".join(f"größer {n}\n" for n in range(6))
    write(home, job, text)
    parts = [run_log.read(job, 0, 12)]
    while parts[-1].next_offset < parts[-1].size:
        parts.append(run_log.read(job, parts[-1].next_offset, 12))
    assert "".join(part.text for part in parts) == text


def test_an_offset_beyond_the_end_reads_nothing(home: Path, job: Job) -> None:
    write(home, job, "one\n")
    assert run_log.read(job, 99) == run_log.Part("", 4, 4, 4)


# --- Searching -----------------------------------------------------------------------------------


def test_words_are_found_with_the_byte_at_which_their_line_begins(home: Path, job: Job) -> None:
    write(home, job, "größer\nLoss is NaN\nall well\nthe loss again\nend of loss")
    found = run_log.search(job, "loss")
    assert [(line.offset, line.text) for line in found.lines] == [
        (9, "Loss is NaN"), (30, "the loss again"), (45, "end of loss"),
    ]  # fmt: skip
    assert found.next_offset == found.size == 56
    assert run_log.read(job, 30).text.startswith("the loss again")
    assert [line.offset for line in run_log.search(job, "LOSS", 30).lines] == [30, 45]


def test_words_that_are_not_there_and_a_log_that_is_not_there(home: Path, job: Job) -> None:
    assert run_log.search(job, "x") == run_log.Found()
    write(home, job, "one\n")
    assert run_log.search(job, "x") == run_log.Found([], 4, 4)
    assert run_log.search(job, "one", 99) == run_log.Found([], 4, 4)


def test_a_long_log_is_searched_in_parts_that_miss_nothing(
    home: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "BLOCK_BYTES", 16)
    monkeypatch.setattr(run_log, "MOST_SEARCHED", 64)
    monkeypatch.setattr(run_log, "MOST_FOUND", 3)
    lines = [f"line {n} {'needle' if n % 5 == 0 else 'hay'}" for n in range(100)]
    write(home, job, "\n".join(lines))
    found, offset, asked = [], 0, 0
    while True:
        part = run_log.search(job, "NEEDLE", offset)
        found += [line.text for line in part.lines]
        asked += 1
        if part.next_offset >= part.size:
            break
        assert part.next_offset > offset
        offset = part.next_offset
    assert found == [line for line in lines if "needle" in line]
    assert asked > 5


def test_of_a_very_long_line_what_stands_around_the_words_is_shown(home: Path, job: Job) -> None:
    write(home, job, "x" * 5000 + "needle" + "y" * 5000)
    [line] = run_log.search(job, "needle").lines
    assert "needle" in line.text
    assert len(line.text) == run_log.SHOWN_BYTES


def test_a_page_shows_no_more_of_it_than_comes_at_once(
    home: Path, job: Job, ana: User, client: Client
) -> None:
    write(home, job, "step after step\n" * 20_000)
    client.force_login(ana)
    for query in ("", "?log=step&at=16000"):
        page = client.get(f"/jobs/{job.pk}{query}")
        shown = page.context["log"]
        assert run_log.PAGE_BYTES - 100 < len(shown.text) <= run_log.PAGE_BYTES
    assert shown.offset == 16_000
