"""Every page that there is, with its list behind it: a name, and the address.

``facts`` is what `fill`, `fill_jobs` and `fill_rest` have printed.
tests/e2e/test_benchmarked_pages.py compares with the URL configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pages(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        *_of_jobs(facts),
        *_of_the_registry(facts),
        *_of_the_wizard(facts),
        ("playground", "/playground"),
        ("playground, one model", f"/playground?model={facts['prompted']}"),
        ("one prompt", f"/playground/{facts['generation']}"),
        ("activity", "/activity"),
        ("activity, search", "/activity?q=number+999"),
        ("activity, unread of one kind", "/activity?unread=on&event_type=job_failed"),
        ("activity, last page", "/activity?page=99999"),
        ("webhooks", "/settings/webhooks"),
        ("a new webhook", "/settings/webhooks/new"),
        ("one webhook", f"/settings/webhooks/{facts['webhook']}"),
        ("notifications", "/settings/notifications"),
        ("storage", "/storage"),
        ("styleguide", "/styleguide"),
        ("login", "/login"),
    ]


def _of_jobs(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    job, model = facts["job"], facts["used_model"]
    compared = "&".join(f"job={pk}" for pk in facts["compared"])
    return [
        ("home", "/"),
        ("jobs", "/jobs"),
        ("jobs, failed", "/jobs?status=FAILED"),
        ("jobs, search", "/jobs?q=nightly+99"),
        ("jobs, search by a model's name", "/jobs?q=llama-7b"),
        ("jobs, by name", "/jobs?sort=name"),
        ("jobs, by their end", "/jobs?sort=finished"),
        ("jobs, of a model", f"/jobs?model={model}"),
        ("jobs, last page", "/jobs?page=99999"),
        ("one job, so many steps", f"/jobs/{job}"),
        ("one job, search in its log", f"/jobs/{job}?log=nothing"),
        ("one job, found in its log", f"/jobs/{job}?log=nothing&at=370"),
        ("20 jobs compared", f"/jobs/compare?{compared}"),
        ("experiments", "/experiments"),
        ("experiments, search", "/experiments?q=999"),
        ("experiments, by name", "/experiments?sort=name"),
        ("experiments, of a recipe", f"/experiments?recipe={facts['recipe']}"),
        ("one experiment", f"/experiments/{facts['experiment']}"),
        ("recipes", "/recipes"),
        ("recipes, search", "/recipes?q=99"),
        ("recipes, newest", "/recipes?sort=newest"),
        ("one recipe", f"/recipes/{facts['recipe']}"),
        ("a new recipe", "/recipes/new"),
        ("changing a recipe", f"/recipes/{facts['own_recipe']}/edit"),
    ]


def _of_the_registry(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rare, dataset, model = facts["rare"], facts["dataset"], facts["used_model"]
    return [
        ("models", "/models"),
        ("models, search", f"/models?q={rare}"),
        ("models, filters", "/models?family=llama&stage=production&trainable=true"),
        *(
            (f"models, by {sort}", f"/models?sort={sort}")
            for sort in ("name", "parameters", "size")
        ),
        ("models, last page", "/models?page=99999"),
        ("one model", f"/models/{model}"),
        ("a new model", "/models/new"),
        ("models to upload", "/models/upload"),
        ("one adapter", f"/adapters/{facts['adapter']}"),
        ("datasets", "/datasets"),
        ("datasets, search", f"/datasets?q={rare}"),
        ("datasets, filters", "/datasets?row_format=prompt_completion&check=errors&is_split=true"),
        *((f"datasets, by {sort}", f"/datasets?sort={sort}") for sort in ("name", "rows", "size")),
        ("datasets, last page", "/datasets?page=99999"),
        ("one dataset", f"/datasets/{dataset}"),
        ("one dataset, tokens", f"/datasets/{dataset}/tokens"),
        ("two datasets", f"/datasets/{dataset}/difference/{facts['other_dataset']}"),
        ("a new dataset", "/datasets/new"),
        ("transfers", "/transfers"),
        ("transfers, failed", "/transfers?status=FAILED"),
        ("transfers, search", "/transfers?q=rows-99"),
        ("transfers, of a kind by name", "/transfers?kind=hf_dataset&sort=name"),
        ("one transfer, so many files", f"/transfers/{facts['transfer']}"),
        ("a new transfer", "/transfers/new"),
        ("hub tokens", "/transfers/tokens"),
    ]


def _of_the_wizard(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The first ones make a draft and lead to it."""
    return [
        ("wizard, of a dataset", f"/jobs/new?dataset={facts['dataset']}"),
        ("wizard, of a model", f"/jobs/new?model={facts['used_model']}"),
        ("wizard, review of a clone", f"/jobs/new?clone={facts['job']}"),
        ("wizard, a draft", f"/jobs/new/{facts['draft']}"),
        *((f"wizard, {step}", f"/jobs/new/{facts['draft']}/{step}") for step in facts["steps"]),
    ]
