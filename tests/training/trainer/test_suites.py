"""Suites of lm-evaluation-harness: on the base model before, on the result after."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.trainer import runs, tiny
from training.trainer import events, harness
from training.trainer.result import Result
from training.trainer.spec import BadSpec, EvalSpec
from training.trainer.stopping import Stop, StopRequested
from training.trainer.suites import Suites

TASK = """
task: digit_sums
tag: digits
dataset_path: json
dataset_kwargs:
  data_files:
    test: sums.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: ["4", "5", "6"]
doc_to_target: "{{answer - 4}}"
metric_list:
  - metric: acc
"""


@pytest.fixture(scope="session")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one task: which of three numbers is the sum of two digits."""
    folder = tmp_path_factory.mktemp("eval_tasks")
    (folder / "digit_sums.yaml").write_text(TASK)
    sums = [(a, b) for a in range(10) for b in range(10) if 4 <= a + b <= 6]
    rows = [{"prompt": f"{a} plus {b} is", "answer": a + b} for a, b in sums]
    tiny.write_rows(folder / "sums.jsonl", rows)
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And an empty cache."""
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))


def test_a_suite_is_measured_before_and_after(make_run: Callable[..., Path], tasks: Path) -> None:
    run_dir = make_run(
        "suites",
        train={"max_steps": 120, "learning_rate": 3e-3},
        eval={"suites": ["digit_sums", "exact_match"], "include_path": str(tasks)},
    )
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    result = Result.read(run_dir)
    assert result is not None
    before, after = result.evaluation["before"], result.evaluation["after"]
    assert before["digit_sums_acc"] < 0.7 < after["digit_sums_acc"]
    assert 0 < before["digit_sums_acc_stderr"] < 0.2
    assert "exact_match" in before
    told = runs.said(run_dir, events.EVALUATION)
    assert [line["step"] for line in told] == [0, 120]
    assert told[1]["digit_sums_acc"] == after["digit_sums_acc"]
    everything = json.loads((run_dir / "suites" / "step-000120.json").read_text())
    assert everything["digit_sums"]["acc,none"] == after["digit_sums_acc"]
    card = (run_dir / "exports" / "safetensors" / "README.md").read_text()
    assert f"| digit_sums_acc | {before['digit_sums_acc']:.6g} ± " in card
    log = (run_dir / "log.txt").read_text()
    assert all(" INFO " in line for line in log.splitlines()), log


@pytest.fixture
def model(base_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base_model).eval()


def test_the_accuracy_is_that_of_the_likeliest_answers(
    model: Any, tokenizer: Any, tasks: Path, tmp_path: Path
) -> None:
    suites = Suites.prepare(EvalSpec(suites=("digit_sums",), include_path=str(tasks)))
    assert suites is not None
    before = torch.get_rng_state()
    found = suites.measure(
        model, tokenizer, batch_size=4, stop=Stop(), keep_in=tmp_path / "x" / "all.json"
    )
    assert torch.equal(torch.get_rng_state(), before)
    rows = [json.loads(line) for line in (tasks / "sums.jsonl").read_text().splitlines()]
    right = sum(best_of_three(model, tokenizer, row["prompt"]) == row["answer"] for row in rows)
    assert found["digit_sums_acc"] == pytest.approx(right / len(rows))


def best_of_three(model: Any, tokenizer: Any, prompt: str) -> int:
    def logprob(answer: int) -> float:
        start = tokenizer(prompt)["input_ids"]
        ids = torch.tensor([start + tokenizer(f" {answer}")["input_ids"]])
        with torch.no_grad():
            logprobs = model(ids).logits[0].log_softmax(-1)
        return sum(float(logprobs[i - 1, ids[0, i]]) for i in range(len(start), ids.shape[1]))

    return max((4, 5, 6), key=logprob)


def test_a_tag_stands_for_its_tasks_and_limit_for_their_first_rows(
    model: Any, tokenizer: Any, tasks: Path, tmp_path: Path
) -> None:
    spec = EvalSpec(suites=("digits",), include_path=str(tasks), limit=2, num_fewshot=0)
    suites = Suites.prepare(spec)
    assert suites is not None
    keep_in = tmp_path / "all.json"
    found = suites.measure(model, tokenizer, batch_size=4, stop=Stop(), keep_in=keep_in)
    assert found["digit_sums_acc"] in (0.0, 0.5, 1.0)
    assert json.loads(keep_in.read_text())["digit_sums"]["sample_len"] == 2


def test_a_stop_is_heard_between_two_batches(
    model: Any, tokenizer: Any, tasks: Path, tmp_path: Path
) -> None:
    suites = Suites.prepare(EvalSpec(suites=("digit_sums",), include_path=str(tasks)))
    assert suites is not None
    stop = Stop()
    stop.requested = True
    with pytest.raises(StopRequested):
        suites.measure(model, tokenizer, batch_size=1, stop=stop, keep_in=tmp_path / "all.json")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("suite", ["mmlu", "truthful_qa"])
def test_missing_data_is_told_before_the_first_step(suite: str) -> None:
    with pytest.raises(BadSpec) as refused:
        Suites.prepare(EvalSpec(suites=(suite,)))
    assert str(refused.value).startswith(f"suites: the data of {suite} is not on this machine")
    assert f"python -m training.trainer.suites {suite}" in str(refused.value)


@pytest.mark.parametrize(("tokens", "fits"), [(127, True), (128, False), (None, False)])
def test_a_suite_that_writes_more_than_the_model_can_hold_is_refused(
    tokens: int | None, fits: bool, model: Any, tmp_path: Path
) -> None:
    written = "" if tokens is None else f"generation_kwargs: {{max_gen_toks: {tokens}}}"
    description = TASK.replace("multiple_choice", "generate_until").replace("acc", "exact_match")
    (tmp_path / "long.yaml").write_text(f"{description}{written}\n")
    tiny.write_rows(tmp_path / "sums.jsonl", [{"prompt": "1 plus 3 is", "answer": 4}])
    suites = Suites.prepare(EvalSpec(suites=("digit_sums",), include_path=str(tmp_path)))
    assert suites is not None
    if fits:
        suites.check_fit(model)
        return
    with pytest.raises(BadSpec) as refused:
        suites.check_fit(model)
    assert str(refused.value) == (
        f"suites: digit_sums lets the model write up to {tokens or 256} tokens, and this one has "
        "room for 128, the question included; choose other suites"
    )


def test_a_suite_that_there_is_not_is_told(tasks: Path) -> None:
    with pytest.raises(BadSpec, match="no task digit_sms"):
        Suites.prepare(EvalSpec(suites=("digit_sms",), include_path=str(tasks)))


def test_a_description_that_is_no_yaml_is_told(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("task: odd\ndataset_path: [json\n")
    with pytest.raises(BadSpec, match=r"odd\.yaml cannot be read"):
        Suites.prepare(EvalSpec(suites=("odd",), include_path=str(tmp_path)))


# --- what a suite needs, known without the harness ----------------------------------------------


@pytest.mark.parametrize(
    "nonsense",
    [
        "include: odd.yaml",
        "include: 5",
        "include: [5, {}]",
        "dataset_path: json\ndataset_kwargs: word",
        "dataset_path: json\ndataset_kwargs: {data_files: 7}",
        "dataset_path: json\ndataset_kwargs: {data_files: {test: [1, a.jsonl]}}",
        "dataset_path: [x]",
        "output_type: generate_until\ngeneration_kwargs: word",
        "output_type: generate_until\ngeneration_kwargs: {max_gen_toks: many}",
    ],
)
@pytest.mark.parametrize("kind", ["task: odd", "group: odd\ntask: 7", "group: odd\ntask: [7, [a]]"])
def test_nonsense_in_a_description_is_no_crash(nonsense: str, kind: str, tmp_path: Path) -> None:
    """Preflight asks this of whatever somebody has put into the folder."""
    (tmp_path / "odd.yaml").write_text(f"{kind}\n{nonsense}\n")
    for ask in (harness.needs, harness.writes):
        with contextlib.suppress(harness.NoSuchTask):
            ask("odd", str(tmp_path))


def test_a_group_needs_the_data_of_all_its_tasks() -> None:
    needs = harness.needs("mmlu", "")
    assert len(needs) == 57
    assert harness.Data("cais/mmlu", "astronomy") in needs


def test_what_a_suite_lets_the_model_write_is_known_from_its_files(tmp_path: Path) -> None:
    assert harness.writes("truthful_qa", "") == 256
    assert harness.writes("mmlu", "") == 0
    for name, limit in (("short", "{max_gen_toks: 7}"), ("usual", "{until: [end]}")):
        description = f"task: {name}\noutput_type: generate_until\ngeneration_kwargs: {limit}\n"
        (tmp_path / f"{name}.yaml").write_text(description)
    assert harness.writes("short", str(tmp_path)) == 7
    assert harness.writes("usual", str(tmp_path)) == 256


def test_our_name_for_truthfulqa_is_known() -> None:
    assert {data.path for data in harness.needs("truthful_qa", "")} == {"truthfulqa/truthful_qa"}


def test_the_light_index_knows_the_tasks_that_the_harness_knows() -> None:
    """A sample of well-known ones; the harness takes a quarter of a minute to list them all."""
    for name in ("hellaswag", "arc_challenge", "gsm8k", "winogrande", "leaderboard", "ifeval"):
        assert harness.descriptions(name, "")


def test_a_tag_is_inherited_from_an_included_description() -> None:
    ours = {"truthfulqa_gen", "truthfulqa_mc1", "truthfulqa_mc2"}
    assert set(harness.members("truthfulqa", "")) == ours
    assert "xquad_en" in harness.members("xquad", "")  # they say it in a file that all include


def test_files_of_ones_own_are_looked_for_beside_the_description(tasks: Path) -> None:
    (data,) = harness.needs("digit_sums", str(tasks))
    assert data == harness.Data("json", files=("sums.jsonl",))
    assert harness.is_here(data, str(tasks))
    assert not harness.is_here(data, str(tasks / "elsewhere"))


def test_a_dataset_of_the_hub_is_looked_for_in_the_cache_of_datasets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    data = harness.Data("some/ARCTask", "easy")
    assert not harness.is_here(data, "")
    (tmp_path / "some___arc_task" / "easy" / "0.0.0" / "abc").mkdir(parents=True)
    assert harness.is_here(data, "")
    assert not harness.is_here(harness.Data("some/ARCTask", "hard"), "")
