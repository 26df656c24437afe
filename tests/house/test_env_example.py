"""`.env.example` lists the variables that settings.py reads: all of them, and no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "platform" / "trainyard" / "settings.py"
EXAMPLE = ROOT / ".env.example"


def read_by_settings() -> set[str]:
    """The first argument of every call `env.something("NAME", ...)`."""
    calls = (
        node for node in ast.walk(ast.parse(SETTINGS.read_text())) if isinstance(node, ast.Call)
    )
    return {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "env"
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    } | {"HF_HOME"}


def listed() -> dict[str, str]:
    """Each variable with the comment above it."""
    pairs = re.findall(r"^# (.+)\n#?([A-Z_]+)=", EXAMPLE.read_text(), re.M)
    return {name: comment for comment, name in pairs}


def test_every_variable_that_is_read_is_listed_with_a_line_about_it() -> None:
    assert read_by_settings() - set(listed()) == set()


def test_no_variable_is_listed_that_nobody_reads() -> None:
    assert set(listed()) - read_by_settings() == set()


def test_nothing_is_set_in_the_example_itself() -> None:
    assert re.findall(r"^[A-Z_]+=.*", EXAMPLE.read_text(), re.M) == []
