"""A tokenizer in the words of GGUF: tokens, merges or scores, and how text is split first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.trainer.exports.failure import ExportFailed

# How text is split before it is merged, and llama.cpp's name for it.
_PATTERNS = {
    # Llama 3
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "llama-bpe",
    # Qwen 2 and 3
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "qwen2",
}


@dataclass(frozen=True)
class Vocabulary:
    """``kind`` is "gpt2" (byte-level BPE with ``merges``) or "llama" (SentencePiece with
    ``scores``); ``pre`` names the way of splitting."""

    kind: str
    pre: str
    tokens: list[bytes]
    types: list[int]
    merges: list[str]
    scores: list[float]
    special: dict[str, int]
    adds_bos: bool
    adds_space: bool
    chat_template: str

    def add_to(self, writer: Any) -> None:
        writer.add_tokenizer_model(self.kind)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.kind == "llama":
            writer.add_token_scores(self.scores)
            writer.add_add_space_prefix(self.adds_space)
        else:
            writer.add_token_merges(self.merges)
        for name, token in self.special.items():
            getattr(writer, f"add_{name}_token_id")(token)
        writer.add_add_bos_token(self.adds_bos)
        if self.chat_template:
            writer.add_chat_template(self.chat_template)


def vocabulary_of(tokenizer: Any, folder: Path, size: int) -> Vocabulary:
    """``folder`` holds tokenizer.json, ``size`` is the model's number of tokens. Raises
    ExportFailed where llama.cpp has no tokenizer of this kind."""
    try:
        raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportFailed(f"gguf needs the tokenizer as tokenizer.json: {error}") from error
    model = raw["model"]
    if model.get("type") != "BPE":
        raise ExportFailed(f"gguf: a tokenizer of the kind {model.get('type')} cannot be written")
    if model.get("byte_fallback"):
        kind, pre = "llama", "default"
    else:
        kind, pre = "gpt2", _pre_tokenizer(raw.get("pre_tokenizer"))
    tokens, types = _tokens(tokenizer, size, byte_fallback=kind == "llama")
    return Vocabulary(
        kind=kind,
        pre=pre,
        tokens=tokens,
        types=types,
        merges=[one if isinstance(one, str) else " ".join(one) for one in model["merges"]],
        scores=[-float(number) for number in range(size)],  # earlier tokens are merged first
        special={
            name: token
            for name in ("bos", "eos", "unk", "pad")
            if (token := getattr(tokenizer, f"{name}_token_id")) is not None
        },
        adds_bos=tokenizer.bos_token_id is not None
        and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id],
        adds_space=tokenizer.tokenize("a")[0].startswith("▁"),
        chat_template=tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else "",
    )


def _pre_tokenizer(raw: Any) -> str:
    """llama.cpp's name for it. Raises ExportFailed where it has none."""
    steps = raw.get("pretokenizers", [raw]) if isinstance(raw, dict) else []
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return "smollm"
    if kinds == ["Split", "ByteLevel"]:
        pattern = steps[0].get("pattern", {}).get("Regex", "")
        if pattern in _PATTERNS:
            return _PATTERNS[pattern]
    raise ExportFailed("gguf: llama.cpp does not know this tokenizer's way of splitting text")


def _tokens(tokenizer: Any, size: int, *, byte_fallback: bool) -> tuple[list[bytes], list[int]]:
    """Every number of the model gets a token: those that the tokenizer does not use, too."""
    import gguf

    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    kinds = gguf.TokenType
    tokens, types = [], []
    for number in range(size):
        token = by_id.get(number)
        if token is None:
            kind, token = kinds.UNUSED, f"[PAD{number}]"
        elif number in added:
            kind = kinds.CONTROL if added[number].special else kinds.USER_DEFINED
        elif number == tokenizer.unk_token_id:
            kind = kinds.UNKNOWN
        elif byte_fallback and len(token) == 6 and token.startswith("<0x") and token[-1] == ">":
            kind = kinds.BYTE
        else:
            kind = kinds.NORMAL
        tokens.append(token.encode())
        types.append(int(kind))
    return tokens, types
