"""``python -m trainyard.demo.answers MODEL_DIR``: what a model answers, in plain Transformers.

Reads a JSON list of prompts from standard input and writes the list of answers.
"""

from __future__ import annotations

import json
import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

LONGEST_ANSWER_TOKENS = 16


def answers(folder: str, prompts: list[str]) -> list[str]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    said = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        generated = model.generate(
            input_ids=ids,
            attention_mask=ids.new_ones(ids.shape),
            max_new_tokens=LONGEST_ANSWER_TOKENS,
            do_sample=False,
        )
        said.append(tokenizer.decode(generated[0, ids.shape[1] :], skip_special_tokens=True))
    return said


if __name__ == "__main__":
    json.dump(answers(sys.argv[1], json.load(sys.stdin)), sys.stdout)
