"""Rows become tokens, and exactly the right tokens carry loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.trainer import tiny
from training.trainer.data.examples import Examples
from training.trainer.data.files import RowFiles
from training.trainer.data.load import load_rows
from training.trainer.data.tokens import Row
from training.trainer.evaluate import questions_of
from training.trainer.failures import BadData
from training.trainer.objectives.language import collate
from training.trainer.spec import RunSpec

CHAT = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
    {"role": "assistant", "content": "d"},
]


@pytest.fixture
def load(tmp_path: Path, tokenizer: Any) -> Any:
    """``load([row, ...], max_length=...)``: the rows as the trainer reads them."""

    def load(rows: list[dict[str, Any]], tok: Any = tokenizer, **train: Any) -> Examples[Row]:
        file = tiny.write_rows(tmp_path / "train.jsonl", rows)
        return load_rows(RowFiles((str(file),)), tok, spec_of(train))

    return load


def spec_of(train: dict[str, Any] | None = None, **settings: Any) -> RunSpec:
    plain = {
        "run_id": "run",
        "name": "run",
        "method": "full",
        "base_model": {"path": "/nowhere"},
        "dataset": {"train": ["train.jsonl"]},
        "export_dir": "/nowhere",
        "train": train or {},
    }
    return RunSpec.from_dict({**plain, **settings})


def spelled(row: Row, tokenizer: Any) -> tuple[list[str], list[str]]:
    """The row's tokens, and those that carry loss."""
    tokens = tokenizer.convert_ids_to_tokens(row.ids.tolist())
    return tokens, [token for token, loss in zip(tokens, row.loss, strict=True) if loss]


def test_only_the_completion_and_its_end_carry_loss(load: Any, tokenizer: Any) -> None:
    (row,) = load([{"prompt": "xy", "completion": "zw"}]).rows
    assert spelled(row, tokenizer) == (["x", "y", "z", "w", "<eos>"], ["z", "w", "<eos>"])
    assert row.weight == 3


def test_the_prompt_carries_loss_too_where_it_is_asked_for(load: Any, tokenizer: Any) -> None:
    (row,) = load([{"prompt": "xy", "completion": "z"}], completion_only_loss=False).rows
    assert spelled(row, tokenizer)[1] == ["x", "y", "z", "<eos>"]
    assert row.weight == 3  # nothing predicts the first token


def test_all_of_a_text_carries_loss(load: Any, tokenizer: Any) -> None:
    (row,) = load([{"text": "xyz"}]).rows
    assert spelled(row, tokenizer) == (["x", "y", "z", "<eos>"], ["x", "y", "z", "<eos>"])


@pytest.mark.parametrize("template", [tiny.CHAT_TEMPLATE, tiny.MARKING_TEMPLATE])
def test_only_what_the_assistant_says_carries_loss(
    load: Any, tokenizer: Any, template: str
) -> None:
    marking = tiny.make_tokenizer()
    marking.chat_template = template
    (row,) = load([{"messages": CHAT}], marking).rows
    tokens, learned = spelled(row, marking)
    turns = [
        ["<|user|>", "a", "<eos>", "Ċ", "<|assistant|>", "b", "<eos>", "Ċ"],
        ["<|user|>", "c", "<eos>", "Ċ", "<|assistant|>", "d", "<eos>", "Ċ"],
    ]
    assert tokens == turns[0] + turns[1]
    # The template that marks answers leaves the line break out; the other cannot tell it apart.
    line_break = [] if template == tiny.MARKING_TEMPLATE else ["Ċ"]
    assert learned == ["b", "<eos>", *line_break, "d", "<eos>", *line_break]


