"""Rows for every page there is, and where the pages are. Runs in a process of the platform, as
`tests.e2e.rows`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from rest_framework.exceptions import Throttled

from accounts.local import local_owner
from accounts.models import Project
from registry.models import Upload
from tests import factories as make
from tests.e2e import sample_runs
from training.models import Generation, Recipe, Status
from training.trainer import orders
from training.wizard import drafts
from training.wizard.steps import NAMES

# They lead on to other pages, or answer with a file or a part of a page.
NOT_PAGES = {
    *("dataset-compare", "dataset-download", "service-worker"),
    *("activity-bell", "activity-news", "push-key"),
}
# Below these there are programs' answers, and pages of other people.
ELSEWHERE = ("api/", "admin/", "healthz", "readyz")


def names_of_pages() -> set[str]:
    """Every named address that answers a GET with a page, found in the URL configuration."""
    return {
        pattern.name
        for pattern, path in _patterns(get_resolver().url_patterns)
        if pattern.name and not path.startswith(ELSEWHERE) and _answers_get(pattern)
    } - NOT_PAGES


def _patterns(patterns: Any, prefix: str = "") -> Iterator[tuple[URLPattern, str]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, path)
        else:
            yield pattern, path


def _answers_get(pattern: URLPattern) -> bool:
    """A view that takes POST only says so, to whoever has signed in, before it looks at anything
    else."""
    converters = pattern.pattern.converters
    unknown = {"uuid": "00000000-0000-0000-0000-000000000000", "str": "a", "slug": "a", "int": "1"}
    values = {name: unknown[_kind(one)] for name, one in converters.items()}
    client = Client(raise_request_exception=False, SERVER_NAME="127.0.0.1")
    assert pattern.name is not None
    return client.get(reverse(pattern.name, kwargs=values)).status_code != 405


def _kind(converter: Any) -> str:
    return type(converter).__name__.removesuffix("Converter").lower().replace("string", "str")


def pages() -> dict[str, list[str]]:
    """The addresses of each page, by the name that it has in the URL configuration."""
    with transaction.atomic():
        return _pages()


def _pages() -> dict[str, list[str]]:
    project = Project.objects.default()
    model = make.make_model(
        name="Llama-2-7B",
        description="Llama 2, seven billion parameters.",
        storage_path=str(settings.TRAINYARD_MODELS / "llama"),
        params_b=7.0,
        dtype="bfloat16",
        hidden_size=4096,
        num_layers=32,
        vocab_size=32_000,
        context_length=4096,
        size_bytes=13_900_000_000,
        stage="production",
        tags=["language-model", "llama"],
        model_card="# Llama 2\n\nA model card of some lines.",
        metadata={"inspection": {"has_chat_template": True}},
    )
    make.make_model(name="a-model-with-a-rather-long-name-" * 3, trainable=False, status="broken")
    dataset = make.make_dataset(
        name="alpaca-cleaned",
        description="Instructions and answers, cleaned.",
        integrity_passed=False,
        num_samples=52_000,
        size_bytes=25_000_000,
        statistics={
            "splits": ["train", "test"],
            "rows": {"train": 51_000, "test": 1_000},
            "row_format": "prompt_completion",
            "columns": ["prompt", "completion"],
        },
        integrity_report={
            "errors": 1,
            "findings": [
                {
                    "file": "train.jsonl",
                    "line": 7,
                    "field": "completion",
                    "message": "The completion is empty, so there is nothing to learn.",
                    "fix": "Fill it in, or remove the row.",
                    "code": "empty",
                    "level": "error",
                }
            ],
        },
    )
    small, dates = sample_runs.with_rows()
    adapter = make.make_adapter(
        model, name="Llama-2-7B-alpaca", storage_path="exports/alpaca", model_card="# An adapter"
    )
    jobs = sample_runs.jobs_of(model, dataset, adapter)
    experiment = jobs[0].experiment
    make.make_worker("a-machine", gpus=2)
    return {
        "home": [reverse("home")],
        "login": [reverse("login")],
        "jobs": [reverse("jobs"), f"{reverse('jobs')}?status=FAILED"],
        "job": [reverse("job", args=[job.pk]) for job in jobs],
        "job-new": [reverse("job-new")],
        "jobs-compare": [f"{reverse('jobs-compare')}?" + "&".join(f"job={job.pk}" for job in jobs)],
        "experiments": [reverse("experiments")],
        "experiment": [reverse("experiment", args=[experiment.pk])],
        "recipes": [reverse("recipes")],
        "recipe": [reverse("recipe", args=[experiment.recipe_id])],
        "recipe-new": [reverse("recipe-new")],
        "recipe-edit": [reverse("recipe-edit", args=[make.make_recipe().pk])],
        **_draft(model, dates),
        "models": [reverse("models"), f"{reverse('models')}?q=nothing-like-it"],
        "model": [reverse("model", args=[model.pk])],
        "model-new": [reverse("model-new")],
        "model-upload": [reverse("model-upload")],
        "adapter": [reverse("adapter", args=[adapter.pk])],
        "datasets": [reverse("datasets"), f"{reverse('datasets')}?q=nothing-like-it"],
        "dataset": [reverse("dataset", args=[one.pk]) for one in (dataset, dates)],
        "dataset-tokens": [
            f"{reverse('dataset-tokens', args=[dates.pk])}?model={small.pk}&max_length=12",
            f"{reverse('dataset-tokens', args=[dates.pk])}?model={small.pk}",
        ],
        "dataset-difference": [reverse("dataset-difference", args=[dataset.pk, dates.pk])],
        "dataset-new": [_uploads(project)],
        **_transfers(project),
        "activity": [reverse("activity")],
        "notification-settings": [reverse("notification-settings")],
        "settings-webhooks": [reverse("settings-webhooks")],
        "settings-webhook-new": [reverse("settings-webhook-new")],
        "settings-webhook": [reverse("settings-webhook", args=[make.make_webhook().pk])],
        "playground": [
            reverse("playground"),
            f"{reverse('playground')}?adapter={adapter.pk}",
            f"{reverse('playground')}?model={model.pk}",
        ],
        "generation": [reverse("generation", args=[one]) for one in _prompts(adapter)],
        "storage": [reverse("storage")],
        "styleguide": [reverse("styleguide"), f"{reverse('styleguide')}?scheme=dark"],
    }


def _draft(model: Any, dataset: Any) -> dict[str, list[str]]:
    owner = local_owner()
    answers = {
        "base_model_id": str(model.pk),
        "dataset_id": str(dataset.pk),
        "recipe_id": str(Recipe.objects.get(name="lora", project=None).pk),
    }
    project = drafts.projects_of(owner)[0]
    draft = _begun(owner, answers, project)
    whole = str(Recipe.objects.get(name="full", project=None).pk)
    too_large = _begun(owner, {**answers, "recipe_id": whole}, project)
    return {
        "draft": [reverse("draft", args=[draft.pk])],
        "draft-step": [
            *(reverse("draft-step", args=[draft.pk, name]) for name in NAMES),
            reverse("draft-step", args=[too_large.pk, "preflight"]),
        ],
    }


def error_page(name: str) -> str:
    """As it would be sent; most of them are hard to come by."""
    request = RequestFactory().get("/", SERVER_NAME="127.0.0.1")
    request.user, request.local_owner = local_owner(), True  # type: ignore[attr-defined]
    return render_to_string(f"{name}.html", {"error": Throttled(wait=30)}, request)


def _begun(owner: Any, answers: dict[str, str], project: Project) -> Any:
    draft = drafts.begin(owner, answers=answers, metadata={"origin": "wizard"}, project=project)
    for name in NAMES:
        drafts.go_through(draft, name)
    return draft


def _transfers(project: Project) -> dict[str, list[str]]:
    shown = ("RUNNING", "COMPLETED", "FAILED")
    transfers = [make.make_transfer(status=status, project=project) for status in shown]
    new = reverse("transfer-new")
    return {
        "transfers": [reverse("transfers")],
        "transfer": [reverse("transfer", args=[transfer.pk]) for transfer in transfers],
        "transfer-new": [f"{new}?kind={kind}" for kind in ("hf_dataset", "hf_model", "s3_dataset")],
        "hub-tokens": [reverse("hub-tokens")],
    }


def _uploads(project: Project) -> str:
    parts = {"train.jsonl": 4_000_000, "test.jsonl": 10_000_000}
    of_a_model = {"model.safetensors": 4_000_000, "config.json": 10_000_000}
    for name, offset in (parts | of_a_model).items():
        Upload.objects.create(
            project=project,
            created_by=local_owner(),
            file_name=name,
            size_bytes=10_000_000,
            offset=offset,
            expires_at=timezone.now() + timedelta(days=2),
        )
    return reverse("dataset-new")


def _prompts(adapter: Any) -> list[str]:
    answer = {"state": "done", "tokens": 9, "finish_reason": "stop", "seconds": 0.4}
    shared: dict[str, Any] = {
        "project": adapter.project,
        "adapter": adapter,
        "base_model": adapter.base_model,
        "sampling": vars(orders.Sampling()),
        "time_limit_s": 120,
        "messages": [
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": "When is the fourth of July?"},
        ],
    }
    answered = Generation.objects.create(
        **shared,
        compare=True,
        status=Status.COMPLETED,
        finished_at=timezone.now(),
        answers={
            "tuned": {**answer, "text": "The fourth of July is on 07-04."},
            "base": {**answer, "text": "It is a holiday, and it is the day on which, and on which"},
        },
    )
    waiting = Generation.objects.create(**shared, waiting_reason="Waits for the CPU.")
    failed = Generation.objects.create(
        **shared, status=Status.FAILED, finished_at=timezone.now(), failure=make.OUT_OF_MEMORY
    )
    return [str(one.pk) for one in (answered, waiting, failed)]
