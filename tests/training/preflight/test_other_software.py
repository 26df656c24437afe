"""What the accuracy benchmark says of other people's software, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.training.preflight.experiments import FULL, LLAMA_2_7B, MISTRAL_7B, make_experiment
from training.preflight import Experiment, ModelFacts
from training.preflight.activations import numerics_of, saved_bytes_per_token
from training.preflight.calibration import PUBLISHED
from training.preflight.estimate import estimate
from training.preflight.losses import bytes_per_logit, loss_bytes
from training.preflight.memory import MemoryEstimate
from training.preflight.optimizers import DEEPSPEED_BUCKETS
from training.preflight.shape import Shape, shape_of
from training.preflight.speed import OVERLAP_POWER, beside, collectives
from training.preflight.traffic import layer_bytes_per_token

N = 6_738_415_616  # Llama-2-7B
ADAPTER = 4_194_304  # r = 8 on query and value
IN_LAYERS = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
HEAD = 32000 * 4096
TOKENS = 4 * 512


def memory(**parts: Any) -> MemoryEstimate:
    found = estimate(make_experiment(**parts))
    assert found is not None
    return found.memory


def start(found: MemoryEstimate) -> int:
    return next(one.bytes for one in found.moments if one.name == "start of the backward pass")


def llama(config: dict[str, Any] = LLAMA_2_7B) -> Shape:
    found = shape_of(ModelFacts(name="m", config=config))
    assert found is not None
    return found


def test_deepspeed_keeps_float32_of_what_is_trained_and_two_buckets() -> None:
    found = memory(stack={"deepspeed": True, "adapter_bytes": 2})
    assert found.weights_bytes == 2 * N + 2 * ADAPTER
    assert found.optimizer_bytes == 12 * ADAPTER + DEEPSPEED_BUCKETS + 4 * ADAPTER


def test_our_adapters_read_their_input_once_and_add_in_place() -> None:
    """Others cast, scale and add beside the layer; so do we in 16 bits, as adapters are float32."""
    lora = {"target_modules": ("down_proj",)}
    plain = {"train": {"dtype": "float32"}, "lora": lora}

    def moved(**parts: Any) -> float:
        asked = make_experiment(**parts)
        return layer_bytes_per_token(asked, llama(), numerics_of(asked)) / PUBLISHED.traffic

    peft = moved(**plain, stack={"adapts_in_place": False})
    saved = 4 * (3 * 11008 + 7 * 4096) - 4 * (11008 + 2 * 4096)
    assert peft - moved(**plain) == pytest.approx(saved)
    for parts in ({"lora": lora}, {**plain, "resources": {"mixed_precision": "bf16"}}):
        assert moved(**parts) == moved(**parts, stack={"adapts_in_place": False})


def test_before_torch_2_gradients_stayed_from_step_to_step() -> None:
    alone = {"grad_accum": 1, "global_batch_size": 4}
    now = memory(recipe=FULL, train=alone)
    before = memory(recipe=FULL, train=alone, stack={"keeps_gradients": True})
    assert start(before) - start(now) == 2 * N
    assert before.peak_allocated_bytes >= now.peak_allocated_bytes


def test_torch_2_0_made_two_temporaries() -> None:
    found = memory(recipe=FULL, stack={"optim": "adamw_torch_2.0"})
    assert found.optimizer_bytes == (4 + 2 + 2) * N


def test_litgpt_packs_the_head_and_keeps_the_scales_in_float32() -> None:
    stack = {"quantizes_head": True, "double_quantization": False, "prepares_4bit": "none"}
    found = memory(recipe={"method": "qlora"}, stack=stack)
    packed = IN_LAYERS + HEAD
    assert found.weights_bytes == packed // 2 + 4 * packed // 64 + 2 * (N - packed) + 4 * ADAPTER


@pytest.mark.parametrize(
    ("config", "widths"), [(LLAMA_2_7B, 6), (MISTRAL_7B, 4)], ids=["a view of all", "repeated"]
)
def test_one_matrix_for_queries_keys_and_values(config: dict[str, Any], widths: int) -> None:
    apart = make_experiment(lora={"target_modules": ("o_proj",)})
    joined = replace(apart, stack=replace(apart.stack, joins_heads=True))
    shape, numerics = llama(config), numerics_of(apart)
    more = saved_bytes_per_token(joined, shape, numerics)
    more -= saved_bytes_per_token(apart, shape, numerics)
    assert more == 2 * (widths * 4096 - 2 * 4096 - 2 * shape.kv_size)


def test_adapters_of_one_matrix_drop_out_once() -> None:
    apart = make_experiment(lora={"lora_dropout": 0.1})
    joined = replace(apart, stack=replace(apart.stack, joins_heads=True))
    shape, numerics = llama(), numerics_of(apart)
    more = saved_bytes_per_token(joined, shape, numerics)
    more -= saved_bytes_per_token(apart, shape, numerics)
    assert more == 2 * 2 * 4096 - (4 + 1) * 4096  # all of what the matrix returned; one mask less


def test_an_older_bitsandbytes_kept_the_inputs_of_two_passes() -> None:
    stack = {"prepares_4bit": "none", "loss": "pieces", "keeps_4bit_inputs": True}
    found = memory(recipe={"method": "qlora"}, stack=stack)
    qlora = make_experiment(recipe={"method": "qlora"}, stack=stack)
    layer = saved_bytes_per_token(qlora, llama(), numerics_of(qlora))
    now, before = 2 * (2 * 4096 + 11008), 2 * (3 * 4096 + 11008)
    inputs = 32 * (now + before)
    assert found.activations_bytes == TOKENS * (32 * layer + inputs + 8 * 32000) + 4 * HEAD
    again = memory(recipe={"method": "qlora"}, stack=stack, train={"gradient_checkpointing": True})
    assert again.activations_bytes < found.activations_bytes / 4


def test_a_loss_in_the_type_that_comes() -> None:
    plain = make_experiment(stack={"loss": "as_it_comes"})
    mixed = make_experiment(stack={"loss": "as_it_comes"}, resources={"mixed_precision": "bf16"})
    assert bytes_per_logit(plain, numerics_of(plain)) == 3 * 2
    assert bytes_per_logit(mixed, numerics_of(mixed)) == 3 * 4


def test_autograd_adds_the_head_s_gradients_of_chunks_and_liger_has_one() -> None:
    def more_where_trained(loss: str) -> int:
        full = make_experiment(recipe=FULL, stack={"loss": loss})
        frozen = make_experiment(stack={"loss": loss})
        sizes = [loss_bytes(one, llama(), numerics_of(one), TOKENS) for one in (full, frozen)]
        return sizes[0] - sizes[1] - TOKENS * 2 * 2 * 4096  # two inputs, of norm and of head

    assert more_where_trained("chunked") == more_where_trained("chunked_in_16_bits") == 2 * 2 * HEAD
    assert more_where_trained("fused_linear") == 2 * HEAD
    assert more_where_trained("transformers") == 0


def test_selective_checkpointing_keeps_every_other_product() -> None:
    stack = {"selective": True, "loss": "transformers"}
    found = memory(recipe=FULL, stack=stack)
    query, value, gate, down = 4096, 4096, 11008, 4096
    layer = 2 * (4096 + 4096 + query + value + gate + down)  # and the stream, and attention
    last_norm, head_input, rotation = 4096 * 4 + 4 + 4096 * 2, 2 * 4096, 2 * 2 * 128
    loss = 12 * 32000 + last_norm + head_input + rotation
    assert found.activations_bytes == TOKENS * (32 * layer + loss)


# --- time ------------------------------------------------------------------------------------


def on_four(strategy: str, **parts: Any) -> Experiment:
    machines = {"gpus": 4, "gpu_type": "a100-80gb", "strategy": strategy}
    return make_experiment(resources=machines, **parts)


def test_a_collective_for_each_time_that_a_layer_is_gathered_or_its_gradients_summed() -> None:
    assert collectives(on_four("fsdp"), llama()) == 3 * 32
    assert collectives(on_four("ddp"), llama()) == 0
    assert collectives(make_experiment(resources={"strategy": "fsdp"}), llama()) == 0
    of_peft = on_four("fsdp", stack={"fsdp1": True})
    assert collectives(of_peft, llama()) == 3 * (1 + 2 * 2) * 32
    of_peft_in_full = on_four("fsdp", stack={"fsdp1": True}, recipe=FULL)
    assert collectives(of_peft_in_full, llama()) == 3 * 32


def test_the_longer_hides_most_of_the_shorter() -> None:
    assert beside(2.0, 0.0) == beside(0.0, 2.0) == 2.0
    assert beside(2.0, 2.0) == pytest.approx(2 * 2 ** (1 / OVERLAP_POWER))
    assert 2.0 < beside(2.0, 0.5) < 2.01
    assert beside(0.0, 0.0) == 0.0


def test_of_adapters_only_those_of_packed_weights_have_kernels_of_their_own() -> None:
    def saved_by_kernels(method: str) -> float:
        eager = make_experiment(recipe={"method": method}, stack={"prepares_4bit": "none"})
        fused = replace(eager, stack=replace(eager.stack, fused=True))
        numerics = numerics_of(eager)
        bytes_ = [layer_bytes_per_token(one, llama(), numerics) for one in (eager, fused)]
        return (bytes_[0] - bytes_[1]) / PUBLISHED.traffic / (1 - PUBLISHED.fused_share)

    reads, writes = 2 + 2 * 4, 4 * 4 + 3 * 2  # of an adapter, for each number in and out
    adapters = 2 * (reads + writes) * 4096
    assert saved_by_kernels("qlora") - saved_by_kernels("lora") == pytest.approx(adapters)
