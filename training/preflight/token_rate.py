"""From characters, which the dataset doctor counts of every row, to tokens.

A row has so many tokens for each character, and some that its format brings along. Both are
measured on rows that went through the model's own tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.preflight.lengths import Basis, Lengths

# English and code come to about four characters a token with the vocabularies in use.
CHARACTERS_PER_TOKEN = 4.0
# Short rows say little about the tokens of their characters.
TELLING_CHARACTERS = 64


@dataclass(frozen=True, kw_only=True)
class TokenRate:
    """``highest`` is the most tokens for a character of any row; None where nobody has looked."""

    per_row: float = 0.0
    per_character: float = 1 / CHARACTERS_PER_TOKEN
    highest: float | None = None

    def tokens(self, characters: float) -> float:
        return max(self.per_row + self.per_character * characters, 1.0)

    def longest(self, characters: float | None) -> int | None:
        """What no row has more of than one of so many characters."""
        if self.highest is None or characters is None or not 0 <= characters < math.inf:
            return None
        return math.ceil(max(self.per_row + self.highest * characters, 1.0))

    def lengths(
        self, characters: Iterable[tuple[int, int]], most: float | None = None
    ) -> Lengths | None:
        """Of rows by their characters, of which none has more than ``most``."""
        basis: Basis = "guessed" if self.highest is None else "sampled"
        counts = [(self.tokens(length), rows) for length, rows in characters]
        return Lengths.of(counts, basis=basis, longest=self.longest(most))


GUESSED = TokenRate()


def rate_of(rows: Sequence[tuple[int, int]]) -> TokenRate:
    """The line through rows of [characters, tokens] with the smallest squared distance to them;
    through the origin where they do not tell the two apart. Guessed of nothing."""
    rows = [(characters, tokens) for characters, tokens in rows if characters > 0 and tokens > 0]
    if not rows:
        return GUESSED
    count = len(rows)
    mean_characters = sum(characters for characters, _ in rows) / count
    mean_tokens = sum(tokens for _, tokens in rows) / count
    spread = sum((characters - mean_characters) ** 2 for characters, _ in rows)
    together = sum((c - mean_characters) * (t - mean_tokens) for c, t in rows)
    slope = together / spread if spread > 0 else 0.0
    per_row = mean_tokens - slope * mean_characters
    if slope <= 0 or per_row < 0:
        slope, per_row = mean_tokens / mean_characters, 0.0
    telling = [row for row in rows if row[0] >= TELLING_CHARACTERS] or rows
    highest = max((tokens - per_row) / characters for characters, tokens in telling)
    return TokenRate(per_row=per_row, per_character=slope, highest=max(highest, slope))
