"""The cast and the stage. Ana owns, Bob is her colleague, the stranger must see nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.core.cache import cache
from rest_framework.test import APIClient

from accounts.models import Membership, Project, Token, User
from tests.brokers import answers, own_valkey
from tests.programs import TokenOf, with_secret

# Several lanes share the cores: how long an example takes says nothing.
hypothesis.settings.register_profile(
    "patient",
    hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")

# What costs a tenth of all time here and proves nothing: looking through all static files for each
# client, and hashes that take long on purpose. The servers that tests start have neither.
settings.WHITENOISE_AUTOREFRESH = True
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty TRAINYARD_HOME for one test."""
    for setting, folder in {
        "TRAINYARD_RUNS": "runs",
        "TRAINYARD_EXPORTS": "exports",
        "TRAINYARD_EVAL_TASKS": "eval_tasks",
        "TRAINYARD_UPLOADS": "uploads",
        "TRAINYARD_MODELS": "models",
        "TRAINYARD_DATASETS": "datasets",
        "TRAINYARD_TRANSFERS": "transfers",
    }.items():
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(settings, setting, tmp_path / folder)
    monkeypatch.setattr(settings, "TRAINYARD_HOME", tmp_path)
    monkeypatch.setattr(
        settings,
        "TRAINYARD_FOLDERS_OF",
        {tmp_path / at.name: tables for at, tables in settings.TRAINYARD_FOLDERS_OF.items()},
    )
    monkeypatch.setattr(settings, "FILE_UPLOAD_TEMP_DIR", tmp_path / "uploads")
    monkeypatch.setattr(
        settings,
        "TRAINYARD_STORAGE_ROOTS",
        [tmp_path / "models", tmp_path / "datasets", tmp_path / "exports"],
    )
    return tmp_path


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.default()


@pytest.fixture
def ana(project: Project) -> User:
    return _member("ana", project, Membership.Role.OWNER)


@pytest.fixture
def bob(project: Project) -> User:
    return _member("bob", project, Membership.Role.MEMBER)


@pytest.fixture
def viewer(project: Project) -> User:
    return _member("viv", project, Membership.Role.VIEWER)


@pytest.fixture
def stranger(db: None) -> User:
    """Has a project, but not this one."""
    elsewhere = Project.objects.create(name="Elsewhere")
    return _member("stranger", elsewhere, Membership.Role.OWNER)


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root")


def _member(name: str, project: Project, role: str) -> User:
    user = User.objects.create_user(name)
    Membership.objects.create(project=project, user=user, role=role)
    return user


@pytest.fixture
def client_of() -> Callable[[User], APIClient]:
    """``client_of(ana).get("/api/jobs")``: a REST client signed in as somebody."""

    def make(user: User) -> APIClient:
        client = APIClient()
        client.force_login(user)
        client.force_authenticate(user)
        return client

    return make


@pytest.fixture
def token_of() -> TokenOf:
    """``token_of(ana, scope="read").get("/api/jobs")``: a program that acts for somebody."""

    def make(user: User, *, scope: str = "write", **fields: Any) -> APIClient:
        return with_secret(Token.issue(user, name="a program", scope=scope, **fields).secret)

    return make


@pytest.fixture
def server_mode(settings: Any) -> None:
    """Server mode within the test's own process: nobody is asking without a login or a token."""
    settings.TRAINYARD_MODE = "server"
    cache.clear()  # it has counted the writes of other tests


@pytest.fixture
def api(db: None) -> APIClient:
    """A REST client as curl on this machine is one: nobody has signed in, so it is the owner's."""
    return APIClient()


def pytest_runtest_makereport(item: Any, call: Any) -> None:
    """With CI=true a service that is not there fails the test instead of skipping it; not so a GPU,
    and a library that is not among the requirements."""
    if os.environ.get("CI") == "true" and call.excinfo is not None:
        reason = call.excinfo.value
        if isinstance(reason, pytest.skip.Exception) and not {"cuda", "gptqmodel"} & {
            *item.keywords
        }:
            failure = AssertionError(f"skipped under CI=true: {reason}")
            call.excinfo = pytest.ExceptionInfo.from_exception(
                failure.with_traceback(call.excinfo.tb)
            )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test with real transactions empties the tables behind it. The rows that migrations made
    (default project, recipes, the feed's cursor) are put back before each."""
    again = pytest.mark.django_db(transaction=True, serialized_rollback=True)
    for item in items:
        marker = item.get_closest_marker("django_db")
        if marker is not None and marker.kwargs.get("transaction"):
            item.add_marker(again, append=False)


@pytest.fixture(scope="session")
def broker_url() -> Iterator[str]:
    """A Redis that answers: the one in REDIS_URL or on this machine, else our own Valkey."""
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/9")
    if answers(url):
        yield url
        return
    with own_valkey(Path(os.environ["TRAINYARD_HOME"]) / "broker.sock") as url:
        yield url


@pytest.fixture
def broker(broker_url: str, settings: Any) -> str:
    """The channel layer works."""
    host = {"address": broker_url, "socket_timeout": None}
    layer = settings.CHANNEL_LAYERS["default"]
    settings.CHANNEL_LAYERS = {
        "default": {**layer, "CONFIG": {"hosts": [host], "prefix": f"test-{os.getpid()}"}}
    }
    return broker_url
