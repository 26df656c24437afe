"""``python -m benchmarks.throughput.plain FOLDER``: what a good engineer writes by hand:
dynamic padding, Transformers' own loss, fused AdamW."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.throughput.steps import Steps
from benchmarks.throughput.workload import LORA, Workload


def main(folder: Path) -> None:
    work, steps = Workload.read(folder), Steps(folder)
    torch.set_num_threads(work.threads)
    torch.manual_seed(work.seed)
    tokenizer = AutoTokenizer.from_pretrained(work.model)
    rows = [encode(row, tokenizer) for row in steps.rows(work)]
    model = AutoModelForCausalLM.from_pretrained(work.model, dtype=getattr(torch, work.dtype))
    if work.method == "lora":
        config = LoraConfig(**LORA, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
    model.to(work.device).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=work.learning_rate, weight_decay=0.0, fused=True)
    order = np.random.default_rng(work.seed).permutation(len(rows))
    for step in range(work.steps):
        places = range(step * work.batch_size, (step + 1) * work.batch_size)
        batch = collate(
            [rows[order[place % len(rows)]] for place in places], tokenizer.pad_token_id
        )
        inputs = {name: tensor.to(work.device) for name, tensor in batch.items()}
        model(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        steps.took(int(batch["attention_mask"].sum()))
    steps.write()


def encode(row: dict[str, str], tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids and labels."""
    prompt = tokenizer(row["prompt"])["input_ids"]
    completion = [*tokenizer(row["completion"])["input_ids"], tokenizer.eos_token_id]
    return prompt + completion, [-100] * len(prompt) + completion


def collate(rows: list[tuple[list[int], list[int]]], pad: int) -> dict[str, torch.Tensor]:
    longest = max(len(ids) for ids, _ in rows)
    room = [longest - len(ids) for ids, _ in rows]
    ids = [ids + [pad] * n for (ids, _), n in zip(rows, room, strict=True)]
    mask = [[1] * (longest - n) + [0] * n for n in room]
    labels = [labels + [-100] * n for (_, labels), n in zip(rows, room, strict=True)]
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(mask),
        "labels": torch.tensor(labels),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
