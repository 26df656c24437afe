"""How far preflight is off on this machine's CPU: memory of the process, and time of a step.

``python -m benchmarks.preflight_on_cpu [--rounds N] [--threads N] [--write]``, on a machine that
does nothing else. Twelve configurations of our own trainer, each measured by a probe, as the
platform makes them; of several rounds the quickest counts, as nothing makes a step quicker than it
is. "Said" is with the rate of the CPU as a worker's standby notes it, "corrected" what preflight
says once it has seen the other eleven: no run corrects itself. ``--write`` puts the table into
docs/preflight.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.throughput import workload
from training import preflight
from training.preflight.estimate import estimate
from training.trainer import cpu_rate, events

DOCS = Path(__file__).resolve().parent.parent / "docs" / "preflight.md"
BEGIN, END = "<!-- on the cpu: begin -->", "<!-- on the cpu: end -->"
STEPS = 5
ROWS = 64
AIM_PERCENT = 10.0


@dataclass(frozen=True)
class Configuration:
    model: str
    method: str
    rows: int
    tokens: int
    checkpointing: bool = False
    grad_accum: int = 1
    optim: str = "adamw_torch_fused"

    @property
    def train(self) -> dict[str, Any]:
        return {
            "max_steps": 100,
            "global_batch_size": self.rows * self.grad_accum,
            "grad_accum": self.grad_accum,
            "max_length": self.tokens,
            "gradient_checkpointing": self.checkpointing,
            "auto_find_batch_size": False,
            "optim": self.optim,
        }


CONFIGURATIONS = (
    Configuration("5M", "full", 8, 128),
    Configuration("5M", "full", 8, 512),
    Configuration("5M", "full", 16, 512, checkpointing=True),
    Configuration("5M", "lora", 16, 256),
    Configuration("5M", "lora", 16, 512, checkpointing=True),
    Configuration("5M", "qlora", 8, 256),
    Configuration("60M", "full", 2, 256),
    Configuration("60M", "full", 4, 512, checkpointing=True),
    Configuration("60M", "lora", 4, 128, grad_accum=2),
    Configuration("60M", "lora", 4, 512, checkpointing=True),
    Configuration("60M", "qlora", 4, 128),
    Configuration("60M", "qlora", 2, 512, checkpointing=True),
)


@dataclass(frozen=True)
class Found:
    """MiB and seconds."""

    peak_mb: float
    step_s: float


@dataclass(frozen=True)
class Cpu:
    threads: int
    gflops: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--busy",
        action="store_true",
        help="others use the cores too: what the process computed, not what the clock says",
    )
    parser.add_argument("--optim", help="of all weights, by this optimizer instead; not written")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--keep", type=Path, help="a file for what was measured, to go on from")
    asked = parser.parse_args()
    if asked.optim and asked.write:
        parser.error("--write is for the optimizer that jobs have by default")
    found = measured(
        of_all_weights(asked.optim) if asked.optim else CONFIGURATIONS,
        asked.rounds,
        asked.threads,
        asked.keep,
        busy=asked.busy,
    )
    cpu = Cpu(asked.threads, cpu_rate.measured_gflops(asked.threads))
    told = "\n".join(table(found, cpu, busy=asked.busy))
    print(told)
    if asked.write:
        page = DOCS.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCS.write_text(f"{before}{BEGIN}\n\n{told}\n\n{END}{after}", encoding="utf-8")


def of_all_weights(optim: str) -> tuple[Configuration, ...]:
    full = [one for one in CONFIGURATIONS if one.method == "full"]
    return tuple(dataclasses.replace(one, optim=optim) for one in full)


def measured(
    configurations: tuple[Configuration, ...],
    rounds: int,
    threads: int,
    keep: Path | None,
    *,
    busy: bool,
) -> dict[Configuration, Found]:
    """The most memory and the least time of all rounds."""
    kept = json.loads(keep.read_text("utf-8")) if keep and keep.exists() else []
    found = {Configuration(**one): Found(**numbers) for one, numbers in kept}
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as folder:
        models = {
            name: workload.make_model(workload.SIZES[name], "float32", Path(folder) / name)
            for name in dict.fromkeys(one.model for one in configurations)
        }
        for round_ in range(rounds):
            for number, one in enumerate(configurations):
                run_dir = Path(folder) / f"{round_}-{number}"
                now = probe(one, models[one.model], run_dir, threads, busy=busy)
                before = found.get(one, now)
                found[one] = Found(max(now.peak_mb, before.peak_mb), min(now.step_s, before.step_s))
                print(one, now, file=sys.stderr)
                if keep:
                    rows = [
                        (dataclasses.asdict(k), dataclasses.asdict(v)) for k, v in found.items()
                    ]
                    keep.write_text(json.dumps(rows), encoding="utf-8")
    return found


def probe(one: Configuration, model: Path, run_dir: Path, threads: int, *, busy: bool) -> Found:
    """The real trainer over rows that are all as long as they may be."""
    run_dir.mkdir()
    rows = run_dir / "rows.jsonl"
    text = " ".join(sentence for sentence, _ in zip(workload.sentences(), range(200), strict=False))
    rows.write_text(f"{json.dumps({'text': text * 3})}\n" * ROWS, encoding="utf-8")
    spec = {
        "run_id": "probe",
        "name": "probe",
        "method": one.method,
        "base_model": {"path": str(model)},
        "dataset": {"train": [str(rows)]},
        "export_dir": str(run_dir / "exports"),
        "train": one.train,
        "device": {"num_threads": threads},
        "probe_steps": STEPS,
    }
    (run_dir / "run.json").write_text(json.dumps(spec), encoding="utf-8")
    with open(run_dir / "log.txt", "wb") as log:
        command = [sys.executable, "-m", "training.trainer", str(run_dir)]
        if subprocess.run(command, stdout=log, stderr=log, check=False).returncode:
            raise SystemExit((run_dir / "log.txt").read_text("utf-8"))
    lines, _ = events.follow(run_dir / events.FILE_NAME, 0)
    (told,) = (line for line in lines if line["event"] == events.MEASURED)
    computed = told["step_cpu_seconds"] / threads
    return Found(told["peak_memory_mb"], computed if busy else told["step_seconds"])


def experiment(one: Configuration, cpu: Cpu) -> preflight.Experiment:
    size = workload.SIZES[one.model]
    shape = {name: value for name, value in dataclasses.asdict(size).items() if name != "steps"}
    return preflight.Experiment(
        model=preflight.ModelFacts(
            name=one.model,
            dtype="float32",
            config={"model_type": "llama", "tie_word_embeddings": False, **shape},
        ),
        dataset=preflight.DatasetFacts(
            name="rows",
            num_samples=ROWS,
            splits=("train",),
            mean_tokens=float(one.tokens),
            max_tokens=one.tokens,
        ),
        recipe=preflight.RecipeFacts(name=one.method, method=one.method),
        train=preflight.TrainSpec(**one.train),
        resources=preflight.Resources(gpus=0, cpu_threads=cpu.threads, cpu_gflops=cpu.gflops),
    )


def expected(
    one: Configuration, cpu: Cpu, known: preflight.Corrections = preflight.NO_RUNS
) -> Found:
    """What preflight says, in the words of what is measured."""
    asked = experiment(one, cpu)
    needs = estimate(asked, known.of(asked).calibration)
    assert needs is not None
    peak = needs.memory.peak_allocated_bytes + needs.memory.context_bytes
    return Found(peak / 2**20, needs.speed.time_per_step_ms / 1000)


def taught(
    found: dict[Configuration, Found], cpu: Cpu, without: Configuration
) -> preflight.Corrections:
    runs = []
    for one, numbers in found.items():
        if one != without:
            said = expected(one, cpu)
            kind = preflight.kind_of(experiment(one, cpu))
            runs.append(
                preflight.Run(kind, numbers.peak_mb / said.peak_mb, numbers.step_s / said.step_s)
            )
    return preflight.Corrections(tuple(runs))


def table(found: dict[Configuration, Found], cpu: Cpu, *, busy: bool = False) -> Iterator[str]:
    yield (
        f"Measured with {cpu.threads} thread{'s' if cpu.threads > 1 else ''}, which multiply with "
        f"{cpu.gflops:.0f} GFLOP/s."
    ) + (
        " Others used the cores too, so a step's time is what the process computed." if busy else ""
    )
    yield ""
    yield (
        "| model | method | rows × tokens | checkpointing | peak MiB | said | corrected | "
        "step ms | said | corrected |"
    )
    yield "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    errors: dict[str, list[float]] = {}
    for one, numbers in found.items():
        plain = expected(one, cpu)
        better = expected(one, cpu, taught(found, cpu, one))
        cells = []
        for name, is_, scale in (
            ("memory", numbers.peak_mb, ("peak_mb", 1)),
            ("time", numbers.step_s, ("step_s", 1000)),
        ):
            cells.append(f"{is_ * scale[1]:,.0f}")
            for when, said in (("plain", plain), ("corrected", better)):
                error = 100 * (getattr(said, scale[0]) / is_ - 1)
                errors.setdefault(f"{name} {when}", []).append(abs(error))
                cells.append(f"{error:+.0f}%")
        accumulated = f" × {one.grad_accum}" if one.grad_accum > 1 else ""
        yield (
            f"| {one.model} | {one.method} | {one.rows} × {one.tokens}{accumulated} | "
            f"{'yes' if one.checkpointing else 'no'} | {' | '.join(cells)} |"
        )
    yield ""
    yield "| | as said | corrected by own runs | aim |"
    yield "| --- | --- | --- | --- |"
    for name in ("memory", "time"):
        as_said, corrected = (
            f"median {statistics.median(those):.1f}%, worst {max(those):.0f}%"
            for those in (errors[f"{name} plain"], errors[f"{name} corrected"])
        )
        yield f"| {name} | {as_said} | {corrected} | median {AIM_PERCENT:.0f}% |"


if __name__ == "__main__":
    main()
