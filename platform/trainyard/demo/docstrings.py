"""Real text: what the installed Python's standard library says about itself.

A row's prompt is a signature with the name of its module, its completion the first line of the
docstring. The sources are parsed, never imported. The split is by module: no module is in both.
"""

from __future__ import annotations

import ast
import random
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from trainyard.demo.rows import Row, write_splits

VALIDATION_SHARE = 0.1
# Not the library's own text, or not about what a signature does.
SKIPPED = {"__pycache__", "_bundled", "dist-packages", "lib2to3", "site-packages", "test", "tests"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def standard_library() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def modules(library: Path) -> dict[str, Path]:
    """Each module's dotted name and its file, in order of name."""
    found: dict[str, Path] = {}
    for path in library.rglob("*.py"):
        parts = path.relative_to(library).with_suffix("").parts
        if not SKIPPED.intersection(parts):
            found[".".join(parts).removesuffix(".__init__")] = path
    return dict(sorted(found.items()))


def functions(node: ast.AST, owner: str) -> Iterator[tuple[str, Function]]:
    """Functions and methods in ``node``, each with the dotted name of what holds it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield owner, child
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{owner}.{child.name}")
        else:  # an ``if`` or ``try`` around definitions
            yield from functions(child, owner)


def signature(function: Function) -> str:
    """``def name(args) -> result:``, without the body."""
    kind = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"{kind} {function.name}({ast.unparse(function.args)}){returns}:"


def module_rows(module: str, source: str) -> list[Row]:
    """A row for each documented function. Raises SyntaxError for a source that is not Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes in the library's strings are not our concern
        tree = ast.parse(source)
    rows: list[Row] = []
    for owner, function in functions(tree, module):
        summary = (ast.get_docstring(function) or "").strip().partition("\n")[0].strip()
        if summary:
            prompt = f'# {owner}\n{signature(function)}\n    """'
            rows.append(Row(prompt=prompt, completion=summary))
    return rows


def rows_by_module(library: Path) -> dict[str, list[Row]]:
    """All rows, without those whose signature or summary was seen before: no summary is learned
    in one module and asked for in another."""
    seen: set[str] = set()
    kept: dict[str, list[Row]] = {}
    for module, path in modules(library).items():
        try:
            rows = module_rows(module, path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue  # a template or a sample of a broken file
        for row in rows:
            if seen.isdisjoint(row.values()):
                seen.update((row["prompt"], row["completion"]))
                kept.setdefault(module, []).append(row)
    return kept


def splits(*, seed: int = 0, library: Path | None = None) -> tuple[list[Row], list[Row]]:
    """The train and the validation rows: whole modules, in a random order, go to validation until
    it has its share."""
    by_module = rows_by_module(library or standard_library())
    wanted = VALIDATION_SHARE * sum(len(rows) for rows in by_module.values())
    order = sorted(by_module)
    random.Random(seed).shuffle(order)
    train: list[Row] = []
    validation: list[Row] = []
    for module in order:
        (validation if len(validation) < wanted else train).extend(by_module[module])
    return train, validation


def write(folder: Path, *, seed: int = 0) -> None:
    """Make ``folder`` with train.jsonl and validation.jsonl in it."""
    train, validation = splits(seed=seed)
    write_splits(folder, train, validation)
