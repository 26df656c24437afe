"""The tokenizer beside a model: does it load, suit the weights, and does its template render?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from registry.inspect.facts import ERROR, WARNING, Finding, TokenizerFacts
from registry.inspect.json_file import read_object
from registry.inspect.slow_tokenizer import DECODER, listed

# In the order in which Transformers prefers them.
KINDS = {
    "tokenizer.json": "fast",
    "tokenizer.model": "SentencePiece",
    "spiece.model": "SentencePiece",
    "sentencepiece.bpe.model": "SentencePiece",
    "tekken.json": "tekken",
    "vocab.json": "BPE",
    "vocab.txt": "WordPiece",
}
SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token")
LARGEST_TOKENIZER_BYTES = 128_000_000
LARGEST_TEMPLATE = 1_000_000
MOST_TEMPLATES = 10
# The trial limits itself to seconds of the processor; this is for a machine that is very busy.
TRIAL_SECONDS = 180
TRIAL = Path(__file__).with_name("trial.py")
AGAIN = "Download the tokenizer's files again, or take them from the original model."


class Tokenizer(NamedTuple):
    facts: TokenizerFacts | None
    has_chat_template: bool
    findings: tuple[Finding, ...]


def read_tokenizer(folder: Path, embeddings: int | None) -> Tokenizer:
    """``embeddings`` is how many tokens the weights have a row for."""
    kind = next((name for name in KINDS if (folder / name).is_file()), None)
    settings = _settings(folder)
    templates = dict(list(_templates(folder, settings))[:MOST_TEMPLATES])
    if kind is None:
        return Tokenizer(None, bool(templates), ())
    special = dict(_special(folder, settings))
    reason = _why_not_tried(folder, kind)
    tried = _try(folder / kind if not reason else None, special, templates)
    if kind != "tokenizer.json":
        tried["tokenizer"] = listed(folder, kind, special, settings)
    found = tried.get("tokenizer", {})
    ids = found.get("special")
    facts = TokenizerFacts(
        kind=KINDS[kind],
        size=found.get("size"),
        loads=None if kind != "tokenizer.json" else "size" in found,
        special={name: {"token": special[name], "id": ids[name]} for name in ids or ()},
        template_renders=_all_render(tried, templates),
    )
    findings = [
        *_of_loading(kind, reason, found),
        *_of_vocabulary(kind, found, embeddings),
        *_of_special(found, special, embeddings),
        *_of_templates(tried, templates),
    ]
    return Tokenizer(facts, bool(templates), tuple(findings))


# --- What the files say --------------------------------------------------------------------------


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_object(path) if path.is_file() else {}


def _special(folder: Path, settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The special tokens by name: "</s>", or {"content": "</s>", ...} as older versions wrote.
    Transformers reads special_tokens_map.json only where tokenizer_config.json says nothing of
    added tokens, and then believes it more."""
    path = folder / "special_tokens_map.json"
    mapped = read_object(path) if path.is_file() and DECODER not in settings else {}
    for name in SPECIAL:
        token = mapped.get(name) or settings.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and 0 < len(token) <= 200:
            yield name, token


