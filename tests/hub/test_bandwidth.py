"""A limit holds for one process, and for all of a machine together."""

from __future__ import annotations

import multiprocessing
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from registry.hub.bandwidth import BURST_SECONDS, Bucket, SharedBucket, everybodys_bucket

RATE = 1_000_000
BLOCK = 50_000


def move(bucket: Bucket, blocks: int) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    for _ in range(blocks):
        time.sleep(max(bucket.wait_for(BLOCK), 0))
    return time.monotonic() - began


def move_in_a_process(path: Path, ready: Any, ended: Any) -> None:
    bucket = SharedBucket(RATE, path)
    ready.wait()
    move(bucket, 20)
    ended.put(time.monotonic())


def test_two_processes_share_one_limit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, ended = context.Barrier(3), context.Queue()
    both = [
        context.Process(target=move_in_a_process, args=(tmp_path / "shared", ready, ended))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    ready.wait(timeout=60)
    began = time.monotonic()
    last = max(ended.get(timeout=60) for _ in both)
    for process in both:
        process.join()
    # Two seconds' worth together; alone each would have been through after half a second.
    assert 2 - BURST_SECONDS - 0.1 < last - began < 5


def test_threads_share_it_too(tmp_path: Path) -> None:
    bucket = SharedBucket(RATE, tmp_path / "shared")
    began = time.monotonic()
    threads = [threading.Thread(target=move, args=(bucket, 10)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began > 1 - BURST_SECONDS - 0.1


@pytest.mark.parametrize("written", [b"", b"x", struct.pack("<d", 1e12), struct.pack("<d", 0)])
def test_what_is_from_another_time_keeps_nobody_waiting(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "shared").write_bytes(written)
    assert SharedBucket(RATE, tmp_path / "shared").wait_for(BLOCK) < 0


def test_a_pause_is_not_made_up_for() -> None:
    bucket = Bucket(RATE)
    bucket.free_at -= 60
    waits = [bucket.wait_for(BLOCK) for _ in range(20)]
    assert sum(wait <= 0 for wait in waits) == BURST_SECONDS * RATE / BLOCK


def test_there_is_one_for_everybody_where_there_is_a_limit(home: Path, settings: Any) -> None:
    settings.TRAINYARD_TRANSFER_BANDWIDTH_MB = 0
    assert everybodys_bucket() is None
    settings.TRAINYARD_TRANSFER_BANDWIDTH_MB = 3
    bucket = everybodys_bucket()
    assert bucket is everybodys_bucket()
    assert bucket is not None
    assert bucket.wait_for(1_500_000) <= 0
    assert bucket.wait_for(3_000_000) == pytest.approx(1.0, abs=0.1)
    assert (Path(settings.TRAINYARD_TRANSFERS) / "bandwidth").is_file()
