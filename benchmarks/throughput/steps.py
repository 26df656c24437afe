"""What a contender leaves behind: ``steps.json``, when each step ended and its tokens."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.throughput.workload import Workload


@dataclass
class Steps:
    """``ended`` are times since the epoch, ``tokens`` those of each step, padding not counted."""

    folder: Path
    ended: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    gpu_memory_mb: float | None = None

    def rows(self, work: Workload) -> list[dict[str, str]]:
        lines = Path(work.rows).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def took(self, tokens: int) -> None:
        self.ended.append(time.time())
        self.tokens.append(tokens)

    def write(self) -> None:
        import torch

        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            self.gpu_memory_mb = torch.cuda.max_memory_allocated() / 2**20
        facts = {"ended": self.ended, "tokens": self.tokens, "gpu_memory_mb": self.gpu_memory_mb}
        (self.folder / "steps.json").write_text(json.dumps(facts), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Steps:
        return cls(folder, **json.loads((folder / "steps.json").read_text(encoding="utf-8")))
