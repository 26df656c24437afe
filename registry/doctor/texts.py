"""What may be wrong inside a text: damaged encoding, and what nobody wanted to give away.

Hints, not proofs. A row is looked at for one thing after the other, each behind a test that costs
next to nothing where the text has none of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ftfy import badness

VERY_LONG_CHARACTERS = 100_000
_LOOKED_AT = 200_000  # characters of one row

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{2,63})+")
# Examples in documentation are nobody's address.
_NOBODY = re.compile(r"@(?:[\w.-]+\.)?(?:example|test|invalid|localhost)(?:\.\w+)*$", re.IGNORECASE)
_KEYS = {
    "sk-": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "AKIA": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "gh": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}"),
    "hf_": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "xox": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "AIza": re.compile(r"\bAIza[A-Za-z0-9_-]{35}"),
    "PRIVATE KEY": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
}
_CARD = re.compile(
    r"(?<!\d)(?<!\d[.-])[3-6]\d{3}[ -]?\d{4,6}[ -]?\d{4,5}(?:[ -]?\d{1,4})?(?!\d|[.-]\d)"
)
_FOUR_DIGITS = re.compile(r"\d{4}")
# What UTF-8 read as something else almost always has in it.
_MOJIBAKE = re.compile("[ÃÂâÐÑãåæçèéäïð][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]")


class Trouble(NamedTuple):
    code: str
    message: str
    fix: str


_REPLACED = Trouble(
    "replacement_character",
    "The text has � in it: characters were lost when it was decoded.",
    "Write the text again from its source, or remove the row.",
)
_NUL = Trouble("nul", "The text has a NUL byte in it.", "Remove it; a repaired copy has none.")
_BADLY_DECODED = Trouble(
    "mojibake",
    "The text looks like UTF-8 that was read as another encoding.",
    "Make a repaired copy, which turns it back.",
)
_BOM_INSIDE = Trouble(
    "bom",
    "The text has a byte order mark in it.",
    "Remove it; a repaired copy has none.",
)


def troubles(text: str) -> Iterator[Trouble]:
    """Each kind once."""
    text = text[:_LOOKED_AT]
    if "\x00" in text:
        yield _NUL
    if not text.isascii():
        if "\ufffd" in text:
            yield _REPLACED
        if "\ufeff" in text:
            yield _BOM_INSIDE
        if _MOJIBAKE.search(text) and badness.is_bad(text):
            yield _BADLY_DECODED
    if "@" in text and (address := _address(text)):
        yield Trouble(
            "email_address",
            f"The text has an e-mail address in it ({address}).",
            "Remove or replace it, unless it is meant to be learned.",
        )
    for mark, pattern in _KEYS.items():
        if mark in text and (key := pattern.search(text)):
            yield Trouble(
                "secret",
                f"The text has what looks like a key or a token ({key[0][:6]}…).",
                "Remove it, and have it replaced: whoever has the dataset has it.",
            )
            break
    if _FOUR_DIGITS.search(text) and any(_is_card(found) for found in _CARD.findall(text)):
        yield Trouble(
            "card_number",
            "The text has what looks like the number of a payment card.",
            "Remove or replace it.",
        )


def _address(text: str) -> str:
    """As much of the first one as may be shown."""
    for found in _EMAIL.finditer(text):
        if not _NOBODY.search(found[0]):
            name, _, host = found[0].partition("@")
            return f"{name[0]}…@{host[:60]}"
    return ""


def _is_card(number: str) -> bool:
    """By Luhn's check digit."""
    digits = [int(one) for one in number if one.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) < 2:
        return False
    doubled = [sum(divmod(2 * one, 10)) for one in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def redacted(text: str) -> str:
    """With a word for each address, key and card number."""
    if "@" in text:
        text = _EMAIL.sub(lambda found: found[0] if _NOBODY.search(found[0]) else "<email>", text)
    for mark, pattern in _KEYS.items():
        if mark in text:
            text = pattern.sub("<secret>", text)
    if _FOUR_DIGITS.search(text):
        text = _CARD.sub(lambda found: "<card>" if _is_card(found[0]) else found[0], text)
    return text
