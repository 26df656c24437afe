"""Real text: the docstrings of the Python that runs the tests, split by module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from trainyard.demo import docstrings
from trainyard.demo.rows import Row


@pytest.fixture(scope="module")
def made() -> tuple[list[Row], list[Row]]:
    return docstrings.splits()


def owner(row: Row) -> str:
    return row["prompt"].partition("\n")[0].removeprefix("# ")


def test_there_are_thousands_of_rows_and_none_is_empty(made):
    train, validation = made
    assert len(train) >= 2000
    assert 0.05 < len(validation) / (len(train) + len(validation)) < 0.25
    assert all(row["prompt"].strip() and row["completion"].strip() for row in train + validation)


def test_no_module_is_in_both_splits(made):
    modules = docstrings.modules(docstrings.standard_library())
    train, validation = ({module_of(owner(row), modules) for row in split} for split in made)
    assert train
    assert validation
    assert not train & validation


def module_of(name: str, modules: dict[str, Path]) -> str:
    """The longest module name that ``name`` begins with: the rest are classes."""
    while name not in modules:
        name = name.rpartition(".")[0]
        assert name
    return name


def test_no_summary_and_no_signature_is_there_twice(made):
    for field in ("prompt", "completion"):
        seen = [row[field] for row in made[0] + made[1]]
        assert len(seen) == len(set(seen))


def test_the_same_seed_makes_the_same_split(made):
    assert docstrings.splits() == made
    assert docstrings.splits(seed=1) != made


def test_a_row_is_a_signature_that_python_understands_and_its_first_line(made):
    train, validation = made
    prompts = {row["prompt"]: row["completion"] for row in train + validation}
    told = prompts['# json.decoder.JSONDecoder\ndef raw_decode(self, s, idx=0):\n    """']
    assert told.startswith("Decode a JSON document")
    for prompt in list(prompts)[::50]:
        ast.parse(prompt + '"""')


def test_methods_async_functions_and_guarded_ones_are_found_and_inner_ones_are_not():
    source = '''
class Shop:
    async def open(self, *, hour: int = 9) -> bool:
        """Open the shop.

        More about it."""

if True:
    def close():
        """Close
        it."""
        def inner():
            """Nobody sees this."""

def silent(): pass
def blank():
    """   """
'''
    assert docstrings.module_rows("town", source) == [
        Row(
            prompt='# town.Shop\nasync def open(self, *, hour: int=9) -> bool:\n    """',
            completion="Open the shop.",
        ),
        Row(prompt='# town\ndef close():\n    """', completion="Close"),
    ]


def test_files_that_are_not_python_and_the_libraries_tests_are_left_out(tmp_path: Path):
    for name in ("good.py", "broken.py", "test/test_good.py", "site-packages/other.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'def f():\n    """What {name} does."""\n')
    (tmp_path / "broken.py").write_text("def f(:\n")
    assert list(docstrings.rows_by_module(tmp_path)) == ["good"]
