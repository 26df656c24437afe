"""Which files of a repository come, and what is said where none do."""

from __future__ import annotations

import pytest

from registry.hub.selection import RemoteFile, choose
from registry.hub.trouble import Trouble

MODEL = ["config.json", "model.safetensors", "tokenizer.json", "README.md", "LICENSE"]


def chosen(
    makes: str, paths: list[str], allow: list[str] | None = None, ignore: list[str] | None = None
) -> list[str]:
    files = [RemoteFile(path, 10) for path in paths]
    files, left_out = choose(makes, files, allow or [], ignore or [])
    assert {f.path for f in files} | {f["path"] for f in left_out} == set(paths)
    return sorted(file.path for file in files)


def test_of_a_model_come_its_weights_and_what_stands_beside_them() -> None:
    others = ["pytorch_model.bin", "modeling.py", "tf_model.h5", ".gitattributes", "onnx/m.onnx"]
    assert chosen("model", [*MODEL, *others]) == sorted(MODEL)


def test_pickles_and_code_stay_even_when_they_are_asked_for() -> None:
    assert chosen("model", [*MODEL, "x.py", "x.bin"], ["*"]) == sorted(MODEL)
    assert chosen("dataset", ["a.jsonl", "a.py", "a.pkl"], ["*"]) == ["a.jsonl"]


def test_patterns_choose_and_leave_out() -> None:
    paths = ["data/a.parquet", "data/b.parquet", "more/c.parquet"]
    assert chosen("dataset", paths, ["data/"], ["*b*"]) == ["data/a.parquet"]


def test_safetensors_come_before_gguf_unless_it_is_asked_for() -> None:
    paths = [*MODEL, "m-q4.gguf"]
    assert chosen("model", paths) == sorted(MODEL)
    assert chosen("model", paths, ["*.gguf"]) == ["m-q4.gguf"]


def test_the_shards_of_one_gguf_are_one_model() -> None:
    shards = [f"m-0000{n}-of-00002.gguf" for n in (1, 2)]
    assert chosen("model", shards) == shards


@pytest.mark.parametrize(
    ("makes", "paths", "allow", "code", "words"),
    [
        ("model", ["pytorch_model.bin", "config.json"], [], "only_pickles", "as pickles"),
        ("model", ["README.md"], [], "no_weights", "no safetensors and no GGUF"),
        ("model", MODEL, ["*.json"], "nothing_matches", "leave out all of the weights"),
        (
            "model",
            ["a-q4.gguf", "a-q8.gguf"],
            [],
            "several_models",
            "each a model of its own",
        ),
        (
            "model",
            ["adapter_config.json", "adapter_model.safetensors"],
            [],
            "wrong_kind",
            "holds an adapter",
        ),
        ("dataset", ["rows.py"], [], "only_code", "script of its own"),
        ("dataset", ["a.jsonl"], ["*.csv"], "nothing_matches", "No file"),
        ("dataset", [".gitattributes"], [], "empty", "no files"),
    ],
)
def test_where_nothing_useful_comes_it_says_why(
    makes: str, paths: list[str], allow: list[str], code: str, words: str
) -> None:
    with pytest.raises(Trouble, match=words) as caught:
        chosen(makes, paths, allow)
    assert caught.value.kind == code
    assert caught.value.message.endswith(".")
