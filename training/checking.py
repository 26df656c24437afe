"""From rows of the database to the facts that the preflight judges, and back to a report."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from registry import code_reviews, doctor
from registry.models import BaseModel, Dataset
from training import measurements, preflight, token_counts
from training.models import Device, Partition, Recipe, Worker
from training.preflight.token_rate import GUESSED
from training.trainer import harness, spec

_LIBRARIES = {name for needed in spec.QUANTIZATION_LIBRARIES.values() for name in needed}
_TOKENIZER_KIND = re.compile(rb'"model"\s*:\s*\{\s*"type"\s*:\s*"(\w+)"')
MOST_BEFORE_THE_VOCABULARY = 2 * 2**20
_OF_A_WORKER = ("name", "seen_at", "cpu_threads", "cpu_gflops", "host_memory_mb")
_OF_A_DEVICE = ("devices__gpu_type", "devices__memory_mb", "devices__card_index")


def check(plan: dict[str, Any]) -> preflight.Report:
    """Judge an experiment that need not exist yet, with what own runs have taught."""
    experiment = facts(plan)
    return preflight.check(experiment, measurements.corrections(experiment))


def facts(plan: dict[str, Any]) -> preflight.Experiment:
    """What a preflight judges.

    ``plan`` has the keys ``base_model``, ``dataset``, ``recipe`` (rows), ``columns``, ``train``,
    ``lora``, ``resources``, ``eval`` (settings with the recipe's defaults already in them) and
    ``export``.
    """
    resources = plan["resources"]
    columns = plan["columns"]
    dataset = with_lengths(plan, dataset_facts(plan["dataset"], columns))
    model = model_facts(plan["base_model"])
    if "gguf" in plan["export"]:
        model = replace(model, tokenizer_kind=tokenizer_kind(plan["base_model"]))
    return preflight.Experiment(
        model=model,
        dataset=dataset,
        columns=columns,
        recipe=recipe_facts(plan["recipe"]),
        train=spec.TrainSpec(**_tuples(plan["train"])),
        lora=spec.LoraSpec(**_tuples(plan["lora"])),
        resources=resources_of(resources, _libraries(plan["base_model"])),
        eval_suites=tuple(plan["eval"].get("suites", ())),
        eval_interval=plan["eval"].get("interval"),
        suites=tuple(map(suite_facts, dict.fromkeys(harness_suites(plan["eval"])))),
        missing_trackers=missing_trackers(plan["train"]),
        missing_kernels=missing_kernels(plan["train"]),
        export=tuple(plan["export"]),
    )


def _tuples(settings_: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings_.items()}


def eval_tasks() -> str:
    """The folder of one's own tasks for lm-evaluation-harness, "" where there is none."""
    folder = Path(settings.TRAINYARD_EVAL_TASKS)
    return str(folder) if folder.is_dir() else ""


def harness_suites(evaluation: dict[str, Any]) -> tuple[str, ...]:
    return spec.EvalSpec(suites=tuple(evaluation.get("suites", ()))).harness_suites


def suite_facts(name: str) -> preflight.SuiteFacts:
    """Whether lm-evaluation-harness knows the suite, and whether its data is on this machine."""
    folder = eval_tasks()
    try:
        needs, writes_tokens = harness.needs(name, folder), harness.writes(name, folder)
    except harness.NoSuchTask as error:
        return preflight.SuiteFacts(
            name=name,
            problem=f"there is no such task ({error}). There is {spec.EXACT_MATCH}, the tasks of "
            f"lm-evaluation-harness, and those described in {settings.TRAINYARD_EVAL_TASKS}.",
        )
    return preflight.SuiteFacts(
        name=name,
        lacks=tuple(str(data) for data in sorted(needs) if not harness.is_here(data, folder)),
        advice="Put the files beside the task's description, or fetch a dataset of the hub where "
        f"there is a network: {harness.fetch_command([name])}",
        writes_tokens=writes_tokens,
    )


def missing_trackers(train: dict[str, Any]) -> tuple[str, ...]:
    return tuple(
        name
        for name in dict.fromkeys(train.get("report_to", ()))
        if importlib.util.find_spec(name) is None
    )


def missing_kernels(train: dict[str, Any]) -> tuple[str, ...]:
    """By the names that pip has for them."""
    wanted = {
        "liger-kernel": train.get("use_liger_kernel"),
        "flash-attn": train.get("attn_implementation") == "flash_attention_2",
    }
    return tuple(
        name
        for name, is_wanted in wanted.items()
        if is_wanted and importlib.util.find_spec(name.replace("-", "_")) is None
    )


def model_facts(model: BaseModel) -> preflight.ModelFacts:
    folder = Path(model.storage_path) if model.storage_path else None
    found = model.inspection
    return preflight.ModelFacts(
        name=model.name,
        dtype=model.dtype,
        modality=model.modality,
        architecture=model.architecture,
        trainable=model.trainable,
        servable=model.servable,
        quantized=model.quantized,
        quantization=found.get("quantization") or (model.dtype if model.quantized else None),
        is_gguf=model.is_gguf,
        stage=model.stage,
        status=model.status,
        context_length=model.context_length,
        params=found.get("params"),
        params_b=model.params_b,
        hidden_size=model.hidden_size,
        num_layers=model.num_layers,
        vocab_size=model.vocab_size,
        config=model.config,
        has_files=folder is not None and (folder / "config.json").is_file(),
        size_bytes=model.size_bytes or None,
        has_tokenizer=found.get("has_tokenizer"),
        has_chat_template=found.get("has_chat_template"),
        template_renders=(found.get("tokenizer") or {}).get("template_renders"),
        problems=tuple(_problems(model)),
    )


def tokenizer_kind(model: BaseModel) -> str:
    """As tokenizer.json has it, without the vocabulary, which makes it large and comes after."""
    path = Path(model.storage_path) / "tokenizer.json"
    if not model.storage_path or not path.is_file():
        return ""
    with path.open("rb") as file:
        found = _TOKENIZER_KIND.search(file.read(MOST_BEFORE_THE_VOCABULARY))
    return found[1].decode() if found else ""


def _problems(model: BaseModel) -> Iterator[str]:
    """What stands against any use of the model, in sentences."""
    if failed := model.failed_check:
        yield f"{failed['message']} {failed['fix']}"
    elif model.status == BaseModel.Status.BROKEN:
        told = model.file_problems or ["Its files are gone or have changed."]
        more = f" And {len(told) - 1} more." if len(told) > 1 else ""
        yield f"{told[0]}{more} Put the files back and check the model again."
    for finding in model.inspection.get("findings", []):
        # A template matters to conversations only, and has a rule of its own.
        if finding["level"] == "error" and not finding["code"].startswith("chat_template"):
            yield f"{finding['message']} {finding['fix']}"
    if reason := code_reviews.refusal(model):
        yield reason


def dataset_facts(dataset: Dataset, columns: dict[str, str]) -> preflight.DatasetFacts:
    """What the doctor has found holds under the columns under which the rows were read."""
    found = dataset.statistics
    facts = _dataset_facts(dataset, found)
    if columns and columns != dataset.columns:
        rows = facts.num_samples or found.get("rows_read")
        return replace(
            facts,
            row_format=None,
            num_samples=rows,
            integrity_checked=False,
            integrity_passed=False,
        )
    return facts


def _dataset_facts(dataset: Dataset, found: dict[str, Any]) -> preflight.DatasetFacts:
    columns = tuple(found.get("columns", ()))
    return preflight.DatasetFacts(
        name=dataset.name,
        modality=dataset.modality,
        num_samples=found.get("rows", {}).get("train", dataset.num_samples),
        splits=tuple(found.get("splits", ())),
        integrity_checked=dataset.integrity_checked,
        integrity_passed=dataset.integrity_passed,
        row_format=found.get("row_format"),
        columns=columns if len(columns) < doctor.MOST_COLUMNS else (),
        mean_tokens=_guessed_tokens(found.get("mean_characters")),
        max_tokens=None,
        held_out_rows=_held_out_rows(found),
        has_files=Path(dataset.storage_path).exists() if dataset.storage_path else None,
        size_bytes=dataset.size_bytes or None,
    )


def with_lengths(plan: dict[str, Any], dataset: preflight.DatasetFacts) -> preflight.DatasetFacts:
    """With the tokens of its rows, as far as anybody knows them."""
    found = token_counts.lengths_of(
        plan["base_model"],
        plan["dataset"],
        method=plan["recipe"].method,
        columns=plan["columns"],
    )
    if found.train is None:
        return replace(dataset, held_out=found.held_out)
    return replace(
        dataset,
        lengths=found.train,
        held_out=found.held_out,
        mean_tokens=found.train.mean,
        max_tokens=_longest(found.train, found.held_out),
    )


def _longest(*parts: preflight.Lengths | None) -> int | None:
    """Of the rows that can reach the model, None where not all are known."""
    longest = [part.longest for part in parts if part is not None]
    return None if None in longest else max(filter(None, longest), default=None)


def _guessed_tokens(characters: float | None) -> float | None:
    """A rough guess until the rows have been through the model's own tokenizer."""
    return None if characters is None else GUESSED.tokens(characters)


def _held_out_rows(statistics: dict[str, Any]) -> int | None:
    """Of the split that is measured on."""
    rows = statistics.get("rows", {})
    return next((rows[split] for split in spec.HELD_OUT_SPLITS if rows.get(split)), None)


def recipe_facts(recipe: Recipe) -> preflight.RecipeFacts:
    return preflight.RecipeFacts(
        name=recipe.display_name,
        method=recipe.method,
        supports_quantized=recipe.supports_quantized,
        modality=recipe.modality,
    )


def _libraries(model: BaseModel) -> frozenset[str] | None:
    """Of those for quantized models the ones that are installed; None where it does not matter."""
    if not model.quantized:
        return None
    return frozenset(name for name in _LIBRARIES if importlib.util.find_spec(name))


def partition_of(resources: dict[str, Any]) -> Partition:
    """The partition that the job names, or the default one."""
    return Partition.objects.get(**_of_partition(resources))


def _partition_name(resources: dict[str, Any]) -> str:
    theirs = _of_partition(resources)
    return str(theirs["name"]) if "name" in theirs else partition_of(resources).name


def _of_partition(resources: dict[str, Any]) -> dict[str, Any]:
    if partition_id := resources.get("partition_id"):
        return {"pk": partition_id}
    return {"name": "default"}


def resources_of(
    resources: dict[str, Any], libraries: frozenset[str] | None = None
) -> preflight.Resources:
    """With what the workers of the partition have told of themselves. One query, and one more for
    the name of a partition where nobody is running."""
    theirs = {f"partition__{name}": value for name, value in _of_partition(resources).items()}
    workers = list(  # each as often as it has devices, or once without any
        Worker.objects.filter(**theirs)
        .order_by("devices__kind", "devices__index", "name")
        .values_list(*_OF_A_WORKER, *_OF_A_DEVICE, named=True)
    )
    fresh = timezone.now() - timedelta(seconds=settings.TRAINYARD_LEASE_SECONDS)
    cards = [
        preflight.CardFacts(
            gpu_type=row.devices__gpu_type or "cpu",
            memory_mb=row.devices__memory_mb,
            worker=row.name,
            is_slice=row.devices__card_index is not None,
            is_running=row.seen_at > fresh,
        )
        for row in workers
        if row.devices__memory_mb is not None
    ]
    return preflight.Resources(
        gpus=resources["gpus"],
        gpu_type=resources.get("gpu_type"),
        strategy=resources.get("strategy") or "ddp",
        mixed_precision=resources.get("mixed_precision") or "no",
        cards=_smallest_first(cards, resources["gpus"]),
        idle_partition=(
            "" if any(row.seen_at > fresh for row in workers) else _partition_name(resources)
        ),
        **_cpu(workers),
        host_memory_gb=max((row.host_memory_mb for row in workers), default=0) / 1024 or None,
        disk_free_mb=shutil.disk_usage(settings.TRAINYARD_HOME).free // 2**20,
        libraries=libraries,
    )


def _smallest_first(cards: list[preflight.CardFacts], gpus: int) -> tuple[preflight.CardFacts, ...]:
    """A job that names no card may get any, so it is judged by the first of these: of the cards
    that it can get at all, the one with least memory."""
    of_a_worker = Counter(card.worker for card in cards if gpus < 2 or not card.is_slice)
    return tuple(
        sorted(
            cards,
            key=lambda card: (
                of_a_worker[card.worker] < gpus or (gpus > 1 and card.is_slice),
                card.memory_mb or 0,
            ),
        )
    )


def _cpu(workers: list[Any]) -> dict[str, Any]:
    """Of the worker with most threads, which is where the time of a run on the CPU is told for."""
    if not workers:
        return {}
    most = max(workers, key=lambda worker: (worker.cpu_threads, worker.cpu_gflops or 0.0))
    return {"cpu_threads": most.cpu_threads, "cpu_gflops": most.cpu_gflops}


def default_gpus(resources: dict[str, Any]) -> int:
    """One card where the partition has cards, otherwise the CPU."""
    theirs = {f"worker__partition__{n}": value for n, value in _of_partition(resources).items()}
    return 1 if Device.objects.filter(**theirs, kind=Device.Kind.CUDA).exists() else 0
