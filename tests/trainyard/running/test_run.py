"""`manage.py run` with real processes: it starts, keeps running, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import brokers, postgresql
from tests.trainyard.running.instances import PATIENCE_S, Instance, wait_for

# The promise is 5 s on a quiet machine with two cores, and test machines are seldom quiet:
# `benchmarks/start.py` says how long it takes.
BACK_WITHIN_SECONDS = 20


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One that the tests of this module share, and must leave running."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    instance = Instance(tmp_path_factory.mktemp("home"), cwd=elsewhere)
    instance.extra = {"HOME": str(elsewhere), "TMPDIR": str(elsewhere)}
    instance.start()
    yield instance
    instance.kill_everything()


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Instance]:
    """One that a test may do with as it likes; not started."""
    instance = Instance(tmp_path / "home")
    yield instance
    if instance.process is not None:
        instance.kill_everything()


def test_it_answers_and_says_where(platform: Instance) -> None:
    assert platform.said(f"Trainyard is at http://127.0.0.1:{platform.port}\n")
    assert platform.status_of("/healthz") == 200
    assert platform.status_of("/readyz") == 200


def test_what_the_programs_write_is_on_the_terminal_and_in_files(platform: Instance) -> None:
    assert platform.said("web    | INFO:     Uvicorn running on")
    assert platform.said("worker | ")
    assert "Uvicorn running on" in platform.log_of("web")


def test_static_files_are_served_without_collecting_them(platform: Instance) -> None:
    assert platform.status_of("/static/admin/css/base.css") == 200
    assert not (platform.home / "static").exists()


def test_only_the_owner_can_talk_to_the_broker(platform: Instance) -> None:
    assert (platform.home / "valkey.sock").stat().st_mode & 0o777 == 0o700


def test_nothing_is_written_outside_the_home(platform: Instance) -> None:
    assert platform.cwd is not None
    assert list(platform.cwd.rglob("*")) == []
    assert list((platform.home / "tmp").iterdir()) != []  # so there was something to write


@pytest.mark.parametrize("program", ["web", "worker", "valkey"])
def test_a_program_that_is_killed_comes_back(
    platform: Instance, program: str, record_property: Callable[[str, object], None]
) -> None:
    before = platform.pid_of(program)
    assert before is not None
    children = {process.pid for process in platform.processes() if process.ppid() == before}
    worker_starts = platform.worker_starts()

    def is_back() -> bool:
        if platform.pid_of(program) in (None, before) or platform.status_of("/readyz") != 200:
            return False
        return program != "worker" or platform.worker_starts() > worker_starts

    os.kill(before, signal.SIGKILL)
    seconds = wait_for(f"{program} after kill -9", is_back, BACK_WITHIN_SECONDS)

    record_property("back_after_seconds", round(seconds, 2))
    assert not children & {process.pid for process in platform.processes()}
    assert platform.said(f"{program} has ended and is started again.")


def test_a_second_one_in_the_same_home_is_refused(platform: Instance) -> None:
    refusal = Instance(platform.home).refusal()
    assert f"Trainyard is already running with TRAINYARD_HOME={platform.home}" in refusal
    assert f"(process {platform.pid})" in refusal
    assert "Traceback" not in refusal


def test_a_taken_port_is_refused(platform: Instance, another: Instance) -> None:
    another.port = platform.port
    refusal = another.refusal()
    assert f"Port {platform.port} of 127.0.0.1 cannot be had" in refusal
    assert "Traceback" not in refusal


def test_a_database_that_does_not_answer_is_named(another: Instance) -> None:
    another.extra = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"}
    refusal = another.refusal()
    assert "The database does not answer" in refusal
    assert "Traceback" not in refusal


def test_two_run_side_by_side_and_one_killed_outright_leaves_nothing_behind(
    platform: Instance, another: Instance
) -> None:
    another.start()
    assert [platform.status_of("/readyz"), another.status_of("/readyz")] == [200, 200]
    assert len(another.processes()) > len(["run", "valkey", "web", "worker"])

    os.kill(another.pid, signal.SIGKILL)

    wait_for("the end of every process", lambda: not another.processes(), 10)
    assert platform.status_of("/readyz") == 200


def test_asked_to_stop_it_stops_everything_and_starts_again(another: Instance) -> None:
    for reason in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        another.start()
        assert another.process is not None
        os.kill(another.pid, reason)
        assert another.process.wait(PATIENCE_S) == 0, reason
        assert another.processes() == []
        assert another.said("Stopped.")


def test_postgresql_and_redis_are_used_where_they_are_named(
    another: Instance, tmp_path: Path
) -> None:
    with (
        postgresql.own_database() as database,
        brokers.own_valkey(tmp_path / "redis.sock") as redis_url,
    ):
        another.extra = {"DATABASE_URL": database, "REDIS_URL": redis_url}
        another.start()
        assert another.status_of("/readyz") == 200
        assert another.pid_of("valkey") is None
        assert not (another.home / "db.sqlite3").exists()
        another.kill_everything()
