"""Every route below /api/, found in the URL configuration itself: nobody gets 401, a stranger 404,
a viewer 403 for a change, a token that reads 403 for any change.

A new route fails here until OBJECTS says how to make what it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.schemas.generators import EndpointEnumerator
from rest_framework.test import APIClient

from accounts.models import Membership, Project, Token, User
from activity import webhooks
from registry.hub import tokens
from registry.models import Dataset
from tests.factories import (
    make_activity,
    make_adapter,
    make_artifact,
    make_checkpoint,
    make_code_review,
    make_dataset,
    make_experiment,
    make_generation,
    make_job,
    make_model,
    make_probe,
    make_recipe,
    make_transfer,
    make_upload,
    make_webhook,
)
from tests.programs import TokenOf
from training.models import Job, Partition
from training.run_plan import run_dir

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("server_mode", "home")]
READS = ("get", "head", "options")


@dataclass(frozen=True)
class Route:
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def writes(self) -> bool:
        return self.method not in READS

    @property
    def is_about_an_object(self) -> bool:
        return "{" in self.path


def routes(patterns: Any, prefix: str = "") -> Iterator[Route]:
    for pattern in patterns:
        regex = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, regex)
        elif isinstance(pattern, URLPattern) and regex.startswith("api/"):
            path = EndpointEnumerator().get_path_from_regex(regex)
            for method in methods(pattern.callback):
                yield Route(method, path)


def methods(view: Any) -> list[str]:
    """What a view answers to; all there is for one that is none of REST framework's."""
    cls = getattr(view, "cls", None)
    if cls is None:
        return ["get", "post", "put", "patch", "delete"]
    answers = getattr(view, "actions", None) or {
        name: name for name in cls.http_method_names if hasattr(cls, name)
    }
    return [name for name in answers if name in cls.http_method_names and name != "options"]


ROUTES = sorted(set(routes(get_resolver().url_patterns)), key=str)
ABOUT_OBJECTS = [route for route in ROUTES if route.is_about_an_object]
WRITES = [route for route in ROUTES if route.writes]


def job_with_files(project: Project) -> Job:
    """Every kind of file that a job leaves behind."""
    job = make_job(project=project)
    folder = run_dir(job) / "checkpoints" / "step-000003"
    made = Path(settings.TRAINYARD_EXPORTS) / str(job.pk)
    for one in (folder, made):
        one.mkdir(parents=True)
        (one / "weights").write_bytes(b"weights")
    (run_dir(job) / "log.txt").write_text("one line\n")
    make_checkpoint(job, 3)
    make_artifact(job, str(made / "weights"))
    return job


def artifact_of(job: Job) -> dict[str, Any]:
    return {"pk": job.pk, "artifact_id": job.artifacts.get().pk}


# The part of a route that names an object -> how to make one in Ana's project. Each gives the
# values of the path's parameters.
Maker = Callable[[Project, User], dict[str, Any]]
OBJECTS: dict[str, Maker] = {
    "/api/activity/{pk}": lambda project, ana: {"pk": make_activity(project=project).pk},
    "/api/adapters/{pk}": lambda project, ana: {"pk": make_adapter(make_model(project=project)).pk},
    "/api/base-models/{pk}": lambda project, ana: {"pk": make_model(project=project).pk},
    "/api/code-reviews/{pk}": lambda project, ana: {"pk": make_code_review().pk},
    "/api/datasets/{pk}": lambda project, ana: {"pk": make_dataset(project=project).pk},
    "/api/datasets/{pk}/download": lambda project, ana: {"pk": make_files(project).pk},
    "/api/experiments/probe/{pk}": lambda project, ana: {"pk": make_probe(project=project).pk},
    "/api/experiments/{pk}": lambda project, ana: {"pk": make_experiment(project=project).pk},
    "/api/hub-tokens/{pk}": lambda project, ana: {
        "pk": tokens.keep(project, "hf_a_token", user=ana).pk
    },
    "/api/bucket-keys/{pk}": lambda project, ana: {
        "pk": tokens.keep_key(project, "", "AKIA", "a-secret-key", user=ana).pk
    },
    "/api/transfers/{pk}": lambda project, ana: {"pk": make_transfer(project=project).pk},
    "/api/generations/{pk}": lambda project, ana: {"pk": make_generation(project=project).pk},
    "/api/jobs/{pk}": lambda project, ana: {"pk": job_with_files(project).pk},
    "/api/jobs/{pk}/artifacts": lambda project, ana: artifact_of(job_with_files(project)),
    "/api/jobs/{pk}/checkpoints": lambda project, ana: {
        "pk": job_with_files(project).pk,
        "step": 3,
    },
    "/api/partitions/{pk}": lambda project, ana: {"pk": Partition.objects.get().pk},
    "/api/projects/{pk}": lambda project, ana: {"pk": project.pk},
    "/api/projects/{project_id}/members": lambda project, ana: {
        "project_id": project.pk,
        "user_id": ana.pk,
    },
    "/api/recipes/{pk}": lambda project, ana: {"pk": make_recipe(project=project).pk},
    "/api/webhooks/{pk}": lambda project, ana: {"pk": make_webhook(project=project).pk},
    "/api/webhooks/{webhook_id}/deliveries": lambda project, ana: {
        "webhook_id": (webhook := make_webhook(project=project)).pk,
        "delivery_id": webhooks.test(webhook).pk,
    },
    "/api/tokens/{id}": lambda project, ana: {"id": Token.issue(ana, name="ci").id},
    "/api/uploads/{pk}": lambda project, ana: {"pk": make_upload(project=project).pk},
}
# Everybody's: they belong to no project, and whoever is signed in sees them.
SHARED = ("/api/code-reviews/{pk}", "/api/partitions/{pk}")
# Of one person alone: a colleague is as much a stranger as anybody.
PERSONAL = ("/api/tokens/{id}",)
# What a viewer may do: it changes nothing that others see.
VIEWERS_MAY = ("POST /api/activity/{pk}/mark-read",)
# What a route is asked with.
ASKED_FOR = {"GET /api/jobs/{pk}/logs/search": "?q=line"}
# What describes the API, in formats of its own.
NOT_JSON = ("GET /api/docs", "GET /api/schema")


