"""A Celery worker says that it lives, what cards it has, and which of its runs have died.

`install` hooks into Celery's signals. The heart beats in a thread of the worker's main process, so
it goes on while every child is busy training.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import signal
import sys
import threading
import time
import uuid
from typing import Any

import psutil
from celery import current_app, signals
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.utils import timezone
from django.utils.text import slugify

from training import cards, host, reconciler, scheduler, standby
from training.models import Device, Partition, Worker
from training.playground import placing
from training.preflight import hardware
from training.trainer import cpu_rate

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
LOOK_SECONDS = 10.0  # between two looks at what the machine has

# Set in the main process, seen in its children, which are forked after this module is imported.
going_down = multiprocessing.Event()


@transaction.atomic
def register(name: str, boot_id: uuid.UUID) -> Worker:
    """Write down this worker and its devices. Called once for each start of the worker."""
    now = timezone.now()
    partition, _ = Partition.objects.get_or_create(name=settings.TRAINYARD_PARTITION)
    found, there = host.read(), cards.read()
    worker, _ = Worker.objects.update_or_create(
        name=name,
        defaults={
            "partition": partition,
            "boot_id": boot_id,
            "host_memory_mb": found.memory_mb,
            "host_memory_free_mb": found.memory_free_mb,
            "cpu_threads": found.cpu_threads,
            "cpu_gflops": _cpu_gflops(found),
            "driver": there.driver[:40],
            "seen_at": now,
            "started_at": now,
        },
    )
    kept = {_cpu(worker, found).pk} | {_card(worker, card).pk for card in there.cards}
    worker.devices.exclude(pk__in=kept).delete()
    return worker


@transaction.atomic
def look_again(worker: Worker) -> None:
    """Write down what the machine has now: memory is taken and freed, a card may fail or be cut
    into slices. A device that has gone stays as long as a job has it; that job will tell."""
    found, there = host.read(), cards.read()
    Worker.objects.filter(pk=worker.pk).update(
        host_memory_free_mb=found.memory_free_mb,
        cpu_gflops=_cpu_gflops(found),
        driver=there.driver[:40],
    )
    kept = {_cpu(worker, found).pk} | {_card(worker, card).pk for card in there.cards}
    worker.devices.filter(lease=None).exclude(pk__in=kept).delete()


def _card(worker: Worker, card: cards.Card) -> Device:
    device, _ = Device.objects.update_or_create(
        worker=worker,
        kind=Device.Kind.CUDA,
        index=card.index,
        defaults={
            "name": card.name[:100],
            "gpu_type": gpu_type_of(card.name),
            "memory_mb": card.memory_mb,
            "memory_free_mb": card.memory_free_mb,
            "compute_capability": card.compute_capability,
            "uuid": card.uuid,
            "card_index": card.card_index,
        },
    )
    return device


def gpu_type_of(name: str) -> str:
    """The catalogue's word for a card; for one it does not know, the driver's own as a slug."""
    known = hardware.find_card(name)
    return known.slug if known else slugify(name.removeprefix("NVIDIA ").replace(".", "-"))[:40]


def _cpu(worker: Worker, found: host.Host) -> Device:
    device, _ = Device.objects.update_or_create(
        worker=worker,
        kind=Device.Kind.CPU,
        index=0,
        defaults={
            "name": f"CPU, {found.cpu_threads} threads",
            "memory_mb": found.memory_mb,
            "memory_free_mb": found.memory_free_mb,
        },
    )
    return device


def _cpu_gflops(found: host.Host) -> float | None:
    """As a trainer standing by has noted it."""
    return cpu_rate.noted(settings.TRAINYARD_CPU_RATE, found.cpu_threads)


class Heart(threading.Thread):
    """Beats once a second until the worker goes down."""

    def __init__(self, name: str) -> None:
        super().__init__(name="heart", daemon=True)
        self.worker_name = name
        self.boot_id = uuid.uuid4()
        self.stopped = threading.Event()

        self.worker: Worker | None = None
        self.looked_at = 0.0

    def run(self) -> None:
        while not self.stopped.wait(BEAT_SECONDS if self.worker else 0.1):
            try:
                self.beat()
            except (DatabaseError, InterfaceError) as error:
                log.warning("worker %s: the database does not answer (%s)", self.worker_name, error)
                connection.close()
            except Exception:  # one bad beat must not be the last
                log.exception("worker %s: a beat failed", self.worker_name)
        connection.close()

    def beat(self) -> None:
        """Say that the worker lives; say who it is where the database does not know it (yet)."""
        if self.worker is None:
            self.worker = register(self.worker_name, self.boot_id)
            self.looked_at = time.monotonic()
            reconciler.reap_jobs_of_earlier_boots(self.worker)
            placing.reap_of_earlier_boots(self.worker)
            scheduler.dispatch()
        if not Worker.objects.filter(pk=self.worker.pk).update(seen_at=timezone.now()):
            self.worker = None  # somebody has deleted the row
            return
        if time.monotonic() - self.looked_at > LOOK_SECONDS:
            self.looked_at = time.monotonic()
            look_again(self.worker)
        children = {child.pid for child in psutil.Process().children(recursive=True)}
        reconciler.reap_jobs_of_dead_runners(self.worker, children)
        placing.reap_of_dead_runners(self.worker, children)


_heart: Heart | None = None


@signals.worker_ready.connect
def _begin(**_: Any) -> None:
    """A worker that takes no jobs (`trainyard.running.programs.transfers`) has no cards either."""
    global _heart
    if f"worker.{settings.TRAINYARD_WORKER}" not in current_app.amqp.queues.consume_from:
        return
    _heart = Heart(settings.TRAINYARD_WORKER)
    _heart.start()


@signals.worker_shutting_down.connect
def _go_down(**_: Any) -> None:
    going_down.set()


@signals.worker_shutdown.connect
def _end(**_: Any) -> None:
    if _heart is not None:
        _heart.stopped.set()
        _heart.join(timeout=5)


@signals.worker_process_init.connect
@signals.beat_embedded_init.connect
def _die_with_the_worker(**_: Any) -> None:
    """A child whose worker was killed must not go on training: the job is already somebody else's.

    prctl(2) PR_SET_PDEATHSIG; Linux only, elsewhere the lease runs out and the attempt is fenced.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


@signals.worker_process_init.connect
def _keep_a_trainer_ready(**_: Any) -> None:
    standby.keeper.begin()


@signals.worker_process_shutdown.connect
def _let_the_trainer_go(**_: Any) -> None:
    standby.keeper.end()