def _templates(folder: Path, settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each under the name of the place where it was found."""
    named = settings.get("chat_template")
    if isinstance(named, str) and named:
        yield "tokenizer_config.json", named
    for entry in named if isinstance(named, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("template"), str):
            yield f"tokenizer_config.json ({str(entry.get('name'))[:50]})", entry["template"]
    for path in [
        folder / "chat_template.jinja",
        *sorted((folder / "additional_chat_templates").glob("*.jinja")),
    ]:
        if path.is_file():
            with open(path, "rb") as file:
                yield path.name, file.read(LARGEST_TEMPLATE + 1).decode("utf-8", "replace")
    if (folder / "chat_template.json").is_file():
        template = read_object(folder / "chat_template.json").get("chat_template")
        if isinstance(template, str):
            yield "chat_template.json", template


def _why_not_tried(folder: Path, kind: str) -> str:
    """Why tokenizer.json cannot be one, as far as that is seen without loading it."""
    if kind != "tokenizer.json":
        return "not fast"
    if (folder / kind).stat().st_size > LARGEST_TOKENIZER_BYTES:
        return f"it is larger than {LARGEST_TOKENIZER_BYTES // 1_000_000} MB"
    with open(folder / kind, "rb") as file:
        return "" if b'"model"' in file.read() else "it has no model"


# --- What a trial says ---------------------------------------------------------------------------


def _try(
    tokenizer: Path | None, special: dict[str, str], templates: dict[str, str]
) -> dict[str, Any]:
    """``{"tokenizer": answer, name of a template: answer}``; the trial may have ended before all
    of them were given."""
    if tokenizer is None and not templates:
        return {}
    asked = {
        "tokenizer": str(tokenizer or ""),
        "special": special,
        "templates": {n: t for n, t in templates.items() if len(t) <= LARGEST_TEMPLATE},
    }
    process = subprocess.Popen(
        [sys.executable, "-I", str(TRIAL)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"},
        cwd="/",
    )
    try:
        said, _ = process.communicate(json.dumps(asked).encode(), timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    found: dict[str, Any] = {}
    for line in said.rpartition(b"\n")[0].splitlines():  # the last may be half a line
        answer = json.loads(line)
        found |= {answer["template"]: answer} if "template" in answer else answer
    return found


def _all_render(tried: dict[str, Any], templates: dict[str, str]) -> bool | None:
    if not templates or "tokenizer" not in tried:
        return None
    return all("length" in tried.get(name, {}) for name in templates)


# --- Findings ------------------------------------------------------------------------------------

_ENDED = "reading it took too much time or memory, or made the library crash"


def _of_loading(kind: str, reason: str, found: dict[str, Any]) -> Iterator[Finding]:
    if kind != "tokenizer.json":
        yield Finding(
            code="tokenizer_not_checked",
            message=f"There is no tokenizer.json, only {kind}, which is not loaded here.",
            fix="Save the tokenizer with a recent Transformers, which writes a tokenizer.json.",
            file=kind,
        )
    if "error" in found or (kind == "tokenizer.json" and "size" not in found):
        why = found.get("error") or reason or _ENDED
        yield Finding(
            code="tokenizer_does_not_load",
            message=f"{kind} cannot be loaded: {why}.",
            fix=AGAIN,
            level=ERROR,
            file=kind,
        )


def _of_vocabulary(kind: str, found: dict[str, Any], embeddings: int | None) -> Iterator[Finding]:
    if embeddings is None or found.get("largest_id", -1) < embeddings:
        return
    yield Finding(
        code="vocabulary_larger_than_embeddings",
        message=f"The tokenizer gives ids up to {found['largest_id']:,}, but the weights have rows "
        f"for {embeddings:,} tokens: the first such token would end a run.",
        fix="Take the tokenizer that belongs to these weights, or resize the embeddings "
        "(resize_token_embeddings) and save the model again.",
        level=ERROR,
        file=kind,
    )


def _of_special(
    found: dict[str, Any], special: dict[str, str], embeddings: int | None
) -> Iterator[Finding]:
    """Transformers adds those that are missing, with ids behind all others."""
    unknown = [name for name, token_id in found.get("special", {}).items() if token_id is None]
    is_beyond = embeddings is not None and found.get("size", 0) + len(unknown) > embeddings
    for name in unknown:
        yield Finding(
            code="special_token_unknown",
            message=f"The {name} '{special[name]}' is not in the tokenizer's vocabulary"
            + (", and the weights have no row left for it." if is_beyond else "."),
            fix="Correct it in tokenizer_config.json, or add the token to the tokenizer.",
            level=ERROR if is_beyond else WARNING,
            file="tokenizer_config.json",
        )


def _of_templates(tried: dict[str, Any], templates: dict[str, str]) -> Iterator[Finding]:
    if "tokenizer" not in tried:
        return
    for name in templates:
        answer = tried.get(name, {})
        if "length" not in answer:
            yield Finding(
                code="chat_template_does_not_render",
                message=f"The chat template cannot be used: {answer.get('error') or _ENDED}.",
                fix="Take the template of the original model, or correct it.",
                level=ERROR,
                file=name.partition(" (")[0],
            )
            continue
        if answer["length"] == 0:
            yield Finding(
                code="chat_template_is_empty",
                message="The chat template makes nothing of a short talk.",
                fix="Take the template of the original model.",
                file=name.partition(" (")[0],
            )
