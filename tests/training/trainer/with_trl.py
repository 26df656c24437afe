"""``python -m tests.training.trainer.with_trl RUN_DIR ...``: these runs by TRL's SFTTrainer.

The same rows step by step; prints the losses of each run as a line of JSON. A process of its own:
TRL changes what Transformers does, and warns.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer

from training.trainer.data.order import Order
from training.trainer.spec import RunSpec


class InOrder(SFTTrainer):
    """Takes the rows as they come, and keeps what it says of every micro batch."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(train_dataset or self.train_dataset)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        self.seen.append(loss.item())
        return loss


def losses_of(run_dir: Path) -> list[float]:
    spec = RunSpec.read(run_dir)
    train = spec.train
    assert train.max_steps is not None
    torch.set_num_threads(1)
    lines = Path(spec.dataset.train[0]).read_text(encoding="utf-8").splitlines()
    order = Order(rows=len(lines), batch_size=train.global_batch_size, seed=train.seed)
    taken = [index for step in range(train.max_steps) for index in order.of_step(step)]
    rows = Dataset.from_list([json.loads(lines[index]) for index in taken])
    set_seed(train.seed)
    model = AutoModelForCausalLM.from_pretrained(spec.base_model.path, dtype=torch.float32)
    if spec.uses_adapter:
        lora = spec.lora
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.r,
            lora_alpha=lora.lora_alpha,
            target_modules=lora.target_modules,
        )
        model = get_peft_model(model, config)
    args = SFTConfig(
        output_dir=str(run_dir / "trl"),
        max_steps=train.max_steps,
        per_device_train_batch_size=train.micro_batch_size(1),
        gradient_accumulation_steps=train.grad_accum,
        learning_rate=train.learning_rate,
        lr_scheduler_type=train.lr_scheduler_type,
        warmup_steps=train.warmup_steps,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        max_length=train.max_length,
        completion_only_loss=True,
        seed=train.seed,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(spec.base_model.path)
    trainer = InOrder(model=model, args=args, train_dataset=rows, processing_class=tokenizer)
    trainer.seen = []
    trainer.train()
    size = train.grad_accum
    steps = [trainer.seen[start : start + size] for start in range(0, len(trainer.seen), size)]
    return [sum(step) for step in steps]


if __name__ == "__main__":
    told = [json.dumps(losses_of(Path(folder))) for folder in sys.argv[1:]]
    sys.stdout.write("\n".join(["", *told]))
