"""What is added to the supervisor library. `test_run.py` shows the whole with real processes."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from supervisor.states import ProcessStates

from trainyard.running import supervision
from trainyard.running.supervision import LONGEST_PAUSE_SECONDS, Foreman


@pytest.fixture
def foreman(monkeypatch: pytest.MonkeyPatch) -> Foreman:
    foreman = Foreman(SimpleNamespace(), port=1, quiet=False)
    monkeypatch.setattr(foreman, "answers", lambda: False)
    return foreman


def group(process: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(processes={"it": process}, transition=lambda: None)


def process(state: int, delay: float) -> SimpleNamespace:
    return SimpleNamespace(state=state, delay=delay)


def test_a_program_that_keeps_failing_is_tried_again_soon(foreman: Foreman) -> None:
    failing = process(ProcessStates.BACKOFF, time.time() + 600)
    foreman.process_groups = {"web": group(failing)}
    foreman.tick()
    assert failing.delay <= time.time() + LONGEST_PAUSE_SECONDS


def test_a_program_that_is_being_stopped_keeps_its_time(foreman: Foreman) -> None:
    until = time.time() + 600
    stopping = process(ProcessStates.STOPPING, until)
    foreman.process_groups = {"worker": group(stopping)}
    foreman.tick()
    assert stopping.delay == until


def test_the_address_is_said_once_and_only_when_it_answers(
    foreman: Foreman, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreman.tick()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(foreman, "answers", lambda: True)
    foreman.tick()
    foreman.tick()
    assert capsys.readouterr().out == "Trainyard is at http://127.0.0.1:1\n"


def test_output_is_shown_in_whole_lines_with_the_name_of_its_program(
    foreman: Foreman, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(name: str, data: bytes) -> None:
        foreman.echo(SimpleNamespace(process=program(name), data=data))

    write("web", b"one\ntw")
    write("worker", b"other \xff\n")
    write("web", b"o\n")
    assert capsys.readouterr().out == "web    | one\nworker | other \ufffd\nweb    | two\n"


def program(name: str) -> SimpleNamespace:
    return SimpleNamespace(config=SimpleNamespace(name=name))


def test_a_terminal_that_is_gone_stops_nothing(
    foreman: Foreman, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(supervision, "print", broken, raising=False)
    foreman.say("anything")
