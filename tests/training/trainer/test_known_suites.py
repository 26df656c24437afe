"""The suites that people know by name, with data of the same shape from a hub of our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.hub.fake_hub import running_hub
from tests.training.trainer import runs
from training.trainer import events

pytestmark = pytest.mark.slow

QUESTIONS = [f"What is {n} plus 2?" for n in range(6)]
MC = {"choices": ["5", "6", "banana"], "labels": [1, 0, 0]}
TRUTHFUL_QA: dict[str, Any] = {
    "multiple_choice": {
        "validation": [
            {"question": question, "mc1_targets": MC, "mc2_targets": MC} for question in QUESTIONS
        ]
    },
    "generation": {
        "validation": [
            {
                "type": "Adversarial",
                "category": "Sums",
                "question": question,
                "best_answer": "Five.",
                "correct_answers": ["Five.", "It is five."],
                "incorrect_answers": ["Six."],
                "source": "made here",
            }
            for question in QUESTIONS
        ]
    },
}
ASKED = [
    {"question": question, "subject": "astronomy", "choices": ["3", "4", "5", "6"], "answer": 2}
    for question in QUESTIONS
]
MMLU = {"astronomy": {"test": ASKED, "validation": ASKED, "dev": ASKED}}

Rows = list[dict[str, Any]]


def repository(configurations: dict[str, dict[str, Rows]]) -> dict[str, Any]:
    """Files of a dataset: Parquet, and a README that names its configurations."""
    files: dict[str, Any] = {}
    readme = "---\nconfigs:\n"
    for name, splits in configurations.items():
        readme += f"- config_name: {name}\n  data_files:\n"
        for split, rows in splits.items():
            path = f"{name}/{split}-00000-of-00001.parquet"
            readme += f"  - split: {split}\n    path: {path}\n"
            buffer = BytesIO()
            pq.write_table(pa.Table.from_pylist(rows), buffer)
            files[path] = buffer.getvalue()
    return {**files, "README.md": f"{readme}---\n".encode()}


def python(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def roomy_model(base_model: Path, tmp_path: Path) -> Path:
    """truthfulqa_gen writes up to 256 tokens."""
    folder = Path(shutil.copytree(base_model, tmp_path / "roomy"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1024}))
    return folder


def test_they_are_fetched_once_and_measured_without_a_network(
    make_run: Callable[..., Path], roomy_model: Path, tmp_path: Path
) -> None:
    suites = ["truthful_qa", "mmlu_astronomy"]
    run_dir = make_run(
        "known",
        base_model={"path": str(roomy_model)},
        train={"max_steps": 2},
        eval={"suites": suites, "limit": 4, "num_fewshot": 1},
    )
    cache = str(tmp_path / "hf")
    with running_hub() as hub:
        hub.add("datasets", "truthfulqa/truthful_qa", repository(TRUTHFUL_QA))
        hub.add("datasets", "cais/mmlu", repository(MMLU))
        fetched = python("training.trainer.suites", *suites, HF_HOME=cache, HF_ENDPOINT=hub.address)
    assert fetched.returncode == 0, fetched.stderr
    assert fetched.stderr.splitlines() == ["The data of truthful_qa, mmlu_astronomy is here now."]

    done = python("training.trainer", str(run_dir), HF_HOME=cache, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    before, after = runs.said(run_dir, events.EVALUATION)
    for found in (before, after):
        assert {
            "mmlu_astronomy_acc",
            "truthfulqa_mc1_acc",
            "truthfulqa_mc2_acc",
            "truthfulqa_gen_bleu_max",
            "truthfulqa_gen_rougeL_acc",
        } <= set(found)
        assert 0 <= found["mmlu_astronomy_acc"] <= 1
