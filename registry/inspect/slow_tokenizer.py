"""A tokenizer as Transformers 4 also wrote it: its words listed in files, without a tokenizer.json.

It is not loaded here, but which words have which ids can be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from registry.inspect.facts import BadModel
from registry.inspect.json_file import LARGEST_BYTES, read_object

ADDED = "added_tokens.json"
DECODER = "added_tokens_decoder"


def listed(
    folder: Path, kind: str, special: dict[str, str], settings: dict[str, Any]
) -> dict[str, Any]:
    """What a trial says of a tokenizer.json: its size, its largest id and those of the special
    tokens, or an ``error``. Nothing where the words are in a file of another kind (SentencePiece)
    or a very large one."""
    if kind not in ("vocab.json", "vocab.txt") or (folder / kind).stat().st_size > LARGEST_BYTES:
        return {}
    try:
        ids = _words(folder / kind) | _added(folder, settings)
    except BadModel as error:
        return {"error": str(error).rstrip(".")}
    return {
        "size": len(ids),
        "largest_id": max(ids.values(), default=-1),
        "special": {name: ids.get(token) for name, token in special.items()},
    }


def _added(folder: Path, settings: dict[str, Any]) -> dict[str, int]:
    """tokenizer_config.json has the last word, where it says anything of them."""
    if DECODER not in settings:
        return _ids(folder / ADDED) if (folder / ADDED).is_file() else {}
    decoder = settings[DECODER]
    found = {}
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        if isinstance(token, dict) and isinstance(token.get("content"), str) and number.isdecimal():
            found[token["content"]] = int(number)
    return found


def _words(path: Path) -> dict[str, int]:
    if path.suffix == ".json":
        return _ids(path)
    lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    return {line.rstrip("\r"): number for number, line in enumerate(lines) if line}


def _ids(path: Path) -> dict[str, int]:
    ids = read_object(path)
    if not all(type(number) is int for number in ids.values()):
        raise BadModel(f"{path.name} must hold a number for each word.")
    return ids
