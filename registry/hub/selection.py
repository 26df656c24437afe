"""Which files of a repository come, and why the others stay where they are."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypedDict

from registry.hub.trouble import Trouble

WEIGHTS = (".safetensors", ".gguf")
# What stands beside the weights: configuration, tokenizer, templates, words.
BESIDE = (".json", ".txt", ".md", ".model", ".tiktoken", ".jinja", ".vocab", ".yaml", ".yml")
WORDS = ("license", "licence", "notice", "use_policy", "readme")
# Files that run code when they are loaded. They are never fetched, whoever asks for them.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".npz", ".joblib", ".dill")
CODE = (".py", ".pyc", ".so", ".sh", ".dll", ".ipynb", ".exe", ".bat")
OTHER_FRAMEWORKS = (".h5", ".msgpack", ".onnx", ".onnx_data", ".tflite", ".ot", ".pb", ".mlmodel")
ROWS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt")
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip")
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)", re.IGNORECASE)
MOST_LEFT_OUT = 200


@dataclass(frozen=True)
class RemoteFile:
    """A file as a source lists it. ``expected`` as in `TransferFile`."""

    path: str
    size_bytes: int
    expected: str = ""


class LeftOut(TypedDict):
    path: str
    size_bytes: int
    reason: str


@dataclass
class Plan:
    """What is to come, from which commit."""

    commit: str
    repo_id: str
    files: list[RemoteFile]
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @functools.cached_property
    def expected(self) -> dict[str, str]:
        """By path; asked for each file that is opened."""
        return {file.path: file.expected for file in self.files}


def choose(
    makes: str, files: Iterable[RemoteFile], allow: list[str], ignore: list[str]
) -> tuple[list[RemoteFile], list[LeftOut]]:
    """The files that come, and those that do not; ``makes`` is model or dataset. Raises Trouble
    where nothing useful comes."""
    everything = list(files)
    wanted = matching(everything, allow, ignore)
    why_not = why_no_model_file if makes == "model" else _why_no_data_file
    chosen: list[RemoteFile] = []
    left_out: list[LeftOut] = []
    for file in everything:
        reason = why_not(file.path) or ("" if file in wanted else "the patterns leave it out")
        if reason:
            left_out.append(_left_out(file, reason))
        else:
            chosen.append(file)
    if makes == "model":
        chosen, more = _one_set_of_weights(chosen, left_out, asked=bool(allow))
        left_out += more
    elif not chosen:
        raise _no_rows(everything, left_out)
    return chosen, left_out


def matching(files: list[RemoteFile], allow: list[str], ignore: list[str]) -> set[RemoteFile]:
    """By the hub library's own rules: shell patterns, "data/" means all that is in it."""
    from huggingface_hub.utils._paths import filter_repo_objects

    return set(
        filter_repo_objects(
            files,
            allow_patterns=allow or None,
            ignore_patterns=ignore or None,
            key=lambda file: file.path,
        )
    )


def _left_out(file: RemoteFile, reason: str) -> LeftOut:
    return {"path": file.path, "size_bytes": file.size_bytes, "reason": reason}


def _why_never(path: str) -> str:
    name = PurePosixPath(path)
    if any(part.startswith(".") for part in name.parts):
        return "hidden"
    suffix = name.suffix.lower()
    if suffix in CODE:
        return "code, which is never run here"
    if suffix in PICKLES:
        return "may run code when it is opened (pickle)"
    return ""


def why_no_model_file(path: str) -> str:
    name = PurePosixPath(path)
    suffix = name.suffix.lower()
    if reason := _why_never(path):
        return reason
    if suffix in OTHER_FRAMEWORKS:
        return "weights of another framework"
    if suffix in WEIGHTS or suffix in BESIDE or name.stem.lower().startswith(WORDS):
        return ""
    return "not needed"


def _why_no_data_file(path: str) -> str:
    return _why_never(path)


def _one_set_of_weights(
    chosen: list[RemoteFile], left_out: list[LeftOut], *, asked: bool
) -> tuple[list[RemoteFile], list[LeftOut]]:
    """Safetensors before GGUF, and of several GGUF files the one that was asked for."""
    names = {file.path for file in chosen}
    weights = [file for file in chosen if file.path.lower().endswith(WEIGHTS)]
    ggufs = [file for file in weights if file.path.lower().endswith(".gguf")]
    if not weights:
        raise _no_weights(left_out)
    if "adapter_config.json" in names and "config.json" not in names:
        raise Trouble(
            "wrong_kind",
            "The repository holds an adapter (adapter_config.json), not a whole model.",
            "Take the base model that its card names.",
        )
    if len(ggufs) < len(weights):
        if asked or not ggufs:
            return chosen, []
        reason = "the same model is there as safetensors"
        return [f for f in chosen if f not in ggufs], [_left_out(f, reason) for f in ggufs]
    if len({_SHARD.sub("", file.path) for file in ggufs}) > 1:
        some = ", ".join(PurePosixPath(file.path).name for file in ggufs[:6])
        raise Trouble(
            "several_models",
            f"The repository holds {len(ggufs)} GGUF files, each a model of its own: {some}"
            + (", …" if len(ggufs) > 6 else "."),
            'Say which one by allow_patterns, such as ["*Q4_K_M.gguf"].',
        )
    return chosen, []


def _no_weights(left_out: list[LeftOut]) -> Trouble:
    by_pattern = any(
        file["reason"].startswith("the patterns") and file["path"].lower().endswith(WEIGHTS)
        for file in left_out
    )
    if by_pattern:
        return Trouble(
            "nothing_matches",
            "The patterns leave out all of the weights.",
            "Look at allow_patterns and ignore_patterns; * stands for any part of a path.",
        )
    pickles = [file["path"] for file in left_out if file["path"].lower().endswith(PICKLES)]
    if pickles:
        return Trouble(
            "only_pickles",
            f"The repository has its weights as pickles only ({pickles[0]}), which may run code "
            "when they are opened and are never fetched.",
            "Look for a revision or a copy of the model with safetensors.",
        )
    return Trouble(
        "no_weights",
        "The repository holds no safetensors and no GGUF file, so there is no model in it.",
        "Look at the repository's page: is it a model, and are its files in this revision?",
    )


def _no_rows(files: list[RemoteFile], left_out: list[LeftOut]) -> Trouble:
    if any(file["reason"].startswith("the patterns") for file in left_out):
        return Trouble(
            "nothing_matches",
            "No file of the repository matches the patterns.",
            "Look at allow_patterns and ignore_patterns; * stands for any part of a path.",
        )
    if any(file.path.endswith(".py") for file in files):
        return Trouble(
            "only_code",
            "The dataset is made by a script of its own, which is never run here; it has no files "
            "of rows.",
            "Many such datasets have been converted: try the revision refs/convert/parquet.",
        )
    return Trouble("empty", "The repository has no files that could be taken.")
