"""Rows with preferences and with labels: what is read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.trainer import styles, tiny
from training.trainer.data import labelled, preferences
from training.trainer.data.files import RowFiles
from training.trainer.data.load import load_blocks
from training.trainer.data.tokens import Row
from training.trainer.failures import BadData
from training.trainer.objectives.classification import open_image
from training.trainer.spec import BadSpec, RunSpec

USER = {"role": "user", "content": "2 plus 3"}


def said(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def text_of(row: Row, tokenizer: Any) -> tuple[str, str]:
    """What does not carry loss, and what does."""
    return tokenizer.decode(row.ids[~row.loss]), tokenizer.decode(row.ids[row.loss])


def load_40(load: Any, file: Path, tokenizer: Any) -> Any:
    """With rows of up to 40 tokens."""
    return load(RowFiles((str(file),)), tokenizer, make_spec("dpo", max_length=40))


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "2 plus 3 is", "chosen": " 5", "rejected": " 6"}, "2 plus 3 is"),
        ({"chosen": "2 plus 3 is 5", "rejected": "2 plus 3 is 6"}, "2 plus 3 is"),
        (
            {"prompt": [USER], "chosen": [said("5")], "rejected": [said("6")]},
            "<|user|>2 plus 3<eos>\n<|assistant|>",
        ),
        (
            {"chosen": [USER, said("5")], "rejected": [USER, said("6")]},
            "<|user|>2 plus 3<eos>\n<|assistant|>",
        ),
        (
            {"prompt": "2 plus 3", "chosen": [USER, said("5")], "rejected": [USER, said("6")]},
            "<|user|>2 plus 3<eos>\n<|assistant|>",
        ),
    ],
)
def test_pairs_of_every_form(
    row: dict[str, Any], prompt: str, tokenizer: Any, tmp_path: Path
) -> None:
    file = tiny.write_rows(tmp_path / "train.jsonl", [row])
    (pair,) = preferences.load_pairs(
        RowFiles((str(file),)), tokenizer, make_spec("dpo", max_length=40)
    ).rows
    assert text_of(pair.first, tokenizer)[0] == text_of(pair.second, tokenizer)[0] == prompt
    assert text_of(pair.first, tokenizer)[1].split("<eos>")[0].strip() == "5"
    assert text_of(pair.second, tokenizer)[1].split("<eos>")[0].strip() == "6"
    assert pair.length == pair.first.length + pair.second.length


def test_pairs_are_cut_and_dropped_like_rows(tokenizer: Any, tmp_path: Path) -> None:
    rows = [
        {"prompt": "2 plus 3 is", "chosen": " 5", "rejected": " " + "6" * 100},
        {"prompt": "1" * 100, "chosen": " 5", "rejected": " 6"},
    ]
    file = tiny.write_rows(tmp_path / "train.jsonl", rows)
    loaded = preferences.load_pairs(
        RowFiles((str(file),)), tokenizer, make_spec("dpo", max_length=40)
    )
    assert (len(loaded.rows), loaded.truncated, loaded.dropped) == (1, 1, 1)
    assert loaded.rows[0].second.length == 40


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"chosen": "a", "rejected": ["b"]}, "both be text, or both lists"),
        ({"chosen": "2 is 2", "rejected": "2 is 2"}, "no answer can be told"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "prompt must be text"),
        ({"prompt": "a", "completion": "b"}, "learns from rows of kind preference"),
    ],
)
def test_pairs_that_cannot_be_are_refused(
    row: dict[str, Any], words: str, tokenizer: Any, tmp_path: Path
) -> None:
    file = tiny.write_rows(tmp_path / "train.jsonl", [row])
    with pytest.raises(BadData, match=words):
        load_40(preferences.load_pairs, file, tokenizer)


def test_judged_rows_stand_beside_the_answer_of_another(tokenizer: Any, tmp_path: Path) -> None:
    rows = [
        {"prompt": "1 plus 1 is", "completion": " 2", "label": True},
        {"prompt": "2 plus 3 is", "completion": " 9", "label": False},
        {"prompt": "4 plus 4 is", "completion": " 8", "label": True},
    ]
    file = tiny.write_rows(tmp_path / "train.jsonl", rows)
    pairs = preferences.load_judged(
        RowFiles((str(file),)), tokenizer, make_spec("kto", max_length=40)
    ).rows
    assert [pair.desirable for pair in pairs] == [True, True, False]
    assert [text_of(pair.first, tokenizer) for pair in pairs] == [
        ("1 plus 1 is", " 2<eos>"),
        ("4 plus 4 is", " 8<eos>"),
        ("2 plus 3 is", " 9<eos>"),
    ]
    assert [text_of(pair.second, tokenizer) for pair in pairs] == [
        ("1 plus 1 is", " 9<eos>"),
        ("4 plus 4 is", " 2<eos>"),
        ("2 plus 3 is", " 8<eos>"),
    ]


def test_a_pair_is_two_judged_rows(tokenizer: Any, tmp_path: Path) -> None:
    file = tiny.write_rows(tmp_path / "train.jsonl", styles.preferences()[:5])
    pairs = preferences.load_judged(
        RowFiles((str(file),)), tokenizer, make_spec("kto", max_length=40)
    ).rows
    assert [pair.desirable for pair in pairs] == [True] * 5 + [False] * 5


def test_documents_lie_one_behind_the_other(tokenizer: Any, tmp_path: Path) -> None:
    texts = ["1 plus 1 is 2", "2 plus 3 is 5", "9 plus 9 is 18"]
    file = tiny.write_rows(tmp_path / "train.jsonl", [{"text": text} for text in texts])
    spec = make_spec("pretrain", max_length=7)
    loaded = load_blocks(RowFiles((str(file),)), tokenizer, spec)
    assert [row.length for row in loaded.rows[:-1]] == [7] * (len(loaded.rows) - 1)
    assert 2 <= loaded.rows[-1].length <= 7
    assert all(row.loss.all() for row in loaded.rows)
    ids = np.concatenate([row.ids for row in loaded.rows])
    assert tokenizer.decode(ids) == "<eos>".join([*texts, ""])


def test_labels_are_numbered_in_their_order() -> None:
    def names(*labels: str | int) -> list[str]:
        return labelled.names_of(labels)

    assert names("b", "a", "b") == ["a", "b"]
    assert names(10, 9, 2) == ["2", "9", "10"]
    with pytest.raises(BadData, match="1 different labels"):
        names("a", "a")


def test_texts_are_cut_with_their_label(tokenizer: Any, tmp_path: Path) -> None:
    rows = [{"text": "1 plus 1 is 2", "label": 1}, {"text": "1" * 99, "label": 0}]
    file = tiny.write_rows(tmp_path / "train.jsonl", rows)
    spec = make_spec("text_classification", max_length=40)
    kept = labelled.load_texts(RowFiles((str(file),)), tokenizer, spec)
    loaded = labelled.numbered(kept, {"0": 0, "1": 1})
    assert [row.label for row in loaded.rows] == [1, 0]
    assert tokenizer.decode(loaded.rows[0].ids) == "1 plus 1 is 2"
    assert (loaded.rows[1].length, loaded.truncated) == (40, 1)
    with pytest.raises(BadData, match=r"line 2: the label 0 is not among .*\(1\)"):
        labelled.numbered(kept, {"1": 0})


def test_images_come_from_folders_and_from_rows(tmp_path: Path) -> None:
    folder = styles.make_images(tmp_path / "train", 2)
    (folder / "red" / "notes.txt").write_text("no image")
    found = [(row.label, row.what.name) for row in labelled.read_images(RowFiles((str(folder),)))]
    assert found == [(c, f"{n}.png") for c in sorted(styles.COLOURS) for n in range(2)]
    rows = [{"image": "train/red/0.png", "label": "warm"}]
    file = tiny.write_rows(tmp_path / "rows.jsonl", rows)
    (row,) = labelled.read_images(RowFiles((str(file),)))
    assert (row.label, row.what) == ("warm", folder / "red" / "0.png")
    assert open_image(row.what).size == (24, 20)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("../secret.png", "outside of the dataset's folder"),
        ("/etc/passwd", "outside of the dataset's folder"),
        ("gone.png", "there is no image"),
        (7, "must be the path"),
    ],
)
def test_an_image_that_cannot_be_is_refused(image: Any, words: str, tmp_path: Path) -> None:
    file = tmp_path / "data" / "train.jsonl"
    file.parent.mkdir()
    file.write_text(json.dumps({"image": image, "label": "a"}))
    with pytest.raises(BadData, match=words):
        list(labelled.read_images(RowFiles((str(file),))))


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(BadData, match=r"half\.png cannot be read"):
        open_image(tmp_path / "half.png")


def make_spec(method: str, **train: Any) -> RunSpec:
    return RunSpec.from_dict(
        {
            "run_id": "1",
            "name": "a run",
            "method": method,
            "base_model": {"path": "model"},
            "dataset": {"train": ["train.jsonl"]},
            "export_dir": "exports",
            "train": train,
        }
    )


@pytest.mark.parametrize(
    ("method", "train", "adapter", "four_bit"),
    [
        ("full", {}, False, False),
        ("lora", {"use_peft": True}, True, False),
        ("qlora", {"load_in_4bit": True}, True, True),
        ("dpo", {}, False, False),
        ("dpo", {"use_peft": True}, True, False),
        ("text_classification", {"use_peft": True, "load_in_4bit": True}, True, True),
    ],
)
def test_method_and_settings_say_what_is_trained(
    method: str, train: dict[str, Any], adapter: bool, four_bit: bool
) -> None:
    spec = make_spec(method, **train)
    assert (spec.uses_adapter, spec.four_bit) == (adapter, four_bit)


@pytest.mark.parametrize(
    ("method", "train", "words"),
    [
        ("full", {"beta": 0.2}, "beta: the method full has no such setting; it is one of dpo"),
        ("full", {"use_peft": True}, "use_peft: the method full"),
        ("lora", {"load_in_4bit": True}, "load_in_4bit: the method lora"),
        ("dpo", {"load_in_4bit": True}, "set use_peft too"),
        ("dpo", {"completion_only_loss": False}, "completion_only_loss: the method dpo"),
        ("dpo", {"loss_type": "hinge", "label_smoothing": 0.1}, "loss_type hinge has none"),
        ("dpo", {"beta": 0}, "beta: must be more than 0"),
        ("orpo", {"loss_type": "ipo"}, "loss_type: the method orpo"),
        ("kto", {"loss_type": "apo"}, "loss_type: must be one of sigmoid, hinge, ipo"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    method: str, train: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadSpec, match=words):
        make_spec(method, **train)