def make_files(project: Project) -> Dataset:
    """A dataset that there is something of."""
    path = Path(settings.TRAINYARD_DATASETS) / "rows.jsonl"
    path.write_text('{"text": "a"}\n', encoding="utf-8")
    return make_dataset(project=project, storage_path=str(path))


def object_of(route: Route) -> str | None:
    """The longest key of OBJECTS that the route begins with."""
    fitting = [key for key in OBJECTS if f"{route.path}/".startswith(f"{key}/")]
    return max(fitting, key=len, default=None)


def call(client: APIClient, route: Route, values: dict[str, Any]) -> Any:
    path = route.path.format(**values) + ASKED_FOR.get(str(route), "")
    return client.generic(route.method.upper(), path, "{}", content_type="application/json")


def values_of(route: Route, project: Project, ana: User) -> dict[str, Any]:
    key = object_of(route)
    assert key is not None, f"{route} is new: say in OBJECTS how to make what it is about"
    return {name: str(value) for name, value in OBJECTS[key](project, ana).items()}


def test_the_walk_finds_what_there_is() -> None:
    found = {str(route) for route in ROUTES}
    assert {
        "GET /api/base-models",
        "PATCH /api/datasets/{pk}",
        "POST /api/jobs/{pk}/cancel",
        "DELETE /api/projects/{project_id}/members/{user_id}",
    } <= found
    assert {object_of(route) for route in ABOUT_OBJECTS} == set(OBJECTS)
    assert set(VIEWERS_MAY) <= found


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_nobody_gets_a_401(route: Route, project: Project, ana: User) -> None:
    values = values_of(route, project, ana) if route.is_about_an_object else {}
    answer = call(APIClient(), route, values)
    assert answer.status_code == 401
    if str(route) not in NOT_JSON:
        assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("route", ABOUT_OBJECTS, ids=str)
def test_a_stranger_gets_a_404(
    route: Route, project: Project, ana: User, stranger: User, token_of: TokenOf
) -> None:
    values = values_of(route, project, ana)
    answer = call(token_of(stranger), route, values)
    if object_of(route) in SHARED:
        assert answer.status_code == (403 if route.writes else 200)
    else:
        assert (answer.status_code, answer.json()) == (404, {"error": "Not found."})


@pytest.mark.parametrize("route", [r for r in WRITES if r.is_about_an_object], ids=str)
def test_a_viewer_changes_nothing(
    route: Route, project: Project, ana: User, viewer: User, token_of: TokenOf
) -> None:
    values = values_of(route, project, ana)
    answer = call(token_of(viewer), route, values)
    if object_of(route) in PERSONAL:
        assert answer.status_code == 404
    elif str(route) in VIEWERS_MAY:
        assert answer.status_code == 200
    else:
        assert answer.status_code == 403, answer.content


@pytest.mark.parametrize("route", [r for r in ABOUT_OBJECTS if not r.writes], ids=str)
def test_a_viewer_may_look(
    route: Route, project: Project, ana: User, viewer: User, token_of: TokenOf
) -> None:
    assert call(token_of(viewer), route, values_of(route, project, ana)).status_code == 200


@pytest.mark.parametrize("route", WRITES, ids=str)
def test_a_token_that_reads_changes_nothing(
    route: Route, project: Project, ana: User, token_of: TokenOf
) -> None:
    values = values_of(route, project, ana) if route.is_about_an_object else {}
    answer = call(token_of(ana, scope="read"), route, values)
    assert (answer.status_code, answer.json()) == (403, {"error": "This token may only read."})


@pytest.mark.parametrize("key", [key for key in OBJECTS if key[-1] == "}" and key not in SHARED])
def test_a_list_has_nothing_of_others(
    key: str, project: Project, ana: User, stranger: User, token_of: TokenOf
) -> None:
    [wanted] = map(str, OBJECTS[key](project, ana).values())
    plural = key.rpartition("/")[0]
    assert wanted in token_of(ana).get(plural).content.decode()
    assert wanted not in token_of(stranger).get(plural).content.decode()


def test_membership_is_what_opens_the_door(
    project: Project, ana: User, stranger: User, token_of: TokenOf
) -> None:
    route = Route("get", "/api/jobs/{pk}")
    values = values_of(route, project, ana)
    client = token_of(stranger)
    assert call(client, route, values).status_code == 404
    Membership.objects.create(project=project, user=stranger, role="viewer")
    assert call(client, route, values).status_code == 200
