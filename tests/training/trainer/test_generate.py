"""The process that answers prompts says what Transformers' own generate says, word for word."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.trainer import runs
from training.trainer import events, orders

HELLO = ({"role": "user", "content": "3 plus 4 is"},)
GREEDY = orders.Sampling(temperature=0, max_new_tokens=12)
PROMPT = orders.Order(id="1", sides=(orders.BASE,), prompt="3 plus 4 is", sampling=GREEDY)


class Answering:
    """The process in its folder; `ask` waits for the answers."""

    def __init__(self, folder: Path, process: runs.Process) -> None:
        self.folder, self.process = folder, process

    def said(self, order_id: str) -> list[dict[str, Any]]:
        lines, _ = events.follow(self.folder / events.FILE_NAME, 0)
        return [line for line in lines if line["id"] == order_id]

    def ask(self, order: orders.Order) -> list[dict[str, Any]]:
        orders.give(self.folder, order)
        return self.wait(order)

    def wait(self, order: orders.Order) -> list[dict[str, Any]]:
        def is_over() -> bool:
            ended = (orders.ANSWERED, orders.FAILED)
            return any(line["event"] in ended for line in self.said(order.id))

        runs.wait_until(is_over, self.process)
        return self.said(order.id)


@contextmanager
def answering(folder: Path, **spec: Any) -> Iterator[Answering]:
    folder.mkdir()
    orders.ServingSpec(**spec).write(folder)
    process = runs.start(
        "training.trainer.generate",
        str(folder),
        log=folder / "log.txt",
        environment=dict(os.environ),
    )
    try:
        yield Answering(folder, process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> Iterator[Answering]:
    with answering(tmp_path_factory.mktemp("generate") / "base", base=str(base_model)) as found:
        yield found


def text_of(said: Sequence[dict[str, Any]], side: str = orders.BASE) -> str:
    assert said[-1]["event"] == orders.ANSWERED, said[-1]
    return "".join(
        line["text"] for line in said if line["event"] == orders.TEXT and line["side"] == side
    )


def done(said: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return next(line for line in said if line["event"] == orders.DONE)


def by_transformers(folder: Path, text: str, *, adapter: str = "") -> str:
    """What `generate` of the model as it is loaded by its own library writes behind a text."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    if adapter:
        from peft import PeftModel

        with warnings.catch_warnings(action="ignore"):  # PEFT's, of Transformers' older names
            model = PeftModel.from_pretrained(model, adapter).eval()
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        written = model.generate(input_ids=ids, do_sample=False, max_new_tokens=12)
    found: str = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
    return found


def test_greedy_words_are_those_of_transformers(base: Answering, base_model: Path) -> None:
    said = base.ask(PROMPT)
    assert text_of(said) == by_transformers(base_model, "3 plus 4 is")
    assert done(said)["tokens"] <= 12
    again = base.ask(replace(PROMPT, id="twice"))
    assert text_of(again) == text_of(said)
    everything, _ = events.follow(base.folder / events.FILE_NAME, 0)
    assert len([line for line in everything if line["event"] == orders.LOADING]) == 1


def test_a_conversation_is_put_together_by_the_chat_template(
    base: Answering, base_model: Path
) -> None:
    order = replace(PROMPT, id="chat", prompt="", messages=HELLO)
    text = "<|user|>3 plus 4 is<eos>\n<|assistant|>"
    assert text_of(base.ask(order)) == by_transformers(base_model, text)


def test_the_same_seed_gives_the_same_answer(base: Answering) -> None:
    hot = orders.Sampling(temperature=2.0, top_k=0, top_p=1.0, max_new_tokens=20, seed=1)
    first, again, other = (
        text_of(base.ask(replace(PROMPT, id=name, sampling=replace(hot, seed=seed))))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert again == first
    assert other != first


def test_it_stops_at_the_longest_length_and_at_the_time_limit(base: Answering) -> None:
    short = replace(PROMPT, id="short", sampling=replace(GREEDY, max_new_tokens=2))
    assert {name: done(base.ask(short))[name] for name in ("finish_reason", "tokens")} == {
        "finish_reason": "length", "tokens": 2,
    }  # fmt: skip
    late = replace(PROMPT, id="late", seconds=0.0, sampling=replace(GREEDY, max_new_tokens=100))
    assert done(base.ask(late))["finish_reason"] == "time"


def test_one_that_is_taken_back_is_not_answered(base: Answering) -> None:
    order = replace(PROMPT, id="unwanted")
    orders.take_back(base.folder, order.id)
    said = base.ask(order)
    assert [line["event"] for line in said] == [orders.ANSWERED]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": ""}, "no tokens"),
        ({"prompt": "plus " * 300}, "reads 128 at most"),
    ],
)
def test_what_cannot_be_is_a_failure_and_the_next_prompt_is_answered(
    base: Answering, changes: dict[str, Any], words: str
) -> None:
    said = base.ask(replace(PROMPT, id=words, **changes))
    assert said[-1]["event"] == orders.FAILED
    assert said[-1]["kind"] == "bad_data"
    assert words in said[-1]["message"]
    assert text_of(base.ask(replace(PROMPT, id=f"after {words}")))


def test_an_adapter_answers_beside_its_base_model(
    lora_run: Path, base_model: Path, tmp_path: Path
) -> None:
    adapter = str(lora_run / "exports" / "safetensors")
    both = replace(PROMPT, sides=orders.SIDES)
    with answering(tmp_path / "lora", base=str(base_model), adapter=adapter) as found:
        said = found.ask(both)
    tuned = by_transformers(base_model, PROMPT.prompt, adapter=adapter)
    assert text_of(said, orders.TUNED) == tuned
    assert text_of(said, orders.BASE) == by_transformers(base_model, PROMPT.prompt) != tuned
    assert len([line for line in said if line["event"] == orders.LOADING]) == 1


def test_weights_of_their_own_and_their_base_model_take_turns(
    full_run: Path, base_model: Path, tmp_path: Path
) -> None:
    tuned = full_run / "exports" / "safetensors"
    both = replace(PROMPT, sides=orders.SIDES)
    with answering(tmp_path / "full", base=str(base_model), tuned=str(tuned)) as found:
        said, again = found.ask(both), found.ask(replace(both, id="2"))
    assert text_of(said, orders.TUNED) == by_transformers(tuned, PROMPT.prompt)
    assert text_of(said, orders.BASE) == by_transformers(base_model, PROMPT.prompt)
    # What is in memory answers first.
    loaded = [line["side"] for line in [*said, *again] if line["event"] == orders.LOADING]
    assert loaded == [orders.TUNED, orders.BASE, orders.TUNED]
    assert text_of(again, orders.BASE) == text_of(said, orders.BASE)


def test_a_folder_without_weights_is_told_as_such(tmp_path: Path) -> None:
    with answering(tmp_path / "none", base=str(tmp_path / "nowhere")) as found:
        said = found.ask(PROMPT)
    assert (said[-1]["event"], said[-1]["kind"]) == (orders.FAILED, "bad_model")