def test_the_begin_token_is_read_and_not_learned(load: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny.make_tokenizer(bos_token="<|user|>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|user|> $A", special_tokens=[("<|user|>", tokenizer.bos_token_id)]
    )
    (row,) = load([{"prompt": "xy", "completion": "z"}], tokenizer).rows
    tokens = ["<|user|>", "x", "y", "z", "<eos>"]
    assert spelled(row, tokenizer) == (tokens, ["z", "<eos>"])
    (row,) = load([{"text": "x"}], tokenizer).rows
    assert spelled(row, tokenizer) == (["<|user|>", "x", "<eos>"], ["x", "<eos>"])


SAYS = "{{ m.content or '' }}{% for call in m.tool_calls or [] %}{{ call.name }}!{% endfor %}<eos>"
TOOL_TEMPLATE = (
    "{% for tool in tools or [] %}{{ tool.name }};{% endfor %}"
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.role == 'assistant' %}{% generation %}SAYS{% endgeneration %}"
    "{% else %}SAYS{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
).replace("SAYS", SAYS)


@pytest.mark.parametrize("marks", [True, False])
def test_calls_of_tools_carry_loss_and_their_results_do_not(load: Any, marks: bool) -> None:
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = TOOL_TEMPLATE
    if not marks:
        for tag in ("{% generation %}", "{% endgeneration %}"):
            tokenizer.chat_template = tokenizer.chat_template.replace(tag, "")
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "tool_calls": [{"name": "f"}]},
        {"role": "user", "content": "r"},  # what the tool answers, in many a template
        {"role": "assistant", "content": "b"},
    ]
    (row,) = load([{"messages": messages, "tools": [{"name": "f"}]}], tokenizer).rows
    user, assistant = "<|user|>", "<|assistant|>"
    turns = [
        ["f", ";", user, "a", "<eos>", assistant, "f", "!", "<eos>"],
        [user, "r", "<eos>", assistant, "b", "<eos>"],
    ]
    learned = ["f", "!", "<eos>", "b", "<eos>"]
    assert spelled(row, tokenizer) == (turns[0] + turns[1], learned)
    assert row.loss.tolist() == [False] * 6 + [True] * 3 + [False] * 4 + [True] * 2


def test_files_of_different_kinds_lose_no_row(tmp_path: Path) -> None:
    """One chat template marks what is learned; rows that are no messages have no use for it."""
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = tiny.MARKING_TEMPLATE
    one = tiny.write_rows(tmp_path / "1.jsonl", [{"messages": CHAT}])
    two = tiny.write_rows(tmp_path / "2.jsonl", [{"prompt": "x", "completion": "y"}])
    rows = load_rows(RowFiles((str(one), str(two))), tokenizer, spec_of()).rows
    assert [spelled(row, tokenizer)[1] for row in rows] == [["b", "<eos>", "d", "<eos>"],
                                                            ["y", "<eos>"]]  # fmt: skip


def test_a_template_that_marks_answers_may_refuse_a_conversation_too(load: Any) -> None:
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('never') }}" + tiny.MARKING_TEMPLATE
    with pytest.raises(BadData, match=r"line 1: .*never"):
        load([{"messages": CHAT}], tokenizer)


def test_a_completion_of_messages_carries_loss(load: Any, tokenizer: Any) -> None:
    (row,) = load([{"prompt": CHAT[:3], "completion": CHAT[3:]}]).rows
    assert spelled(row, tokenizer)[1] == ["d", "<eos>", "Ċ"]


def test_a_token_never_reaches_from_the_prompt_into_the_completion(load: Any) -> None:
    tokenizer = tiny.make_tokenizer()
    merged = " plus"
    assert len(tokenizer(merged)["input_ids"]) == 1
    (row,) = load([{"prompt": "1 pl", "completion": "us"}], tokenizer).rows
    prompt = tokenizer("1 pl")["input_ids"]
    assert row.ids.tolist()[: len(prompt)] == prompt
    assert tokenizer.decode(row.ids[row.loss]) == "us<eos>"


def test_rows_too_long_are_cut_and_rows_without_loss_left_out(load: Any) -> None:
    rows = load(
        [
            {"prompt": "xy", "completion": "z"},
            {"prompt": "xy", "completion": "zzzz"},  # cut
            {"prompt": "xyxyxyxy", "completion": "z"},  # the completion falls off
        ],
        max_length=4,
    )
    assert [len(row.ids) for row in rows.rows] == [4, 4]
    assert (rows.truncated, rows.dropped, rows.tokens) == (1, 1, 8)


