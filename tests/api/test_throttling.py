"""Server mode counts what one person writes in a minute."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Project, User
from api.throttling import WriteThrottle
from tests.programs import TokenOf

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("server_mode")]


@pytest.fixture(autouse=True)
def two_a_minute(settings: Any) -> None:
    settings.TRAINYARD_WRITES_PER_MINUTE = 2


def write(client: Any, project: Project) -> Any:
    return client.patch(f"/api/projects/{project.pk}", {"description": "x"}, format="json")


def test_one_too_many_is_told_when_to_come_back(
    ana: User, project: Project, token_of: TokenOf
) -> None:
    client = token_of(ana)
    assert [write(client, project).status_code for _ in range(2)] == [200, 200]
    answer = write(client, project)
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 60
    assert answer.json()["error"].startswith("Request was throttled.")


def test_all_tokens_of_a_person_count_together_and_others_do_not(
    ana: User, root: User, project: Project, token_of: TokenOf
) -> None:
    answers = [write(token_of(ana), project).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    assert write(token_of(root), project).status_code == 200


def test_reading_is_not_counted(ana: User, project: Project, token_of: TokenOf) -> None:
    client = token_of(ana)
    assert {client.get("/api/projects").status_code for _ in range(5)} == {200}
    assert write(client, project).status_code == 200


def test_local_mode_counts_nothing(
    ana: User, project: Project, token_of: TokenOf, settings: Any
) -> None:
    settings.TRAINYARD_MODE = "local"
    client = token_of(ana)
    assert {write(client, project).status_code for _ in range(5)} == {200}


def test_without_its_redis_writing_goes_on(
    ana: User, project: Project, token_of: TokenOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.core.cache.backends.redis import RedisCache

    monkeypatch.setattr(WriteThrottle, "cache", RedisCache("unix:///nowhere.sock", {}))
    client = token_of(ana)
    assert {write(client, project).status_code for _ in range(5)} == {200}
