"""A model that is going to be sharded is read once, however many ranks there are.

That ranks with hollow models learn what one rank learns is shown in `test_ranks`.
"""

from __future__ import annotations

from pathlib import Path

import psutil
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from training.trainer import one_copy

MIB = 2**20


def test_a_hollow_model_takes_no_room(tmp_path: Path) -> None:
    LlamaConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=8,
        num_attention_heads=16,
        vocab_size=1000,
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(tmp_path)
    before = psutil.Process().memory_info().rss
    model = one_copy.hollow(
        str(tmp_path),
        "AutoModelForCausalLM",
        trust_remote_code=False,
        dtype=torch.float32,
        attn_implementation="sdpa",
    )
    grown = psutil.Process().memory_info().rss - before
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    assert weights > 500 * MIB
    assert grown < 50 * MIB


def test_a_hollow_model_is_built_as_the_real_one(base_model: Path) -> None:
    settings = {"dtype": torch.bfloat16, "attn_implementation": "eager"}
    hollow = one_copy.hollow(
        str(base_model), "AutoModelForCausalLM", trust_remote_code=False, **settings
    )
    real = AutoModelForCausalLM.from_pretrained(base_model, **settings)
    assert type(hollow) is type(real)
    assert hollow.config.to_dict() == real.config.to_dict()
    assert hollow.config._attn_implementation == "eager"
    assert hollow.generation_config.to_dict() == real.generation_config.to_dict()
    shapes = {n: (p.shape, p.dtype, p.device) for n, p in real.named_parameters()}
    assert {n: (p.shape, p.dtype, p.device) for n, p in hollow.named_parameters()} == shapes
    assert hollow.lm_head.weight is hollow.get_input_embeddings().weight
    assert hollow.state_dict().keys() == real.state_dict().keys()
