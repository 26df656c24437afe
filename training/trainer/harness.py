"""Where the tasks of lm-evaluation-harness are described, and what data they need.

The harness itself reads all of its 14,000 descriptions before it does anything, and imports torch.
Here only the lines with the names are read at first, and of the tasks in question the rest. The
platform asks the same questions before a job is created, so: no torch, nothing but YAML.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# The harness's own names beside those that people know.
ALIASES = {"truthful_qa": "truthfulqa"}
MAX_NEW_TOKENS = 256  # of a task that does not say (HFLM.max_gen_toks)
DEEPEST = 8  # descriptions that include others that include others
# Not names of datasets but of readers of files.
FILE_READERS = frozenset({"json", "csv", "parquet", "text", "arrow"})

_NAME = re.compile(rb"""^["']?(?:task|group)["']?:[ \t]*(\S.*)""", re.MULTILINE)
_TAGS, _INCLUDES = (
    re.compile(rb"""^["']?%s["']?:[ \t]*(\S.*|(?:\n[ \t]*-[ \t]*.+)+)""" % key, re.MULTILINE)
    for key in (b"tag", b"include")
)


class NoSuchTask(LookupError):
    """The harness has no task, group or tag of this name."""


@dataclass(frozen=True, order=True)
class Data:
    """What a task reads: a dataset of the hub with one of its configurations, or local files."""

    path: str
    name: str = ""
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join(self.files) if self.files else f"{self.path} {self.name}".strip()


def harness_name(suite: str) -> str:
    return ALIASES.get(suite, suite)


def needs(suite: str, include_path: str) -> set[Data]:
    """The data of a task, or of all the tasks of a group. Raises NoSuchTask."""
    found: set[Data] = set()
    for description in descriptions(suite, include_path):
        found |= _data_of(_read(description))
    return found


def writes(suite: str, include_path: str) -> int:
    """How many tokens its tasks let a model write at most; 0 where it only chooses. Raises
    NoSuchTask."""
    contents = map(_read, descriptions(suite, include_path))
    found = ((one.get("output_type"), one.get("generation_kwargs")) for one in contents)
    return max((tokens_written(*each) for each in found), default=0)


def tokens_written(output_type: Any, generation_kwargs: Any) -> int:
    """By these two words of a task's description, whatever stands there."""
    if output_type != "generate_until":
        return 0
    settings = generation_kwargs if isinstance(generation_kwargs, dict) else {}
    limit = settings.get("max_gen_toks")
    return limit if isinstance(limit, int) else MAX_NEW_TOKENS


def is_here(data: Data, include_path: str) -> bool:
    """Whether the `datasets` library will find it without a network."""
    if data.files:
        return all((Path(include_path) / file).is_file() for file in data.files)
    if (Path(include_path) / data.path).is_dir():
        return True
    *namespace, short = data.path.split("/")
    folder = _cache() / "___".join([*namespace, _snake_case(short)])
    return any(folder.glob(f"{data.name or '*'}/*/*"))


def descriptions(suite: str, include_path: str) -> list[Path]:
    """The files that describe a task, or a group with its tasks. Raises NoSuchTask."""
    index = {**_index(_own_folder()), **(_fresh_index(include_path) if include_path else {})}
    return list(dict.fromkeys(_walk(harness_name(suite), index, set())))


def members(name: str, include_path: str) -> list[str]:
    """The tasks that carry this tag. Raises NoSuchTask."""
    contents = [_read(path) for path in descriptions(name, include_path)]
    return [str(content["task"]) for content in contents if isinstance(content.get("task"), str)]


def fetch_command(suites: tuple[str, ...] | list[str]) -> str:
    """What to run, where there is a network, to get the data of these suites."""
    return f"HF_HOME={_home()} python -m training.trainer.suites {' '.join(suites)}"


def folders(suites: tuple[str, ...], include_path: str) -> list[str]:
    """The folders that the harness has to look through to know these suites. Raises NoSuchTask."""
    own = _own_folder()
    families = {
        own / path.relative_to(own).parts[0]
        for suite in suites
        for path in descriptions(suite, include_path)
        if path.is_relative_to(own)
    }
    return [*sorted(map(str, families)), *([include_path] if include_path else [])]


def _walk(name: str, index: dict[str, list[Path]], seen: set[str]) -> Iterator[Path]:
    if name in seen:
        return
    seen.add(name)
    if name not in index:
        raise NoSuchTask(name)
    for path in index[name]:
        yield path
        content = _read(path)
        if content.get("group") != name:
            continue
        members = content.get("task")
        for member in members if isinstance(members, list) else [members]:
            known = member.get("task", member.get("group")) if isinstance(member, dict) else member
            if isinstance(known, str) and known in index:
                yield from _walk(known, index, seen)


def _data_of(content: dict[str, Any]) -> set[Data]:
    path = content.get("dataset_path")
    if not isinstance(path, str):
        return set()
    if path not in FILE_READERS:
        return {Data(path, str(content.get("dataset_name") or ""))}
    arguments = content.get("dataset_kwargs")
    files = arguments.get("data_files") if isinstance(arguments, dict) else None
    by_split = files if isinstance(files, dict) else {"": files}
    names = [name for value in by_split.values() for name in _words(value)]
    return {Data(path, files=tuple(names))}


@functools.cache
def _own_folder() -> Path:
    """Where the harness keeps its descriptions; found without importing it."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise NoSuchTask("lm_eval is not installed")
    return Path(spec.submodule_search_locations[0]) / "tasks"


@functools.cache
def _index(folder: Path) -> dict[str, list[Path]]:
    """Files by the names of the tasks, groups and tags in them: a second, once."""
    index: dict[str, list[Path]] = {}
    read = functools.cache(_bytes_of)
    for path in sorted(folder.rglob("*.yaml")):
        names = [_plain(name) for name in _NAME.findall(read(path))]
        for name in [*names, *(_tags(path, read) if names else ())]:
            index.setdefault(name, []).append(path)
    return index


def _bytes_of(path: Path) -> bytes:
    """Empty where there is no such file: who wants to use the task is told."""
    return path.read_bytes() if path.is_file() else b""


def _tags(path: Path, read: Callable[[Path], bytes], depth: int = 0) -> list[str]:
    """Its own, or where it has none those of the descriptions that it includes."""
    if own := _listed(_TAGS, read(path)):
        return own
    included = _listed(_INCLUDES, read(path)) if depth < DEEPEST else []
    return [tag for name in included for tag in _tags(path.parent / name, read, depth + 1)]


def _listed(key: re.Pattern[bytes], content: bytes) -> list[str]:
    """What stands behind the key, on its line or as a list below it."""
    return [_plain(line) for found in key.findall(content) for line in found.strip().split(b"\n")]


def _plain(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip().lstrip("-").strip().strip("\"'")


def _fresh_index(include_path: str) -> dict[str, list[Path]]:
    """As `_index`, of a folder that changes."""
    return _index.__wrapped__(Path(include_path))


class _Loader(yaml.SafeLoader):
    """Leaves functions alone."""


_Loader.add_constructor("!function", lambda _loader, _node: None)


def _words(value: Any) -> list[str]:
    """One, or a list of them; of anything else none."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _read(path: Path, depth: int = 0) -> dict[str, Any]:
    """A description with those that it includes. Raises NoSuchTask where it is not YAML."""
    return _read_once(path) if path.is_relative_to(_own_folder()) else _parsed(path, depth)


@functools.cache
def _read_once(path: Path) -> dict[str, Any]:
    """The harness's own do not change, and mmlu alone is 62 files."""
    return _parsed(path, 0)


def _parsed(path: Path, depth: int) -> dict[str, Any]:
    if depth > DEEPEST:
        raise NoSuchTask(f"{path.name} includes itself")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise NoSuchTask(f"{path.name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise NoSuchTask(f"{path.name} is not a description of a task")
    whole: dict[str, Any] = {}
    for name in _words(content.pop("include", None)):
        whole |= _read(path.parent / name, depth + 1)
    return whole | content


def _home() -> Path:
    return Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))


def _cache() -> Path:
    """Where `datasets` keeps what it has prepared."""
    return Path(os.environ.get("HF_DATASETS_CACHE", _home() / "datasets"))


def _snake_case(name: str) -> str:
    """As `datasets` does it with the last part of a dataset's name."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", name).lower()
