"""run.json, events.jsonl and result.json: the files through which the platform and the trainer
speak to each other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training.trainer import durable, events
from training.trainer.events import EventLog
from training.trainer.failures import DiskFull
from training.trainer.result import COMPLETED, FAILED, Failure, Result
from training.trainer.spec import BadSpec, RunSpec, TrainSpec

MINIMAL: dict[str, Any] = {
    "run_id": "1",
    "name": "a run",
    "method": "full",
    "base_model": {"path": "/models/m"},
    "dataset": {"train": ["/data/train.jsonl"]},
    "export_dir": "/exports/1",
}


def test_the_interface_needs_nothing_but_the_standard_library() -> None:
    script = (
        "import sys; from training.trainer import events, harness, result, spec; "
        "print(sorted(m for m in ('torch', 'transformers', 'numpy', 'django') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


# --- run.json ----------------------------------------------------------------------------------


def test_a_spec_survives_the_way_through_its_file(tmp_path: Path) -> None:
    spec = RunSpec.from_dict(MINIMAL | {"train": {"max_steps": 7}, "lora": {"r": 4}})
    (tmp_path / "run.json").write_text(json.dumps(spec.as_dict()))
    assert RunSpec.read(tmp_path) == spec
    assert spec.train.max_steps == 7


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"method": "magic"}, "method: must be one of full, lora, .*, not 'magic'"),
        ({"train": {"learning_rat": 1}}, "train: unknown setting learning_rat"),
        ({"train": {"learning_rate": float("nan")}}, "learning_rate: must be a number"),
        ({"train": {"learning_rate": "fast"}}, "learning_rate: must be a number"),
        ({"train": {"max_steps": 0}}, "max_steps: must be a whole number from 1 up, not 0"),
        ({"train": {"max_length": 1.5}}, "max_length: must be a whole number from 2 up, not 1.5"),
        ({"train": {"optim": "lion"}}, "optim: must be one of"),
        (
            {"train": {"optim": "adamw_8bit"}, "device": {"gpus": 2, "strategy": "zero2"}},
            "optim: adamw_8bit needs strategy ddp; with zero2 use adamw_torch_fused",
        ),
        ({"train": {"num_train_epochs": 0}}, "num_train_epochs: must be more than 0"),
        ({"train": {"global_batch_size": 6, "grad_accum": 4}}, "6 does not divide by grad_accum 4"),
        ({"train": 3}, "train: expected an object, got int"),
        ({"lora": {"lora_dropout": 1.0}}, "lora_dropout: must be less than 1"),
        ({"eval": {"limit": 0}}, "limit: must be a whole number from 1 up, not 0"),
        ({"eval": {"num_fewshot": -1}}, "num_fewshot: must be a whole number from 0 up"),
        ({"train": {"report_to": ["comet"]}}, "report_to: must be one of tensorboard"),
        ({"eval": {"interval": 0}}, "interval: must be a whole number from 1 up"),
        ({"device": {"mixed_precision": "int8"}}, "mixed_precision: must be one of"),
        ({"export": ["tensorrt"]}, "export: must be one of safetensors, merged, onnx, gguf"),
        ({"dataset": {"train": []}}, "dataset: train names no file"),
        ({"dataset": {}}, "dataset: .*train"),
    ],
)
def test_a_setting_that_cannot_be_is_named(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadSpec, match=complaint):
        RunSpec.from_dict(MINIMAL | change)


def test_a_missing_or_broken_run_json_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match="cannot read"):
        RunSpec.read(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(BadSpec, match="cannot read"):
        RunSpec.read(tmp_path)


def test_the_micro_batch_is_what_is_left_for_one_device() -> None:
    train = TrainSpec(global_batch_size=24, grad_accum=3)
    assert train.micro_batch_size(1) == 8
    assert train.micro_batch_size(2) == 4
    with pytest.raises(BadSpec, match="24 does not divide by grad_accum 3 x gpus 5"):
        train.micro_batch_size(5)


# --- events.jsonl ------------------------------------------------------------------------------


def test_what_was_said_is_not_said_again(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.emit(events.PLAN, max_steps=3)
    log.emit(events.STEP, step=1, loss=2.0)
    log.close()
    again = EventLog(tmp_path)
    again.emit(events.PLAN, max_steps=3)
    again.emit(events.STEP, step=1, loss=2.5)
    again.emit(events.STEP, step=2, loss=1.0)
    again.emit(events.EXPORT, kind="safetensors", path="/a")
    again.emit(events.EXPORT, kind="safetensors", path="/a")
    assert again.recall(events.STEP, 1)["loss"] == 2.0
    again.emit(events.STEP, step=3, loss=0.5)  # reading in between does not move the pen
    again.close()
    lines, _ = events.follow(tmp_path / events.FILE_NAME, 0)
    assert [(line["seq"], *events.identity(line)) for line in lines] == [
        (1, "plan", None),
        (2, "step", 1),
        (3, "step", 2),
        (4, "export", "safetensors"),
        (5, "step", 3),
    ]


@pytest.mark.parametrize("left", [b'{"seq": 2, "event": "step", "st', b"\0\0\0\0\n", b'{"seq": 2}'])
def test_what_a_crash_left_at_the_end_is_cut_off(tmp_path: Path, left: bytes) -> None:
    log = EventLog(tmp_path)
    log.emit(events.STEP, step=1, loss=2.0)
    log.close()
    file = tmp_path / events.FILE_NAME
    with open(file, "ab") as raw:
        raw.write(left)
    log = EventLog(tmp_path)
    assert log.said(events.STEP, 1)
    log.emit(events.STEP, step=2, loss=1.0)
    log.close()
    assert [line["step"] for line in events.follow(file, 0)[0]] == [1, 2]


def test_a_reader_gets_only_complete_lines_and_goes_on_behind_them(tmp_path: Path) -> None:
    file = tmp_path / events.FILE_NAME
    assert events.follow(file, 0) == ([], 0)
    file.write_bytes(b'{"seq": 1}\n{"se')
    lines, offset = events.follow(file, 0)
    assert (lines, offset) == ([{"seq": 1}], 11)
    with open(file, "ab") as raw:
        raw.write(b'q": 2}\n')
    assert events.follow(file, offset)[0] == [{"seq": 2}]


def test_a_number_that_is_none_is_written_as_null(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.emit(events.STEP, step=1, loss=float("nan"), grad_norm=float("inf"))
    log.close()
    (line,) = events.follow(tmp_path / events.FILE_NAME, 0)[0]
    assert line["loss"] is None
    assert line["grad_norm"] is None


# --- result.json -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "result",
    [
        Result(outcome=COMPLETED, step=5, exports={"safetensors": "/x"}),
        Result(outcome=FAILED, failure=Failure(kind="bug", message="m", advice="a")),
    ],
)
def test_a_result_survives_the_way_through_its_file(tmp_path: Path, result: Result) -> None:
    assert Result.read(tmp_path) is None
    result.write(tmp_path)
    assert Result.read(tmp_path) == result
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


# --- folders that are there completely or not at all -------------------------------------------


def test_a_folder_appears_whole_and_replaces_an_older_one(tmp_path: Path) -> None:
    final = tmp_path / "a" / "export"
    for content in ("old", "new"):
        with durable.whole_folder(final, what="it", needs_bytes=1) as folder:
            (folder / "file").write_text(content)
    assert (final / "file").read_text() == "new"
    assert [path.name for path in final.parent.iterdir()] == ["export"]


def test_nothing_is_left_of_a_folder_that_could_not_be_filled(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError),
        durable.whole_folder(tmp_path / "x", what="it", needs_bytes=1) as folder,
    ):
        (folder / "missing" / "file").write_text("cannot be")
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_told_with_numbers(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskFull, match=r"it needs 1000000000000\.0 MB, and .* MB free"),
        durable.whole_folder(tmp_path / "x", what="it", needs_bytes=10**18),
    ):
        pytest.fail("nothing should be written")
