"""/api/tokens, and what one can do with a token."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.testing import WebsocketCommunicator
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Token, User
from accounts.sockets import TokenSocket
from tests.programs import TokenOf, with_secret

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("server_mode")]
ClientOf = Callable[[User], APIClient]


def make(client: APIClient, **body: Any) -> Any:
    return client.post("/api/tokens", {"name": "ci", **body}, format="json")


def test_a_new_token_works_and_its_secret_is_shown_once(ana: User, client_of: ClientOf) -> None:
    answer = make(client_of(ana), scope="write")
    assert answer.status_code == 201
    token = answer.json()
    assert token["token"].startswith(token["begins_with"])
    client = with_secret(token["token"])
    assert client.get("/api/projects").json()["total"] == 1
    listed = client.get("/api/tokens").json()
    assert listed["total"] == 1
    assert "token" not in listed["tokens"][0]
    assert listed["tokens"][0]["id"] == token["id"]


def test_the_database_does_not_have_the_secret(ana: User) -> None:
    secret = Token.issue(ana, name="ci").secret
    row = Token.objects.values().get()
    assert secret not in str(row)
    assert len(secret) > 60


def test_name_and_password_make_the_first_token(ana: User) -> None:
    ana.set_password("correct horse")
    ana.save()
    words = base64.b64encode(b"ana:correct horse").decode()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Basic {words}")
    assert make(client).status_code == 201
    assert client.get("/api/projects").status_code == 401


@pytest.mark.parametrize("words", [b"ana:wrong", b"nobody:x", b"a\x00:x", b"ana", b"\xff:x"])
def test_a_wrong_password_makes_none(ana: User, words: bytes) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Basic {base64.b64encode(words).decode()}")
    answer = make(client)
    assert (answer.status_code, set(answer.json())) == (401, {"error"})
    assert not Token.objects.exists()


def test_it_reads_unless_told_otherwise_and_lasts_ninety_days(
    ana: User, client_of: ClientOf
) -> None:
    token = make(client_of(ana)).json()
    assert token["scope"] == "read"
    left = Token.objects.get().expiry - timezone.now()
    assert timedelta(days=89) < left <= timedelta(days=90)


def test_it_need_not_expire(ana: User, client_of: ClientOf) -> None:
    assert make(client_of(ana), expires_at=None).json()["expires_at"] is None


def test_a_token_that_reads_changes_nothing(ana: User, token_of: TokenOf) -> None:
    client = token_of(ana, scope="read")
    assert client.get("/api/projects").status_code == 200
    answer = client.post("/api/projects", {"name": "New"}, format="json")
    assert answer.status_code == 403
    assert answer.json() == {"error": "This token may only read."}
    assert make(client).status_code == 403


def test_one_that_has_expired_is_a_401(ana: User, token_of: TokenOf) -> None:
    client = token_of(ana, expiry=timezone.now() - timedelta(seconds=1))
    answer = client.get("/api/projects")
    assert (answer.status_code, answer.json()) == (401, {"error": "Invalid token."})


def test_one_that_was_revoked_is_a_401(ana: User, client_of: ClientOf) -> None:
    token = make(client_of(ana)).json()
    assert client_of(ana).delete(f"/api/tokens/{token['id']}").status_code == 204
    answer = with_secret(token["token"]).get("/api/projects")
    assert (answer.status_code, answer.json()) == (401, {"error": "Invalid token."})


def test_that_of_somebody_who_has_left_is_a_401(ana: User, token_of: TokenOf) -> None:
    client = token_of(ana)
    ana.is_active = False
    ana.save()
    assert client.get("/api/projects").status_code == 401


@pytest.mark.parametrize("secret", ["", "x", "ty_" + "0" * 64, "two words", "schlüssel", "ty_\x00"])
def test_what_is_no_token_is_a_401(secret: str) -> None:
    answer = with_secret(secret).get("/api/projects")
    assert answer.status_code == 401
    assert set(answer.json()) == {"error"}
    assert answer["WWW-Authenticate"] == "Bearer"


def test_a_token_does_not_live_on_in_another_one(ana: User, token_of: TokenOf) -> None:
    soon = timezone.now() + timedelta(hours=1)
    client = token_of(ana, expiry=soon)
    for expires_at in (None, (soon + timedelta(days=1)).isoformat()):
        answer = make(client, expires_at=expires_at)
        assert answer.status_code == 400
        assert "expires_at" in answer.json()["details"]
    assert make(client, expires_at=soon.isoformat()).status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"scope": "admin"}, "scope"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
    ],
)
def test_a_token_that_cannot_be_is_refused(
    ana: User, client_of: ClientOf, body: dict[str, str], field: str
) -> None:
    answer = make(client_of(ana), **body)
    assert answer.status_code == 400
    assert set(answer.json()["details"]) == {field}
    assert not Token.objects.exists()


def test_tokens_of_others_are_neither_seen_nor_revoked(
    ana: User, bob: User, root: User, client_of: ClientOf
) -> None:
    token = Token.issue(ana, name="ci")
    for other in (bob, root):
        assert client_of(other).get("/api/tokens").json()["tokens"] == []
        assert client_of(other).delete(f"/api/tokens/{token.pk}").status_code == 400
        assert client_of(other).delete(f"/api/tokens/{token.id}").status_code == 404
    assert Token.objects.get() == token


def test_in_local_mode_a_token_also_says_who_is_asking(
    ana: User, token_of: TokenOf, settings: Any
) -> None:
    settings.TRAINYARD_MODE = "local"
    token_of(ana).post("/api/projects", {"name": "Hers"}, format="json")
    assert ana.memberships.filter(project__name="Hers").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_socket_takes_a_token_too(ana: User, scheme: str) -> None:
    secret = Token.issue(ana, name="ci").secret

    async def who(authorization: str) -> Any:
        asked: list[Any] = []

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            asked.append(scope["user"])
            await send({"type": "websocket.close"})

        headers = [(b"authorization", authorization.encode())]
        client = WebsocketCommunicator(TokenSocket(inner), "/ws/activity", headers)
        client.scope["user"] = "whoever is signed in"
        await client.connect()
        return asked[0]

    async def story() -> None:
        assert await who(f"{scheme} {secret}") == ana
        assert not (await who(f"{scheme} {secret}0")).is_authenticated
        assert await who("") == "whoever is signed in"
        await sync_to_async(Token.objects.all().delete)()
        assert not (await who(f"{scheme} {secret}")).is_authenticated

    async_to_sync(story)()
