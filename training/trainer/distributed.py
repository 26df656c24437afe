"""The other processes of a run: who this one is among them, and what they have to agree on.

All ranks run the same program in step; where they would part ways (a stop, a word to the outside, a
file) they ask here. A single process is one rank of one, and none of it costs anything then.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from training.trainer import durable, launcher
from training.trainer.spec import BadSpec, RunSpec

# A rank that dies is noticed by the launcher at once; these end the wait for one that hangs.
STEP_PATIENCE = datetime.timedelta(minutes=30)
GATE_PATIENCE = datetime.timedelta(hours=12)  # one rank prepares data or writes, the others wait

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """``words`` and ``gates`` are groups of host processes, whatever the devices are: what goes
    through them waits for no GPU."""

    rank: int = 0
    world_size: int = 1
    words: dist.ProcessGroup | None = None
    gates: dist.ProcessGroup | None = None

    @classmethod
    def meet(cls, spec: RunSpec, device: torch.device) -> Ranks:
        """Find the other ranks of this run. Raises BadSpec where they are not as many as the run
        needs."""
        rank = launcher.own_rank()
        if rank is None:
            return cls()
        world_size = int(os.environ["WORLD_SIZE"])
        if world_size != spec.device.ranks:
            raise BadSpec(f"gpus: the run needs {spec.device.ranks} ranks and has {world_size}")
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            init_method=os.environ.get(launcher.RENDEZVOUS_VARIABLE, "env://"),
            rank=rank,
            world_size=world_size,
            timeout=STEP_PATIENCE,
            device_id=device if device.type == "cuda" else None,
        )
        words = dist.new_group(backend="gloo", timeout=STEP_PATIENCE)
        gates = dist.new_group(backend="gloo", timeout=GATE_PATIENCE)
        return cls(rank, world_size, words, gates)

    def leave(self) -> None:
        """After this each goes its own way: the first to export, the others home."""
        if self.world_size > 1:
            dist.destroy_process_group()

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def any(self, claim: bool) -> bool:
        """Whether it holds for one rank at least."""
        if self.words is None:
            return claim
        flag = torch.tensor(int(claim))
        dist.all_reduce(flag, dist.ReduceOp.MAX, group=self.words)
        return bool(flag)

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Over all ranks, in place, on the device, without waiting for it."""
        if self.world_size > 1:
            dist.all_reduce(value)
        return value

    def all_of(self, value: T) -> list[T]:
        """What each rank has, in their order."""
        if self.words is None:
            return [value]
        values: list[T | None] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self.words)
        return values  # type: ignore[return-value]

    def wait(self) -> None:
        """Until all are here."""
        if self.gates is not None:
            dist.all_reduce(torch.zeros(()), group=self.gates)

    @contextlib.contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """The others come after the first rank, and find done what needs doing only once."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    @contextlib.contextmanager
    def whole_folder(self, final: Path, *, what: str, needs_bytes: int) -> Iterator[Path]:
        """`durable.whole_folder` that all ranks fill together. Raises DiskFull."""
        with contextlib.ExitStack() as stack:
            if self.is_first:
                folder = durable.whole_folder(final, what=what, needs_bytes=needs_bytes)
                stack.enter_context(folder)
            self.wait()  # the folder is there
            yield durable.half_of(final)
            self.wait()  # all have written
        self.wait()  # it has its name
