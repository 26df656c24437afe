"""How many tokens rows are, counted once with the model's own tokenizer."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from registry.models import BaseModel, Dataset
from tests.factories import make_dataset, make_model
from tests.registry.files import write_rows
from tests.training.trainer import tiny
from training import token_counts
from training.models import TokenCount
from training.preflight import Lengths
from training.trainer import counting
from training.trainer.counting import Order
from training.trainer.data.files import RowFiles
from training.trainer.data.load import load_rows
from training.trainer.plain_tokenizer import PlainTokenizer
from training.trainer.spec import BaseModelSpec, DatasetSpec, RunSpec, TrainSpec

USER, ASSISTANT = "user", "assistant"
ROWS: dict[str, list[dict[str, Any]]] = {
    "prompt_completion": [
        {"prompt": f"{n} plus {n} is" * n, "completion": f" {n}"} for n in (1, 7)
    ],
    "text": [{"text": "a sum of two digits " * n} for n in (1, 4, 9)],
    "messages": [
        {
            "messages": [
                {"role": USER, "content": "how much is it" * n},
                {"role": ASSISTANT, "content": "seven"},
            ]
        }
        for n in (1, 5)
    ],
    "conversation": [
        {
            "prompt": [{"role": USER, "content": "how much is it" * n}],
            "completion": [{"role": ASSISTANT, "content": "seven"}],
        }
        for n in (2, 6)
    ],
}


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.make_tokenizer(bos_token="<eos>").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ROWS)
def test_rows_are_as_long_as_the_trainer_finds_them(
    kind: str, tokenizer_folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    path = tmp_path / "train.jsonl"
    write_rows(path, ROWS[kind])
    spec = RunSpec(
        run_id="1",
        name="n",
        method="lora",
        base_model=BaseModelSpec(path=str(tokenizer_folder)),
        dataset=DatasetSpec(train=(str(path),)),
        export_dir="",
        train=TrainSpec(max_length=10_000),
    )
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    theirs = load_rows(RowFiles((str(path),)), tokenizer, spec).rows
    ours = counting.count(Order(model=str(tokenizer_folder), files=(str(path),)))
    assert ours.problem == ""
    assert ours.complete
    assert ours.lengths == sorted(Counter(row.length for row in theirs).items())


@pytest.mark.parametrize("max_length", [6, 20, 60, 10_000])
def test_what_is_cut_and_left_out_is_what_the_trainer_cuts_and_leaves_out(
    max_length: int, tokenizer_folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    path = tmp_path / "train.jsonl"
    words = [(n, 12 - n) for n in range(1, 12)]
    write_rows(path, [{"prompt": "six " * a, "completion": "ten " * b} for a, b in words])
    spec = RunSpec(
        run_id="1",
        name="n",
        method="lora",
        base_model=BaseModelSpec(path=str(tokenizer_folder)),
        dataset=DatasetSpec(train=(str(path),)),
        export_dir="",
        train=TrainSpec(max_length=max_length),
    )
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    theirs = load_rows(RowFiles((str(path),)), tokenizer, spec)
    found = counting.count(Order(model=str(tokenizer_folder), files=(str(path),)))
    ours = Lengths.of(found.lengths, begins=found.begins)
    assert ours is not None
    assert round(ours.left_out(max_length) * ours.rows) == theirs.dropped
    if theirs.rows:
        kept = Counter(row.length for row in theirs.rows)
        assert ours.learned(max_length).counts == tuple(sorted(kept.items()))


def test_of_two_answers_both_count_and_the_longer_one_is_set_beside_its_characters(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    write_rows(
        path, [{"prompt": "one and one", "chosen": " is two", "rejected": " is eleven or so"}]
    )
    order = Order(model=str(tokenizer_folder), files=(str(path),), kind="preference")
    found = counting.count(order)
    assert sum(rows for _, rows in found.lengths) == 2
    longer = found.lengths[-1][0]
    assert found.rows == [(len("one and one is eleven or so"), longer)]


def test_a_label_is_none_of_the_tokens(tokenizer_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_rows(path, [{"text": "abc", "label": "good"}])
    order = Order(model=str(tokenizer_folder), files=(str(path),), kind="labelled")
    whole = PlainTokenizer.load(tokenizer_folder).whole("abc")
    assert counting.count(order).lengths == [(len(whole), 1)]


def test_of_a_large_file_rows_from_all_over_are_counted(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    path, drawn = tmp_path / "train.jsonl", random.Random(1)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(12_000):
            file.write(json.dumps({"text": "seven plus " * drawn.randint(1, 20)}) + "\n")
    found = counting.count(Order(model=str(tokenizer_folder), files=(str(path),)))
    assert not found.complete
    assert 300 <= sum(rows for _, rows in found.lengths) <= counting.SAMPLED_LINES + 1
    mean = sum(tokens * rows for tokens, rows in found.lengths) / sum(r for _, r in found.lengths)
    assert mean == pytest.approx(
        10.5 * len(PlainTokenizer.load(tokenizer_folder).whole("seven plus ")), rel=0.15
    )


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "the model has no tokenizer.json"),
        ({"tokenizer.json": "[]"}, "tokenizer.json cannot be read"),
        ({"tokenizer.json": "{"}, "tokenizer.json cannot be read"),
    ],
)
def test_what_is_no_tokenizer_is_said(files: dict[str, str], problem: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    write_rows(tmp_path / "train.jsonl", ROWS["text"])
    found = counting.count(Order(model=str(tmp_path), files=(str(tmp_path / "train.jsonl"),)))
    assert found.problem.startswith(problem)


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no') }}",
        "{{ messages.pop() }}",
        "{% broken",
        "{{ ''.__class__.mro() }}",
    ],
)
def test_a_template_that_refuses_or_attacks_is_said(
    template: str, tokenizer_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_bytes((tokenizer_folder / "tokenizer.json").read_bytes())
    (tmp_path / "chat_template.jinja").write_text(template)
    write_rows(tmp_path / "train.jsonl", ROWS["messages"])
    found = counting.count(Order(model=str(tmp_path), files=(str(tmp_path / "train.jsonl"),)))
    assert "the chat template refuses this conversation" in found.problem


# --- remembered ----------------------------------------------------------------------------------


@pytest.fixture
def pair(db: None, tokenizer_folder: Path, tmp_path: Path) -> tuple[BaseModel, Dataset]:
    write_rows(tmp_path / "train.jsonl", ROWS["text"])
    dataset = make_dataset(
        storage_path=str(tmp_path),
        checksum="a" * 64,
        statistics={"lengths": {"train": [[20, 3]], "validation": [[40, 2]]}, "max_characters": 40},
    )
    return make_model(storage_path=str(tokenizer_folder), checksum="b" * 64), dataset


@pytest.fixture
def never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_counts, "COMMAND", ["/nonexistent"])


def test_rows_are_counted_once_and_then_remembered(
    pair: tuple[BaseModel, Dataset], monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    first = token_counts.lengths_of(*pair, method="lora").train
    assert first is not None
    assert (first.basis, first.rows) == ("counted", 3)
    monkeypatch.setattr(token_counts, "COMMAND", ["/nonexistent"])
    with django_assert_num_queries(1):
        again = token_counts.lengths_of(*pair, method="full")
    assert again.train is not None
    assert again.train.counts == first.counts
    # Of what is held out the characters are known, and how many a token has.
    assert again.held_out is not None
    assert (again.held_out.basis, again.held_out.rows) == ("sampled", 2)


@pytest.mark.usefixtures("never_again")
def test_what_cannot_be_counted_is_guessed_and_tried_again_later(
    pair: tuple[BaseModel, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = token_counts.lengths_of(*pair, method="lora").train
    assert found is not None
    assert (found.basis, found.counts, found.longest) == ("guessed", ((5, 3),), None)
    monkeypatch.undo()
    assert token_counts.lengths_of(*pair, method="lora").train.basis == "guessed"  # type: ignore[union-attr]
    TokenCount.objects.update(counted_at=timezone.now() - timedelta(hours=1))
    assert token_counts.lengths_of(*pair, method="lora").train.basis == "counted"  # type: ignore[union-attr]


def test_other_files_are_counted_anew(pair: tuple[BaseModel, Dataset]) -> None:
    model, dataset = pair
    token_counts.lengths_of(model, dataset, method="lora")
    dataset.checksum = "c" * 64
    write_rows(Path(dataset.storage_path) / "train.jsonl", ROWS["text"] * 2)
    again = token_counts.lengths_of(model, dataset, method="lora").train
    assert again is not None
    assert again.rows == 6
    assert TokenCount.objects.count() == 2
    dataset.delete()
    assert not TokenCount.objects.exists()


@pytest.mark.usefixtures("never_again")
def test_without_files_nobody_is_asked(db: None, django_assert_num_queries: Any) -> None:
    model, dataset = make_model(), make_dataset(statistics={})
    with django_assert_num_queries(0):
        found = token_counts.lengths_of(model, dataset, method="lora")
    assert found == token_counts.RowLengths()
    assert not TokenCount.objects.exists()
