"""Secrets at rest: closed with SECRET_KEY, and with nothing else to be opened."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import secrets


@pytest.mark.parametrize("secret", ["hf_abc", "", "Schlüssel 🔑", "x" * 5000])
def test_what_was_closed_can_be_opened(secret: str) -> None:
    kept = secrets.encrypt(secret)
    assert secrets.decrypt(kept) == secret
    assert not secret or secret not in kept
    assert secrets.encrypt(secret) != kept


def test_an_old_key_still_opens_what_it_has_closed(settings: Any) -> None:
    settings.SECRET_KEY = "the old one"
    kept = secrets.encrypt("hf_abc")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the new one", ["the old one"]
    assert secrets.decrypt(kept) == "hf_abc"
    new = secrets.encrypt("hf_abc")
    settings.SECRET_KEY_FALLBACKS = []
    assert secrets.decrypt(new) == "hf_abc"


@pytest.mark.parametrize("kept", ["", "nonsense", "gAAAAABkkk"])
def test_what_nobody_here_has_closed_is_refused(kept: str) -> None:
    with pytest.raises(secrets.CannotDecrypt):
        secrets.decrypt(kept)


def test_another_key_opens_nothing(settings: Any) -> None:
    kept = secrets.encrypt("hf_abc")
    settings.SECRET_KEY = "another one"
    with pytest.raises(secrets.CannotDecrypt, match="SECRET_KEY_FALLBACKS"):
        secrets.decrypt(kept)
