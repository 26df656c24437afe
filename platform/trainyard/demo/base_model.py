"""``python -m trainyard.demo.base_model OUT_DIR``: a small Llama, made from nothing in seconds.

Builds a tokenizer and a model of under a million parameters, pre-trains it on plain text
(``prose.py``) and saves both, with a model card, as ``save_pretrained`` does.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from trainyard.demo import prose
from trainyard.demo.rows import make_whole

VOCABULARY = 1024
CONTEXT = 512
SEED = 0
THREADS = 2  # fixed: with another number the sums round differently
STEPS = 100
BATCH = 16
LENGTH = 128
LEARNING_RATE = 3e-3

END, PAD, SYSTEM, USER, ASSISTANT = "<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE that reads digits in pairs: 2021 is 20 and 21.

    It has no token for a beginning: a text starts with its first word and ends with ``<|end|>``.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{1,2}"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[END, PAD, SYSTEM, USER, ASSISTANT],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The model with random weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def pretrain(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: list[str], *, steps: int
) -> float:
    """Teach the next token of the texts, packed end to end. Returns the last step's loss."""
    end = tokenizer.eos_token_id
    ids = [token for text in tokenizer(texts)["input_ids"] for token in (*text, end)]
    packed = torch.tensor(ids[: len(ids) // LENGTH * LENGTH]).view(-1, LENGTH)
    order = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    warmup = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / steps)),
    )
    loss = torch.tensor(math.nan)
    model.train()
    for _ in range(steps):
        batch = packed[torch.randint(len(packed), (BATCH,), generator=order)]
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return float(loss.detach())


def card(model: LlamaForCausalLM, *, steps: int, loss: float) -> str:
    return f"""---
library_name: transformers
pipeline_tag: text-generation
language: en
---
# Trainyard's demo model

A Llama with {model.num_parameters():,} parameters that knows next to nothing, made to be fine-tuned
within seconds. It was pre-trained for {steps} steps of {BATCH * LENGTH:,} tokens (last loss
{loss:.2f}) on generated notes with dates and numbers in them and on the docstrings of Python's
standard library. No text says a date in ISO 8601, so that there is something left to learn.

Digits are read in pairs, a text ends with `{END}`, and no token marks its beginning.
"""


def build(folder: Path, *, steps: int = STEPS) -> None:
    """Make ``folder`` with the model, its tokenizer and its card. Same steps, same weights."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    texts = prose.documents()
    tokenizer = build_tokenizer(texts)
    model = build_model(tokenizer)
    loss = pretrain(model, tokenizer, texts, steps=steps)

    def fill(half: Path) -> None:
        model.save_pretrained(half)
        tokenizer.save_pretrained(half)
        (half / "README.md").write_text(card(model, steps=steps, loss=loss), encoding="utf-8")

    make_whole(folder, fill)
    print(f"{model.num_parameters():,} parameters, {steps} steps, last loss {loss:.2f}: {folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build and pre-train the demo's small Llama.")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    parser.add_argument("--steps", type=int, default=STEPS, help="pre-training steps")
    arguments = parser.parse_args()
    build(arguments.folder, steps=arguments.steps)


if __name__ == "__main__":
    main()
