"""A tokenizer from its files alone, as much of it as is needed to count: without Transformers.

Made for `counting`. It does for `data.tokens` what Transformers' own does, wherever the folder has
a tokenizer.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

LARGEST_FILE_BYTES = 100_000_000


class BadTokenizer(Exception):
    """There is no tokenizer that can be read."""


@dataclass(frozen=True)
class PlainTokenizer:
    """``backend`` is a `tokenizers.Tokenizer`."""

    backend: Any
    chat_template: str
    bos_token_id: int | None
    eos_token_id: int | None
    words: dict[str, str]

    @classmethod
    def load(cls, folder: Path) -> PlainTokenizer:
        """Raises BadTokenizer."""
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise BadTokenizer("the model has no tokenizer.json")
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise BadTokenizer("tokenizer.json is too large to be one")
        try:
            backend = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing more precise
            raise BadTokenizer(f"tokenizer.json cannot be read: {error}") from error
        backend.no_truncation()
        backend.no_padding()
        config = _json(folder / "tokenizer_config.json")
        words = {
            name: _word(config.get(name))
            for name in ("bos_token", "eos_token", "pad_token", "unk_token")
        }
        return cls(
            backend=backend,
            chat_template=_template(folder, config),
            bos_token_id=backend.token_to_id(words["bos_token"]),
            eos_token_id=backend.token_to_id(words["eos_token"]),
            words={name: word for name, word in words.items() if word},
        )

    def __call__(self, text: Any, *, add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        """Of one text, or of a list of them."""
        if isinstance(text, str):
            return {"input_ids": self.whole(text)}
        encoded = self.backend.encode_batch(text, add_special_tokens=add_special_tokens)
        return {"input_ids": [one.ids for one in encoded]}

    def whole(self, text: str) -> list[int]:
        """With the tokens that the tokenizer adds by itself."""
        ids: list[int] = self.backend.encode(text).ids
        return ids

    def apply_chat_template(
        self,
        messages: list[Any],
        *,
        tools: Any = None,
        add_generation_prompt: bool = False,
        **_: Any,
    ) -> str:
        template = _environment().from_string(self.chat_template)
        return template.render(
            messages=messages,
            tools=tools,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **self.words,
        )


def _environment() -> jinja2.Environment:
    """As Transformers makes it."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Marks, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


class _Marks(Extension):
    """{% generation %} around what the assistant says: here it says nothing."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(value: Any, indent: int | None = None, **others: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, **others)


def _refuse(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def _template(folder: Path, config: dict[str, Any]) -> str:
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    template = config.get("chat_template") or ""
    if isinstance(template, list):  # several by name
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        template = named.get("default") or ""
    return template if isinstance(template, str) else ""


def _word(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
