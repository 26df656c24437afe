"""``python -m benchmarks.latency.fill_preflight FOLDER``: what experiments need, to be judged.

Models of four sizes with a tokenizer each, a dataset whose rows are counted, a partition of eight
cards, and as many measurements as a preflight looks at. Prints as JSON what the requests need.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trainyard.settings")
django.setup()

from django.core.management import call_command
from django.utils import timezone

from accounts.models import Project
from registry import doctor
from registry.models import BaseModel, Dataset
from tests.training.trainer import tiny
from training.measurements import RUNS_LOOKED_AT
from training.models import Device, Measurement, Partition, Recipe, Worker
from training.preflight.corrections import FORMULAS

LLAMA: dict[str, Any] = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
# hidden, intermediate, layers, heads, heads of keys, vocabulary
SHAPES = {
    "5M": (LLAMA, (256, 688, 6, 4, 4, 2048)),
    "8B": (LLAMA, (4096, 14336, 32, 32, 8, 128256)),
    "70B": (LLAMA, (8192, 28672, 80, 64, 8, 128256)),
    "8x7B": (
        {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "num_local_experts": 8}
        | {"num_experts_per_tok": 2},
        (4096, 14336, 32, 32, 8, 32000),
    ),
}
NAMES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)
SIZES = {"5M": 0.0054, "8B": 8.03, "70B": 70.6, "8x7B": 46.7}
ROWS = 2000
H100 = "h100-sxm"  # as workers and measurements name it, whatever a request calls it
H100_MB = 81559


def main(folder: Path) -> None:
    call_command("migrate", verbosity=0, interactive=False)
    cards()
    measured()
    facts = {
        "dataset": str(dataset(folder / "rows").pk),
        "models": {name: str(model(name, folder / name).pk) for name in SHAPES},
        "recipes": {recipe.name: str(recipe.pk) for recipe in Recipe.objects.all()},
    }
    print(json.dumps(facts))


def model(name: str, folder: Path) -> BaseModel:
    config, shape = SHAPES[name]
    config = config | dict(zip(NAMES, shape, strict=True)) | {"max_position_embeddings": 8192}
    tiny.make_tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    return BaseModel.objects.create(
        project=Project.objects.default(),
        name=name,
        family="llama",
        params_b=SIZES[name],
        dtype="bfloat16",
        context_length=8192,
        hidden_size=shape[0],
        num_layers=shape[2],
        vocab_size=shape[5],
        architecture=config["architectures"][0],
        size_bytes=int(SIZES[name] * 2e9),
        storage_path=str(folder),
        metadata={"config": config, "inspection": {"has_tokenizer": True}},
    )


def dataset(folder: Path) -> Dataset:
    """Rows of 10 to 130 words."""
    folder.mkdir()
    for split, rows in (("train", ROWS), ("validation", 100)):
        lines = (json.dumps({"text": "seven " * (10 + number % 121)}) for number in range(rows))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    report = doctor.check(folder)
    return Dataset.objects.create(
        project=Project.objects.default(),
        name="rows",
        num_samples=report.num_samples,
        size_bytes=1_000_000,
        storage_path=str(folder),
        integrity_checked=True,
        integrity_passed=True,
        statistics=report.statistics,
    )


def cards() -> None:
    now = timezone.now()
    worker = Worker.objects.create(
        name="eight-cards",
        partition=Partition.objects.get_or_create(name="default")[0],
        boot_id=uuid.uuid4(),
        host_memory_mb=4_000_000,
        cpu_threads=64,
        cpu_gflops=3000.0,
        seen_at=now,
        started_at=now,
    )
    Device.objects.bulk_create(
        Device(
            worker=worker,
            kind=Device.Kind.CUDA,
            index=index,
            name="NVIDIA H100 80GB HBM3",
            gpu_type=H100,
            memory_mb=H100_MB,
        )
        for index in range(8)
    )


def measured() -> None:
    """Twice as many as are looked at, on each card, by each method."""
    Measurement.objects.bulk_create(
        Measurement(
            attempt=1,
            name=f"run {number}",
            model_name="8B",
            card=card,
            method=("lora", "full", "qlora")[number % 3],
            strategy=("one", "ddp", "zero3")[number // 3 % 3],
            formulas=FORMULAS,
            steps=100,
            predicted_peak_mb=40_000,
            measured_peak_mb=41_000 + number,
            predicted_step_ms=900,
            measured_step_ms=950 + number,
            memory_ratio=1 + number / 10_000,
            time_ratio=1.05 - number / 10_000,
        )
        for card in (H100, "cpu")
        for number in range(2 * RUNS_LOOKED_AT)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
