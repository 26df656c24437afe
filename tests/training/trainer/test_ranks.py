"""Several ranks learn what one would have learned."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.trainer import runs, several
from training.trainer import events

TRAIN = {
    "max_steps": 20,
    "global_batch_size": 16,
    "learning_rate": 3e-3,
    "weight_decay": 0.01,
    "checkpoint_interval": 10,
}
LORA = {"r": 8, "lora_alpha": 16}
EVAL = {"interval": 10, "suites": ["exact_match"], "exact_match_rows": 5}
KINDS = [
    ("full", "ddp"),
    ("full", "zero1"),
    ("full", "zero2"),
    ("full", "zero3"),
    ("lora", "ddp"),
    ("lora", "fsdp"),
    ("qlora", "fsdp"),
]


def train_together(run_dirs: Sequence[Path], *, ranks: int) -> None:
    """All run directories, one after the other, by the same processes."""
    with contextlib.ExitStack() as stack:
        processes = []
        for rank in range(ranks):
            environment = {
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(ranks),
                "GLOO_SOCKET_IFNAME": "lo",
            }
            if ranks == 1:
                del environment["RANK"]
            process = runs.start(
                several.__name__,
                *map(str, run_dirs),
                log=run_dirs[0] / f"log-{rank}.txt",
                environment=environment,
            )
            stack.callback(process.kill)
            processes.append(process)
        for rank, process in enumerate(processes):
            code = process.wait(runs.PATIENCE_S)
            assert code == 0, (run_dirs[0] / f"log-{rank}.txt").read_text()


@pytest.fixture(scope="module")
def alone(make_run: Callable[..., Path]) -> dict[str, Path]:
    """A run of one rank, by method."""

    def make(name: str, method: str, **device: Any) -> Path:
        train = TRAIN | {"grad_accum": 4}
        return make_run(
            f"{name}-alone", method=method, train=train, lora=LORA, eval=EVAL, device=device
        )

    dirs = {method: make(method, method) for method in ("full", "lora", "qlora")}
    dirs["bf16"] = make("bf16", "full", mixed_precision="bf16")
    train_together(list(dirs.values()), ranks=1)
    return dirs


@pytest.fixture(scope="module")
def together(make_run: Callable[..., Path]) -> dict[tuple[str, str], Path]:
    """A run of two ranks, by method and strategy. The same micro batches, two for each rank."""

    def make(name: str, method: str, strategy: str, **device: Any) -> Path:
        return make_run(
            f"{name}-{strategy}",
            method=method,
            train=TRAIN | {"grad_accum": 2, "gradient_checkpointing": strategy == "fsdp"},
            lora=LORA,
            eval=EVAL,
            device={"cpu_ranks": 2, "strategy": strategy, **device},
        )

    dirs = {(method, strategy): make(method, method, strategy) for method, strategy in KINDS}
    dirs["bf16", "fsdp"] = make("bf16", "full", "fsdp", mixed_precision="bf16")
    train_together(list(dirs.values()), ranks=2)
    return dirs


@pytest.mark.parametrize(("method", "strategy"), KINDS)
def test_two_ranks_learn_what_one_learns(
    alone: dict[str, Path], together: dict[tuple[str, str], Path], method: str, strategy: str
) -> None:
    one, two = alone[method], together[method, strategy]
    assert runs.losses(two) == pytest.approx(runs.losses(one), abs=1e-5)
    assert len(runs.losses(two)) == 20
    assert [events.identity(line) for line in runs.said(two)] == [
        events.identity(line) for line in runs.said(one)
    ]
    for expected_line, line in zip(runs.said(one), runs.said(two), strict=True):
        assert numbers(line) == pytest.approx(numbers(expected_line), rel=1e-4, abs=1e-5)
    weights, expected = exported(two), exported(one)
    assert weights.keys() == expected.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-5)


def numbers(line: dict[str, Any]) -> dict[str, float]:
    """What an event says that follows from the run, and not from clock or machine."""
    passing = ("time", "size_bytes", "tokens_per_s", "samples_per_s", "memory_mb")
    return {k: v for k, v in line.items() if k not in passing and isinstance(v, int | float)}


def exported(run_dir: Path) -> dict[str, torch.Tensor]:
    (weights,) = (run_dir / "exports" / "safetensors").glob("*model.safetensors")
    tensors: dict[str, torch.Tensor] = load_file(weights)
    return tensors


def test_a_sharded_model_learns_in_mixed_precision_what_one_rank_learns(
    alone: dict[str, Path], together: dict[tuple[str, str], Path]
) -> None:
    one, two = runs.losses(alone["bf16"]), runs.losses(together["bf16", "fsdp"])
    assert two == pytest.approx(one, abs=2e-2)
    assert two[20] < two[1] / 2


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 4)])
def test_a_run_goes_on_with_another_number_of_ranks(
    before: int,
    after: int,
    alone: dict[str, Path],
    together: dict[tuple[str, str], Path],
    tmp_path: Path,
) -> None:
    finished = alone["full"] if before == 1 else together["full", "zero3"]
    run_dir = tmp_path / "run"
    shutil.copytree(finished, run_dir)
    forget_after(run_dir, step=10)
    change(run_dir, cpu_ranks=after, strategy="zero1", grad_accum=4 // after)
    train_together([run_dir], ranks=after)
    assert runs.losses(run_dir) == pytest.approx(runs.losses(finished), abs=1e-5)
    for name, tensor in exported(run_dir).items():
        torch.testing.assert_close(tensor, exported(finished)[name], rtol=0, atol=1e-5)


def change(run_dir: Path, *, grad_accum: int, **device: Any) -> None:
    spec = json.loads((run_dir / "run.json").read_text())
    spec["device"] |= device
    spec["train"]["grad_accum"] = grad_accum
    spec["export_dir"] = str(run_dir / "exports")
    (run_dir / "run.json").write_text(json.dumps(spec))


def forget_after(run_dir: Path, *, step: int) -> None:
    """Put a finished run back to where it had that many steps."""
    lines = (run_dir / events.FILE_NAME).read_bytes().splitlines(keepends=True)
    kept = []
    for line, fact in zip(lines, runs.said(run_dir), strict=True):
        if fact.get("step", 0) > step or fact["event"] == events.EXPORT:
            break
        kept.append(line)
    (run_dir / events.FILE_NAME).write_bytes(b"".join(kept))
    for checkpoint in (run_dir / "checkpoints").iterdir():
        if int(checkpoint.name.removeprefix("step-")) > step:
            shutil.rmtree(checkpoint)
    shutil.rmtree(run_dir / "exports")