def test_blank_lines_and_a_byte_order_mark_are_skipped(tmp_path: Path, tokenizer: Any) -> None:
    file = tmp_path / "train.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"text": "x"}\n\n  \r\n{"text": "y"}')
    assert len(load_rows(RowFiles((str(file),)), tokenizer, spec_of()).rows) == 2


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{not json", "train.jsonl, line 2: not JSON (Expecting property name"),
        ("[1]", "train.jsonl, line 2: a JSON object is expected, not list"),
        ('{"prompt": "x"}', "line 2: needs the fields prompt and completion, or messages, or text"),
        ('{"prompt": "x", "completion": 3}', "line 2: prompt and completion must both be text"),
        ('{"messages": []}', "line 2: messages must be a list of objects with a role"),
        ('{"messages": [{"content": "x"}]}', "line 2: messages must be a list of objects"),
        ('{"text": null}', "line 2: text must be a string"),
        ('{"text": "x"}', "line 2: a row of kind text, but train.jsonl, line 1 is of kind prompt"),
        (b'{"text": "\xff"}', "line 2: not UTF-8"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(
    tmp_path: Path, tokenizer: Any, line: str | bytes, complaint: str
) -> None:
    file = tmp_path / "train.jsonl"
    good = json.dumps({"prompt": "x", "completion": "y"}).encode()
    file.write_bytes(good + b"\n" + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    with pytest.raises(BadData) as caught:
        load_rows(RowFiles((str(file),)), tokenizer, spec_of())
    assert complaint in str(caught.value)


def test_a_missing_file_is_named(tokenizer: Any) -> None:
    with pytest.raises(BadData, match=r"gone\.jsonl: cannot be read"):
        load_rows(RowFiles(("/nowhere/gone.jsonl",)), tokenizer, spec_of())


def test_conversations_need_a_chat_template(load: Any) -> None:
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(BadData, match=r"line 1: .* no chat template"):
        load([{"messages": CHAT}], tokenizer)


def test_a_template_that_rewrites_earlier_turns_is_refused(load: Any) -> None:
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = "{{ messages | length }}" + tiny.CHAT_TEMPLATE
    with pytest.raises(BadData, match="line 1: the chat template writes the turns"):
        load([{"messages": CHAT}], tokenizer)


def test_a_template_that_refuses_a_conversation_names_the_row(load: Any) -> None:
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no system turn, please') }}"
    with pytest.raises(BadData, match=r"line 1: .*no system turn, please"):
        load([{"messages": CHAT}], tokenizer)


def test_a_question_is_the_last_thing_the_assistant_is_asked(
    tmp_path: Path, tokenizer: Any
) -> None:
    file = tiny.write_rows(tmp_path / "v.jsonl", [{"messages": CHAT}])
    (question,) = questions_of(RowFiles((str(file),)), tokenizer, limit=5)
    assert tokenizer.decode(question.ids).endswith("<|user|>c<eos>\n<|assistant|>")
    assert question.answer == "d"
    assert question.end_ids == {tokenizer.eos_token_id}


def test_exact_match_needs_held_out_answers(tmp_path: Path, tokenizer: Any) -> None:
    file = tiny.write_rows(tmp_path / "v.jsonl", [{"text": "no question here"}])
    for files in ((), (str(file),)):
        with pytest.raises(BadData, match="exact_match needs held-out rows"):
            questions_of(RowFiles(files), tokenizer, limit=5)


def test_a_batch_points_at_the_tokens_that_predict() -> None:
    rows = [
        Row(np.array([5, 6, 7], np.int32), np.array([False, True, True])),
        Row(np.array([8, 9], np.int32), np.array([False, True])),
    ]
    batch = collate(rows, 0, torch.device("cpu"))
    assert batch.input_ids[0, :5].tolist() == [5, 6, 7, 8, 9]
    assert batch.position_ids[0, :5].tolist() == [0, 1, 2, 0, 1]
    assert batch.positions.tolist() == [0, 1, 3]
    assert batch.targets.tolist() == [6, 7, 9]
