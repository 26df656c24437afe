"""Code that comes with a model: which files, and their hash. It is read as bytes and never run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from registry import files
from registry.inspect.facts import BadModel, CodeNotApproved, CustomCode, Finding
from registry.inspect.json_file import read_object

# Transformers looks for auto_map in each of them.
ASKING = (
    "config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "generation_config.json",
)
Approval = Callable[[CustomCode], bool]


def nothing_is_approved(code: CustomCode) -> bool:
    return False


def approved_code(folder: Path, approves: Approval) -> CustomCode | None:
    """The code that this model loads with, None for none. Raises CodeNotApproved where nobody has
    approved it, BadModel where it is not even here."""
    asking = {name: found for name in ASKING if (found := _auto_map(folder / name))}
    if not asking:
        return None
    names = " and ".join(asking)
    if any("--" in reference for reference in _strings(list(asking.values()))):
        raise BadModel(
            f"Its {names} asks for code of another repository (auto_map), which is never fetched. "
            "Take a model whose architecture Transformers itself knows."
        )
    code = custom_code(folder)
    if not code.files:
        raise BadModel(
            f"Its {names} asks for code of its own (auto_map), and there is no .py file here. Take "
            "a model whose architecture Transformers itself knows."
        )
    if not approves(code):
        shown = ", ".join(sorted(code.files)[:5])
        raise CodeNotApproved(
            f"Its {names} asks for code of its own (auto_map: {shown}), which is not run here "
            f"until a staff member has read and approved it (SHA-256 {code.sha256}). Or take a "
            "model whose architecture Transformers itself knows.",
            code,
        )
    return code


def custom_code(folder: Path) -> CustomCode:
    """All Python files of the folder, whether anything asks for them or not."""
    paths = [path for path in files.regular_files(folder) if path.suffix == ".py"]
    hashed = files.hash_files(paths)
    found = {files.relative_name(folder, path): hashed[path].facts["sha256"] for path in paths}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(found.items()))
    return CustomCode(found, hashlib.sha256(lines.encode()).hexdigest())


def idle_code(folder: Path, code: CustomCode | None) -> Iterator[Finding]:
    """Python files that nothing asks for: harmless, and good to know of."""
    if code is None and (found := sorted(custom_code(folder).files)):
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        yield Finding(
            code="code_is_not_run",
            message=f"There is Python code beside the weights ({', '.join(found[:3])}{more}). "
            "Nothing asks for it, and it is never run.",
            fix="Nothing has to be done; remove it if it does not belong to the model.",
            file=found[0],
        )


def _auto_map(path: Path) -> Any:
    return read_object(path).get("auto_map") if path.is_file() else None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
