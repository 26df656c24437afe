"""``python -m benchmarks.throughput.with_trl FOLDER [--packing] [--liger]``: TRL's SFTTrainer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from benchmarks.throughput.steps import Steps
from benchmarks.throughput.workload import LORA, Workload

PACK_ROWS = 8.5  # as many tokens in a step as without packing, about


def main(folder: Path, *, packing: bool, liger: bool) -> None:
    work, steps = Workload.read(folder), Steps(folder)
    torch.set_num_threads(work.threads)
    seen = Seen(steps)
    rows = steps.rows(work)
    args = SFTConfig(
        output_dir=str(folder / "out"),
        max_steps=work.steps,
        per_device_train_batch_size=1 if packing else work.batch_size,
        learning_rate=work.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        max_length=pack_tokens(rows, work) if packing else work.max_length,
        packing=packing,
        completion_only_loss=True,
        seed=work.seed,
        use_cpu=work.device == "cpu",
        bf16=False,  # the weights are bfloat16 themselves, where there is a GPU
        use_liger_kernel=liger,
        gradient_checkpointing=False,
        save_strategy="no",
        logging_steps=work.steps,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(work.model, dtype=getattr(torch, work.dtype)),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(work.model),
        peft_config=LoraConfig(**LORA, target_modules="all-linear", task_type="CAUSAL_LM")
        if work.method == "lora"
        else None,
        callbacks=[seen],
    )
    collate = trainer.data_collator

    def counting(examples: list[Any]) -> Any:
        batch = collate(examples)
        mask = batch.get("attention_mask")
        seen.tokens.append(int(mask.sum()) if mask is not None else batch["input_ids"].numel())
        return batch

    trainer.data_collator = counting
    trainer.train()
    steps.write()


def pack_tokens(rows: list[dict[str, str]], work: Workload) -> int:
    tokenizer = AutoTokenizer.from_pretrained(work.model)
    lengths = [len(tokenizer(row["prompt"] + row["completion"])["input_ids"]) + 1 for row in rows]
    return round(PACK_ROWS / 8 * work.batch_size * sum(lengths) / len(lengths))


class Seen(TrainerCallback):
    """Batches are collated ahead of their step, so their tokens wait here in line."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.tokens: list[int] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.steps.took(self.tokens.pop(0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), packing="--packing" in sys.argv, liger="--liger" in sys.argv)
