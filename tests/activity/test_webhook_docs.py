"""What docs/webhooks.md tells receivers to do works as it stands there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from activity.outgoing import signing

BODY = '{"type": "job_completed", "ü": 1}'.encode()


@pytest.fixture(scope="module")
def is_from_trainyard() -> Any:
    text = (Path(settings.BASE_DIR) / "docs" / "webhooks.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- verify: begin -->\n\n```python\n")
    code, _, _ = rest.partition("```\n\n<!-- verify: end -->")
    names: dict[str, Any] = {}
    exec(compile(code, "docs/webhooks.md", "exec"), names)
    return names["is_from_trainyard"]


@pytest.fixture
def secret() -> str:
    return signing.new_secret()


def headers(secret: str, *, age_seconds: int = 0) -> dict[str, str]:
    return signing.headers(secret, "an-id", int(time.time()) - age_seconds, BODY)


def test_ours_is_taken(is_from_trainyard: Any, secret: str) -> None:
    assert is_from_trainyard(secret, headers(secret), BODY)


def test_nothing_else_is(is_from_trainyard: Any, secret: str) -> None:
    right = headers(secret)
    assert not is_from_trainyard(signing.new_secret(), right, BODY)
    assert not is_from_trainyard(secret, right, BODY + b" ")
    assert not is_from_trainyard(secret, {**right, "webhook-id": "another"}, BODY)
    assert not is_from_trainyard(secret, headers(secret, age_seconds=600), BODY)
    assert not is_from_trainyard(secret, {**right, "webhook-signature": "v1,AAAA"}, BODY)


def test_it_is_the_signature_that_the_standard_gives() -> None:
    """The example of the Standard Webhooks libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    signed = signing.headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
