"""Real tokenizers, as small as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.registry.files import write_json

TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def write_tokenizer(
    folder: Path, *, words: int = 97, template: str = TEMPLATE, **settings: Any
) -> Path:
    """One token a word, and three special ones: ids up to ``words`` + 2."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"word{n}": n + 3 for n in range(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | settings
    write_json(folder / "tokenizer_config.json", {"chat_template": template, **settings})
    return folder
