"""Keeps programs running, with the supervisor library in this process and in the foreground.

What it does by itself: start in order, start again what died, stop in the other order with SIGTERM
and then SIGKILL, log files with rotation. What is added here: output on the terminal, one line
when the platform answers, a ceiling for the pause between attempts, and an end on SIGHUP.
"""

from __future__ import annotations

import http.client
import shlex
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from supervisor import events
from supervisor.medusa import asyncore_25
from supervisor.options import ServerOptions
from supervisor.states import ProcessStates
from supervisor.supervisord import Supervisor

from trainyard.running import tether
from trainyard.running.programs import Program

# Supervisor waits a second longer after each failed start, without end.
LONGEST_PAUSE_SECONDS = 3.0
HEALTH_TIMEOUT_SECONDS = 2.0


def supervise(programs: list[Program], *, home: Path, port: int, quiet: bool) -> None:
    """Returns when all programs were stopped: after SIGTERM, SIGINT or SIGHUP.

    ``quiet`` keeps what the programs write off the terminal; the files have it all the same.
    """
    (home / "logs").mkdir(exist_ok=True)
    path = home / "run" / "supervisord.conf"
    path.write_text(configuration(programs, home), encoding="utf-8")
    options = ServerOptions()
    options.realize(["--nodaemon", "--configuration", str(path)])
    options.first, options.test = True, False
    try:
        Foreman(options, port=port, quiet=quiet).main()
    except asyncore_25.ExitNow:
        pass
    finally:
        options.close_logger()


def configuration(programs: list[Program], home: Path) -> str:
    """The text of supervisord.conf."""
    sections = [
        f"""\
[supervisord]
nodaemon = true
silent = true
logfile = {_escape(home / "logs" / "supervisor.log")}
logfile_maxbytes = 10MB
logfile_backups = 3
pidfile = {_escape(home / "run" / "supervisord.pid")}
childlogdir = {_escape(home / "logs")}
minfds = 256
minprocs = 64
"""
    ]
    for priority, program in enumerate(programs):
        environment = ",".join(f'{name}="{value}"' for name, value in program.environment.items())
        # As a file and in isolation: it takes 20 ms, the package `trainyard` would take 300.
        tethered = [sys.executable, "-IS", tether.__file__, *program.command]
        log = _escape(_escape(home / "logs" / f"{program.name}.log"))  # it is expanded twice
        sections.append(
            f"""\
[program:{program.name}]
command = {_escape(shlex.join(tethered))}
environment = {_escape(environment)}
priority = {priority}
autorestart = true
startsecs = 1
startretries = {sys.maxsize}
stopwaitsecs = {program.stop_seconds}
killasgroup = true
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 3
stdout_events_enabled = {program.on_terminal}
"""
        )
    return "\n".join(sections)


def _escape(value: object) -> str:
    return str(value).replace("%", "%%")


class Foreman(Supervisor):
    def __init__(self, options: ServerOptions, *, port: int, quiet: bool) -> None:
        super().__init__(options)
        self.port = port
        self.quiet = quiet
        self.announced = False
        self.unfinished_lines: defaultdict[str, bytes] = defaultdict(bytes)

    def runforever(self) -> None:
        # The terminal was closed. Supervisor would read its configuration again and go on.
        signal.signal(
            signal.SIGHUP,
            lambda *_: self.options.signal_receiver.receive(signal.SIGTERM, None),
        )
        if not self.quiet:
            events.subscribe(events.ProcessLogEvent, self.echo)
        for event in (events.ProcessStateExitedEvent, events.ProcessStateBackoffEvent):
            events.subscribe(event, self.tell_of_death)
        events.subscribe(events.SupervisorStoppingEvent, lambda _: self.say("Stopping …"))
        for group in self.process_groups.values():
            group.transition()  # now: the library's loop first waits a second for something to do
        super().runforever()

    def tick(self, now: float | None = None) -> None:
        """Called by the library's loop at least once a second."""
        super().tick(now)
        if not self.announced and self.answers():
            self.announced = True
            self.say(f"Trainyard is at http://127.0.0.1:{self.port}")
        latest = time.time() + LONGEST_PAUSE_SECONDS
        for group in self.process_groups.values():
            for process in group.processes.values():
                if process.state == ProcessStates.BACKOFF:
                    process.delay = min(process.delay, latest)
            group.transition()  # what has just died is started now, not a second later

    def answers(self) -> bool:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=HEALTH_TIMEOUT_SECONDS
        )
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def tell_of_death(self, event: Any) -> None:
        self.say(f"{event.process.config.name} has ended and is started again.")

    def echo(self, event: Any) -> None:
        """Whole lines only, each with the name of its program."""
        name = event.process.config.name
        *lines, rest = (self.unfinished_lines[name] + event.data).split(b"\n")
        self.unfinished_lines[name] = rest
        for line in lines:
            self.say(f"{name:<7}| {line.decode(errors='replace')}")

    def say(self, line: str) -> None:
        try:
            print(line, flush=True)  # noqa: T201
        except OSError:  # nobody reads any more
            pass
