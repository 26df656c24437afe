"""A real run that is really out of memory goes on with half the micro batch, and learns as well."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.trainer import runs, tight, tiny
from training.trainer import events

ROWS = 16
TOKENS = 128
# Between what half of the rows need in a step and what all of them need lie about 380 MB, for the
# layer is wide: this is their middle. Ten tensors of 134 MB are what does not fit.
ROOM_MB = 620


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small weights, large activations."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("wide")
    tokenizer = tiny.make_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=16_384,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="limits and sizes as Linux has them")
@pytest.mark.parametrize(("ranks", "saved"), [(1, 1), (2, 0)])
def test_the_run_goes_on_with_half_the_micro_batch(
    wide_model: Path, tmp_path: Path, ranks: int, saved: int
) -> None:
    """From its last checkpoint, that of the step ``saved``, or from the beginning."""
    rows = tiny.write_rows(
        tmp_path / "rows.jsonl", [{"text": chr(97 + i) * (TOKENS - 1)} for i in range(ROWS)]
    )
    settings: dict[str, Any] = {
        "train": {
            "max_steps": 2,
            "global_batch_size": ROWS * ranks,
            "learning_rate": 1e-3,
            "checkpoint_interval": 1,
        },
        "device": {"num_threads": 1, "cpu_ranks": ranks},
    }
    roomy = runs.write_run(tmp_path / "roomy", wide_model, rows, **settings)
    assert runs.finish(roomy) == 0, (roomy / "log.txt").read_text()
    assert runs.said(roomy, events.BATCH_HALVED) == []

    run_dir = runs.write_run(tmp_path / "run", wide_model, rows, **settings)
    if saved:
        as_after_a_step(roomy, run_dir)
    log = run_dir / "log.txt"
    process = runs.start(
        tight.__name__, str(run_dir), str(ROOM_MB), log=log, environment=dict(os.environ), cold=True
    )
    patience_s = 3 * runs.PATIENCE_S  # two cold starts, one after the other
    assert process.wait(patience_s) == 0, log.read_text()
    [halved] = runs.said(run_dir, events.BATCH_HALVED)
    assert (halved["before"], halved["micro_batch_size"], halved["grad_accum"]) == (16, 8, 2)
    assert halved["step"] == saved
    assert json.loads((run_dir / "micro_batch.json").read_text())[0]["grad_accum"] == 2
    assert runs.losses(run_dir) == pytest.approx(runs.losses(roomy), abs=1e-4)
    assert "Micro batches of 8 instead of 16" in log.read_text()


def as_after_a_step(whole: Path, run_dir: Path) -> None:
    """What another run had left when it had saved its first step."""
    step = Path("checkpoints", "step-000001")
    shutil.copytree(whole / step, run_dir / step)
    lines = (whole / events.FILE_NAME).read_text().splitlines(keepends=True)
    names = [json.loads(line)["event"] for line in lines]
    until = names.index(events.CHECKPOINT) + 1
    (run_dir / events.FILE_NAME).write_text("".join(lines[:until]))
