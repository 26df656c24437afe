"""The real process trains, measures and exports, by every method."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.trainer import runs, tiny
from training.trainer import events
from training.trainer.result import COMPLETED, Result

GENERATE = """
import sys
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, *folders = sys.argv[1:]
for folder in folders:
    if "lora" in folder:
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer("2 plus 3 is", return_tensors="pt")
    print(tokenizer.decode(model.generate(**prompt, max_new_tokens=3, do_sample=False)[0]))
"""


@pytest.fixture(params=["full_run", "lora_run", "qlora_run"])
def any_run(request: pytest.FixtureRequest) -> Path:
    run_dir: Path = request.getfixturevalue(request.param)
    return run_dir


def test_the_loss_falls(any_run: Path) -> None:
    losses = list(runs.losses(any_run).values())
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_a_finished_run_says_so(any_run: Path) -> None:
    result = Result.read(any_run)
    assert result is not None
    assert result.outcome == COMPLETED
    assert result.failure is None
    assert result.exports == {"safetensors": str(any_run / "exports" / "safetensors")}
    assert result.evaluation["after"]["eval_loss"] < result.evaluation["before"]["eval_loss"]
    assert not (any_run / "reserve").exists()


def test_events_come_in_order_and_every_step_has_one(full_run: Path) -> None:
    lines = runs.said(full_run)
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    names = [line["event"] for line in lines]
    assert names[:4] == [events.DATA, events.MODEL, events.PLAN, events.EVALUATION]
    assert names[-4:] == [events.STEP, events.EVALUATION, events.CHECKPOINT, events.EXPORT]
    assert [line["step"] for line in runs.said(full_run, events.STEP)] == list(range(1, 241))
    assert [line["step"] for line in runs.said(full_run, events.EVALUATION)] == [
        *(0, 60, 120, 180, 240)
    ]
    assert [line["step"] for line in runs.said(full_run, events.CHECKPOINT)] == [
        *(40, 80, 120, 160, 200, 240)
    ]


def test_a_step_says_what_happened_in_it(full_run: Path) -> None:
    step = runs.said(full_run, events.STEP)[19]
    assert step["epoch"] == 2.0  # 80 rows, 8 a step
    assert step["tokens"] == pytest.approx(8 * 6.5, abs=8)
    assert step["grad_norm"] > 0
    assert step["tokens_per_s"] > 100
    assert 100 < step["memory_mb"] < 20_000
    # step 20 is taken after 19: warm-up over 10, cosine over the rest
    expected = 3e-3 * 0.5 * (1 + math.cos(math.pi * 9 / 230))
    assert step["learning_rate"] == pytest.approx(expected)


def test_answers_are_measured_before_and_after(full_run: Path) -> None:
    result = Result.read(full_run)
    assert result is not None
    assert result.evaluation["before"]["exact_match"] == 0.0
    evaluations = runs.said(full_run, events.EVALUATION)
    assert result.evaluation["after"]["exact_match"] == evaluations[-1]["exact_match"]
    assert "exact_match" in evaluations[0]
    assert "exact_match" not in evaluations[1]  # suites cost time: only before and after


def test_only_the_last_checkpoints_are_kept(full_run: Path) -> None:
    kept = sorted(path.name for path in (full_run / "checkpoints").iterdir())
    assert kept == ["step-000200", "step-000240"]


def test_exports_and_checkpoints_load_in_a_plain_process(
    full_run: Path, lora_run: Path, base_model: Path
) -> None:
    """It knows nothing of Trainyard; the full model knows the sum by now."""
    folders = [
        full_run / "exports" / "safetensors",
        full_run / "checkpoints" / "step-000240",
        lora_run / "exports" / "safetensors",
        lora_run / "checkpoints" / "step-000120",
    ]
    process = subprocess.run(
        [sys.executable, "-c", GENERATE, str(base_model), *map(str, folders)],
        capture_output=True,
        text=True,
        cwd=full_run,
        timeout=runs.PATIENCE_S,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    full, full_again, lora, lora_again = process.stdout.splitlines()
    assert full == full_again == "2 plus 3 is 5<eos>"
    assert lora == lora_again
    assert lora.startswith("2 plus 3 is ")


def test_the_adapter_names_its_base_model(lora_run: Path, base_model: Path) -> None:
    config = (lora_run / "exports" / "safetensors" / "adapter_config.json").read_text()
    assert json.loads(config)["base_model_name_or_path"] == str(base_model)


def test_the_manifest_tells_every_file_and_where_the_model_comes_from(any_run: Path) -> None:
    folder = any_run / "exports" / "safetensors"
    manifest = json.loads((folder / "manifest.json").read_text())
    listed = {file["path"]: file for file in manifest["files"]}
    assert set(listed) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    for name, file in listed.items():
        content = (folder / name).read_bytes()
        assert file["size_bytes"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["lineage"]["base_model_id"] == "model-1"
    assert manifest["lineage"]["dataset_checksum"] == "sha256:abc"


def test_the_model_card_names_base_model_settings_and_numbers(lora_run: Path) -> None:
    card = (lora_run / "exports" / "safetensors" / "README.md").read_text()
    assert card.startswith('---\nbase_model: "tiny"\nlibrary_name: "peft"\n')
    assert "| lora_dropout | 0.1 |" in card
    assert "| training rows | 80 |" in card
    assert "| eval_loss |" in card


def test_the_log_is_made_of_sentences_without_progress_bars(any_run: Path) -> None:
    log = (any_run / "log.txt").read_text()
    assert "Exported to" in log
    assert "%|" not in log
    assert all(" INFO " in line for line in log.splitlines()), log


def test_the_first_losses_equal_those_of_a_plain_loop(
    full_run: Path, base_model: Path, sums: tuple[Path, Path]
) -> None:
    expected = losses_of_a_plain_loop(base_model, sums[0], steps=10)
    found = runs.losses(full_run)
    for step, loss in expected.items():
        assert found[step] == pytest.approx(loss, abs=1e-5), step


def losses_of_a_plain_loop(base_model: Path, file: Path, *, steps: int) -> dict[int, float]:
    """Written down once more, as simply as possible: no accumulation, the whole head, a padding
    mask, Transformers' own loss and schedule, one tensor of parameters after the other."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.optimization import get_cosine_schedule_with_warmup

    tokenizer = tiny.make_tokenizer()
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    model = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32).train()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
        lr=3e-3,
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, 10, 240)
    order = np.random.default_rng([42, 0]).permutation(len(rows))
    found = {}
    for step in range(steps):
        batch: list[dict[str, Any]] = [rows[i] for i in order[8 * step : 8 * step + 8]]
        ids, labels = [], []
        for row in batch:
            prompt = tokenizer(row["prompt"])["input_ids"]
            completion = [*tokenizer(row["completion"])["input_ids"], tokenizer.eos_token_id]
            ids.append(prompt + completion)
            labels.append([-100] * len(prompt) + completion)
        longest = max(map(len, ids))
        out = model(
            input_ids=torch.tensor([[*r, *[0] * (longest - len(r))] for r in ids]),
            attention_mask=torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in ids]),
            labels=torch.tensor([[*r, *[-100] * (longest - len(r))] for r in labels]),
            num_items_in_batch=sum(label != -100 for r in labels for label in r),
        )
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        found[step + 1] = out.loss.item()
    return found
