"""Plain text for pre-training: notes full of dates and numbers, and the library's docstrings.

It shows how dates and numbers look and that a text repeats them. It never says a date in ISO 8601
nor which number a month has: that is what the fine-tune is for.
"""

from __future__ import annotations

import random
from datetime import timedelta

from trainyard.demo import dates, docstrings

NOTES = (
    "The {place} opened on {date}. Its first visitors still talk about {date}.",
    "Invoice {number} was paid on {date}. Please quote {number} when you write to us.",
    "Room {small} is free from {date}; ask for room {small} at the desk.",
    "She wrote {date} at the head of the letter, and the copy says {date} too.",
    "Order {number} left the {place} with {small} parcels. The label reads {number}.",
    "Minutes of the meeting of {date}. Those present on {date}: {small} members.",
    "The count was {number} in the morning and {number} again at night.",
    "From {date} the {place} closes at {small}. Until {date} nothing changes.",
)
PLACES = ("library", "museum", "station", "harbour", "theatre", "school", "market", "workshop")


def note(chance: random.Random) -> str:
    """One or two sentences that say the same date or number twice."""
    day = dates.FIRST + timedelta(days=chance.randint(0, (dates.LAST - dates.FIRST).days))
    return chance.choice(NOTES).format(
        place=chance.choice(PLACES),
        date=chance.choice(dates.SPELLINGS)(day),
        number=chance.randint(1, 10 ** chance.randint(3, 8)),
        small=chance.randint(1, 31),
    )


def documents(*, seed: int = 0, notes: int = 6000) -> list[str]:
    """Notes and docstrings with their signatures, in a random order. Same seed, same documents."""
    chance = random.Random(seed)
    train, _held_out = docstrings.splits(seed=seed)
    texts = [note(chance) for _ in range(notes)]
    texts += [row["prompt"] + row["completion"] + '"""' for row in train]
    chance.shuffle(texts)
    return texts
