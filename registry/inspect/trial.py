"""Load a tokenizer and render its chat templates, in a process of its own.

A tokenizer.json and a template are programs of a kind: they may run for ever, take all memory, or
make the library crash. So this file is run by itself (it imports nothing of ours), limits what it
may take, and tells what it found, one JSON object a line, as soon as it knows it.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from typing import Any

CPU_SECONDS = 20
MEMORY_BYTES = 4 << 30
TALK = [
    {"role": "user", "content": "What day is it?"},
    {"role": "assistant", "content": "It is Monday."},
]


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def try_tokenizer(path: str, special: dict[str, str]) -> dict[str, Any]:
    """Its size, its largest id, and the ids of the special tokens: None for one it lacks."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    tokenizer.encode("The quick brown fox, été 12.")
    return {
        "size": len(vocabulary),
        "largest_id": max(vocabulary.values(), default=-1),
        "special": {name: vocabulary.get(token) for name, token in special.items()},
    }


def try_template(template: str, special: dict[str, str]) -> str:
    """What a short talk becomes, under the rules by which Transformers renders templates."""
    compiled = environment().from_string(template)
    asks: dict[str, Any] = {"add_generation_prompt": False, "tools": None, "documents": None}
    compiled.render(messages=TALK[:1], **special, **{**asks, "add_generation_prompt": True})
    rendered: str = compiled.render(messages=TALK, **special, **asks)
    return rendered


def environment() -> Any:
    import jinja2.ext
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        """``{% generation %}`` marks what is to be learned; here it is only text."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False)
    made.globals["raise_exception"] = _raise
    made.globals["strftime_now"] = lambda form: "2026-01-05"
    return made


def _raise(message: str) -> None:
    raise ValueError(message)


def answers(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if asked["tokenizer"]:
        yield {"tokenizer": _tried(try_tokenizer, asked["tokenizer"], asked["special"])}
    for name, template in asked["templates"].items():
        yield {"template": name, **_tried(try_template, template, asked["special"])}


def _tried(attempt: Any, *arguments: Any) -> dict[str, Any]:
    try:
        found = attempt(*arguments)
    except BaseException as error:  # a panic of the library's Rust is no Exception
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return {"error": lines[0][:300]}
    return found if isinstance(found, dict) else {"length": len(found)}


if __name__ == "__main__":
    limit()
    for answer in answers(json.load(sys.stdin)):
        print(json.dumps(answer), flush=True)  # noqa: T201  # its answer
