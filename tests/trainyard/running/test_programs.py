from __future__ import annotations

import configparser
import shlex
from pathlib import Path

import pytest
from django.conf import settings
from supervisor.options import ServerOptions

from trainyard.running import programs, supervision
from trainyard.running.programs import Program


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TRAINYARD_WORKER", "node-7")


def option(program: Program, name: str) -> str:
    return program.command[program.command.index(name) + 1]


def test_the_broker_starts_first_and_stops_last() -> None:
    assert [program.name for program in programs.all_programs()] == [
        "valkey",
        "web",
        "worker",
        "transfers",
    ]


def test_no_broker_is_started_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://10.0.0.1/0")
    assert [program.name for program in programs.all_programs()] == [
        "web",
        "worker",
        "transfers",
    ]


def test_the_broker_is_reached_through_its_socket_alone() -> None:
    assert option(programs.valkey(), "--port") == "0"
    assert option(programs.valkey(), "--unixsocket") == str(settings.VALKEY_SOCKET)


def test_the_web_server_listens_on_loopback_only() -> None:
    assert option(programs.web(), "--host") == "127.0.0.1"
    assert option(programs.web(), "--port") == str(settings.PORT)


@pytest.mark.usefixtures("names")
def test_a_worker_consumes_the_common_queue_and_its_own() -> None:
    assert option(programs.worker(), "--queues") == "trainyard,worker.node-7"


@pytest.mark.parametrize(("gpus", "children"), [(0, 3), (8, 11)])
def test_a_worker_has_a_child_for_each_device_and_two_for_short_tasks(
    monkeypatch: pytest.MonkeyPatch, gpus: int, children: int
) -> None:
    monkeypatch.setattr(programs, "cards", lambda: [None] * gpus)
    assert option(programs.worker(), "--concurrency") == str(children)


@pytest.mark.usefixtures("names")
def test_the_worker_for_transfers_takes_nothing_else_and_has_no_clock() -> None:
    program = programs.transfers()
    assert option(program, "--queues") == "transfers"
    assert option(program, "--concurrency") == str(settings.TRAINYARD_PARALLEL_TRANSFERS)
    assert option(program, "--hostname") == "node-7-transfers@%h"
    assert "--beat" not in program.command


def test_a_worker_gets_the_time_that_a_checkpoint_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TRAINYARD_STOP_SECONDS", 500)
    assert programs.worker().stop_seconds > 500


@pytest.mark.parametrize("name", ["plain", "with space", "100%", "it's", 'a "b"'])
def test_the_library_reads_the_command_that_was_meant(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    (home / "logs").mkdir(parents=True)
    (home / "run").mkdir()
    command = ["/bin/echo", str(home), "%h", "", "it's"]
    path = home / "run" / "supervisord.conf"
    path.write_text(supervision.configuration([Program("echo", command, 5)], home))

    options = ServerOptions()
    options.realize(["--nodaemon", "--configuration", str(path)])

    (group,) = options.process_group_configs
    (process,) = group.process_configs
    assert shlex.split(process.command)[-len(command) :] == command
    assert process.stdout_logfile == str(home / "logs" / "echo.log")
    assert process.stopwaitsecs == 5


def test_a_program_gets_its_own_environment(tmp_path: Path) -> None:
    text = supervision.configuration([programs.web()], tmp_path)
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    assert parser["program:web"]["environment"] == 'DATABASE_POOL="1"'
