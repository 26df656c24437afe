"""Memory to the byte, where it can be worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.preflight.experiments import FULL, LLAMA_2_7B, SOUND, make_experiment
from training.preflight import Experiment, check
from training.preflight.estimate import estimate
from training.preflight.hardware import GIB
from training.preflight.losses import loss_of
from training.preflight.memory import GROUPED_4BIT_BYTES, MemoryEstimate
from training.preflight.optimizers import OPTIMIZERS as MEMORY_OF_OPTIMIZERS
from training.trainer.spec import OPTIMIZERS

N = 6_738_415_616  # Llama-2-7B
ADAPTER = 4_194_304  # r = 8 on query and value
IN_LAYERS = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)


def memory(experiment: Experiment) -> MemoryEstimate:
    needs = estimate(experiment)
    assert needs is not None
    return needs.memory


def moment(found: MemoryEstimate, name: str) -> int:
    return next(one.bytes for one in found.moments if one.name == name)


def test_full_fine_tuning_in_bfloat16_takes_ten_bytes_a_parameter_at_the_step() -> None:
    found = memory(make_experiment(recipe=FULL, train={"gradient_checkpointing": True}))
    assert found.weights_bytes == 2 * N
    assert found.gradients_bytes == 2 * N
    assert found.optimizer_bytes == 6 * N  # two states, and a temporary while it steps
    assert moment(found, "optimizer step") == 10 * N
    assert found.peak_allocated_bytes == 10 * N


def test_full_fine_tuning_in_float32_takes_twenty() -> None:
    found = memory(make_experiment(recipe=FULL, train={"dtype": "float32"}))
    assert moment(found, "optimizer step") == 20 * N


def test_the_fused_optimizer_and_the_cpu_need_no_temporary() -> None:
    fused = make_experiment(recipe=FULL, train={"optim": "adamw_torch_fused"})
    assert moment(memory(fused), "optimizer step") == 8 * N
    on_the_cpu = make_experiment(recipe=FULL, resources={"gpus": 0, "gpu_type": None})
    assert moment(memory(on_the_cpu), "optimizer step") == 8 * N


def test_every_optimizer_of_the_trainer_is_known() -> None:
    assert set(OPTIMIZERS) <= set(MEMORY_OF_OPTIMIZERS)


def test_states_in_eight_bits_are_two_bytes_and_their_scales_but_for_embeddings() -> None:
    found = memory(make_experiment(recipe=FULL, train={"optim": "adamw_8bit"}))
    embeddings = 32_000 * 4096
    in_eight_bits = N - embeddings
    assert found.optimizer_bytes == 2 * in_eight_bits + 2 * in_eight_bits // 64 + 8 * embeddings
    adapters = memory(make_experiment(train={"optim": "adamw_8bit"}))
    assert adapters.optimizer_bytes == 2 * ADAPTER + 2 * ADAPTER // 64


def test_states_in_eight_bits_are_unpacked_on_the_cpu_one_matrix_after_the_other() -> None:
    on_the_cpu = {"gpus": 0, "gpu_type": None}
    train = {"optim": "adamw_8bit", "gradient_checkpointing": True}
    there = memory(make_experiment(recipe=FULL, train=train))
    here = memory(make_experiment(recipe=FULL, train=train, resources=on_the_cpu))
    head = 32_000 * 4096
    apart = moment(here, "optimizer step") - moment(there, "optimizer step")
    assert apart == 4 * 5 * head  # gradient, two states, a root and a divisor in float32


def test_what_is_loaded_is_a_moment_of_its_own() -> None:
    """Nothing else is there yet; sharded, the first device has but its share."""
    assert moment(memory(SOUND), "load") == 2 * N + 4 * ADAPTER
    full = make_experiment(recipe=FULL)
    assert moment(memory(full), "load") == 2 * N
    sharded = make_experiment(
        recipe=FULL, train={"grad_accum": 1}, resources={"gpus": 4, "strategy": "zero3"}
    )
    assert moment(memory(sharded), "load") == 2 * N // 4


def test_a_checkpoint_needs_what_rests_and_one_matrix_of_a_sharded_adapter() -> None:
    assert moment(memory(SOUND), "checkpoint") == 2 * N + 4 * ADAPTER + 8 * ADAPTER
    sharded = make_experiment(train={"grad_accum": 1}, resources={"gpus": 4, "strategy": "zero3"})
    share = -(-(2 * N + 4 * ADAPTER) // 4) + 8 * ADAPTER // 4
    assert moment(memory(sharded), "checkpoint") == share + 4 * 8 * 4096
    full = make_experiment(
        recipe=FULL, train={"grad_accum": 1}, resources={"gpus": 4, "strategy": "zero3"}
    )
    assert moment(memory(full), "checkpoint") == 2 * N // 4 + 4 * N // 4


def test_buckets_of_ddp_stay_from_step_to_step() -> None:
    """They are the gradients; alone on a device those go after each step."""
    alone = memory(make_experiment(recipe=FULL, train={"grad_accum": 1}))
    two = memory(
        make_experiment(
            recipe=FULL,
            train={"grad_accum": 1, "global_batch_size": 16},
            resources={"gpus": 2, "strategy": "ddp"},
        )
    )
    for name in ("checkpoint", "evaluation"):
        assert moment(two, name) - moment(alone, name) == 2 * N
    assert moment(two, "end of the backward pass") == moment(alone, "end of the backward pass")


def test_of_experts_all_are_held_and_only_the_chosen_keep_activations() -> None:
    """Mixtral's shape, small: 8 experts of which a token sees 2."""
    config = {
        "model_type": "mixtral",
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    }
    attention = 2 * 256 * 256 + 2 * 256 * 128
    experts = 8 * 3 * 256 * 512
    layer = attention + experts + 8 * 256 + 2 * 256  # the router, and two norms
    total = 2 * layer + 2 * 1000 * 256 + 256
    found = memory(make_experiment(model={"config": config}, recipe=FULL))
    assert found.weights_bytes == 2 * total
    assert found.gradients_bytes == 2 * total
    assert found.trainable_params == total
    more = memory(
        make_experiment(model={"config": config | {"num_local_experts": 16}}, recipe=FULL)
    )
    assert more.weights_bytes - found.weights_bytes == 2 * 2 * (experts + 8 * 256)
    assert more.activations_bytes == found.activations_bytes
    wider = memory(
        make_experiment(model={"config": config | {"num_experts_per_tok": 4}}, recipe=FULL)
    )
    assert wider.weights_bytes == found.weights_bytes
    assert wider.activations_bytes > found.activations_bytes


def test_experts_are_not_packed_and_qlora_turns_them_to_float32() -> None:
    """As bitsandbytes and PEFT leave them; `test_quantized.py` loads some."""
    config = LLAMA_2_7B | {"model_type": "mixtral", "num_local_experts": 4}
    found = memory(make_experiment(model={"config": config}, recipe={"method": "qlora"}))
    attention = 32 * 4 * 4096 * 4096
    experts = 32 * 4 * 3 * 4096 * 11008
    rest = 2 * 32_000 * 4096 + 32 * (2 * 4096 + 4 * 4096) + 4096
    in_four_bits = attention // 2 + attention // 64 + attention // (64 * 64)
    assert found.weights_bytes == in_four_bits + 4 * (experts + rest) + 4 * ADAPTER


def test_the_model_before_training_is_asked_about_eight_pairs_whatever_the_micro_batch() -> None:
    """Before there are states and gradients, and where nothing is held out."""
    parts: dict[str, Any] = {
        "recipe": {"name": "DPO", "method": "dpo"},
        "dataset": {"row_format": "preference", "splits": ("train",)},
    }
    train = {"use_peft": True, "grad_accum": 8, "gradient_checkpointing": True}
    one = memory(make_experiment(train=train, **parts))
    logits = 16 * 512 * (2 + 4 + 4) * 32_000
    assert moment(one, "reference") == 2 * N + 4 * ADAPTER + logits
    assert one.peak.name == "reference"
    assert "reference" not in [found.name for found in memory(SOUND).moments]


def test_answers_keep_keys_and_values_of_every_token() -> None:
    asked = memory(make_experiment(eval_suites=("exact_match",)))
    keys_and_values = 2 * 2 * 32 * 4096
    more = moment(asked, "evaluation") - moment(memory(SOUND), "evaluation")
    assert more == 8 * 512 * keys_and_values


def test_eager_attention_writes_scores_down_in_evaluations_too() -> None:
    eager = {"attn_implementation": "eager", "grad_accum": 8}
    found = memory(make_experiment(train=eager))
    scores = 8 * 512 * 32 * 512
    resting = 2 * N + 12 * ADAPTER
    assert moment(found, "evaluation") == resting + 10 * scores + 8 * 512 * 2 * 2 * 4096


def test_plain_sgd_keeps_no_states() -> None:
    assert memory(make_experiment(recipe=FULL, train={"optim": "sgd"})).optimizer_bytes == 0


def test_lora_keeps_its_adapters_in_float32() -> None:
    found = memory(SOUND)
    assert found.trainable_params == ADAPTER
    assert found.weights_bytes == 2 * N + 4 * ADAPTER
    assert found.gradients_bytes == 4 * ADAPTER
    assert found.optimizer_bytes == 12 * ADAPTER


def test_qlora_quantizes_the_layers_and_turns_the_rest_to_float32() -> None:
    found = memory(make_experiment(recipe={"method": "qlora"}))
    in_four_bits = IN_LAYERS // 2 + IN_LAYERS // 64 + IN_LAYERS // (64 * 64)
    assert found.weights_bytes == in_four_bits + 4 * (N - IN_LAYERS) + 4 * ADAPTER


def test_a_quantized_base_is_loaded_as_it_is() -> None:
    found = memory(make_experiment(model={"quantized": True, "dtype": "int4"}))
    assert (
        found.weights_bytes
        == round(IN_LAYERS * GROUPED_4BIT_BYTES) + 2 * (N - IN_LAYERS) + 4 * ADAPTER
    )
    eight = memory(make_experiment(model={"quantized": True, "quantization": "int8"}))
    assert eight.weights_bytes == IN_LAYERS + 2 * (N - IN_LAYERS) + 4 * ADAPTER


ALL_LOGITS = {"loss": "transformers"}


def test_checkpointing_keeps_one_copy_of_the_stream_per_layer() -> None:
    found = memory(make_experiment(train={"gradient_checkpointing": True}, stack=ALL_LOGITS))
    tokens = 4 * 512
    rotation = 2 * 2 * 128
    loss = 12 * 32000 + 4 * 4096 + 4 + rotation  # and what the last norm keeps
    assert found.activations_bytes == tokens * (2 * 4096 * 32 + loss)


def test_without_checkpointing_every_layer_keeps_all_it_needs() -> None:
    found = memory(make_experiment(recipe=FULL, stack=ALL_LOGITS))
    tokens = 4 * 512
    norms = 2 * (4096 * 4 + 4 + 4096 * 2)
    attention = 2 * 4 * 4096 + 4 * 32
    feed_forward = 2 * 3 * 11008
    inputs = 2 * 4096 + 2 * 4096 + 2 * 11008
    layer = norms + attention + feed_forward + inputs
    last_norm, head_input, rotation = 4096 * 4 + 4 + 4096 * 2, 2 * 4096, 2 * 2 * 128
    loss = 12 * 32000 + last_norm + head_input + rotation
    assert found.activations_bytes == tokens * (32 * layer + loss)


def test_our_loss_holds_a_chunk_of_logits_and_the_gradient_of_the_head() -> None:
    found = memory(make_experiment(recipe=FULL, train={"gradient_checkpointing": True}))
    tokens, chunk, head = 4 * 512, 512, 32000 * 4096  # 2**24 logits and less are 512 rows
    last_norm, rotation = 4096 * 4 + 4 + 4096 * 2, 2 * 2 * 128
    around = tokens * (last_norm + rotation + 2 * 2 * 4096)  # its input, and the gradient of that
    at_work = chunk * 32000 * (4 + 2) + 8 * head + chunk * 4096 * 2
    assert found.activations_bytes == tokens * 2 * 4096 * 32 + around + at_work


def test_of_a_frozen_head_our_loss_needs_no_gradient() -> None:
    tokens, vocab = 4 * 512, 1_000_000  # so many that the loss is higher than any layer
    wide = LLAMA_2_7B | {"vocab_size": vocab}
    few = memory(make_experiment(model={"config": wide}, train={"gradient_checkpointing": True}))
    chunk = 16  # rows, as many as there are whole sixteens of in 2**24 logits
    loss = 4096 * 4 + 4 + 2 * 2 * 128 + 2 * 2 * 4096
    at_work = chunk * vocab * (4 + 4 + 2) + chunk * 4096 * 2
    assert few.activations_bytes >= tokens * (2 * 4096 * 32 + loss) + at_work
    start = moment(few, "start of the backward pass")
    assert start <= few.weights_bytes + few.optimizer_bytes + few.activations_bytes


@pytest.mark.parametrize(
    "changed",
    [
        {"model": {"config": LLAMA_2_7B | {"final_logit_softcapping": 30.0}}},
        {"lora": {"target_modules": ("q_proj", "lm_head")}},
        {"resources": {"mixed_precision": "fp16"}},
        {"train": {"dtype": "float16"}},
        {"recipe": {"method": "dpo"}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_head_that_is_not_plain_makes_all_logits_at_once(changed: dict[str, Any]) -> None:
    assert loss_of(SOUND) == "ours"
    assert loss_of(make_experiment(**changed)) == "transformers"


def test_evaluation_counts_where_rows_are_held_out_and_may_be_the_peak() -> None:
    one_row = {"global_batch_size": 1, "grad_accum": 1, "gradient_checkpointing": True}
    found = memory(make_experiment(train=one_row, stack=ALL_LOGITS))
    # eight rows: logits in 16 bits, in float32, and their log-probabilities
    evaluating = 2 * N + 12 * ADAPTER + 8 * 512 * 32000 * (2 + 4 + 4)
    assert moment(found, "evaluation") == evaluating
    ours = memory(make_experiment(train=one_row))
    # eight rows at the activation function of one layer, which is more than a chunk of logits
    evaluating = 2 * N + 12 * ADAPTER + 8 * 512 * (3 * 2 * 11008 + 2 * 2 * 4096)
    assert moment(ours, "evaluation") == evaluating
    assert found.peak.name == ours.peak.name == "evaluation"
    nothing_held_out = memory(make_experiment(train=one_row, dataset={"splits": ("train",)}))
    assert nothing_held_out.peak.name != "evaluation"


def test_gradients_wait_through_the_next_micro_batch() -> None:
    alone = memory(make_experiment(recipe=FULL, train={"grad_accum": 1, "global_batch_size": 4}))
    accumulated = memory(make_experiment(recipe=FULL, train={"grad_accum": 2}))
    start = "start of the backward pass"
    assert moment(accumulated, start) - moment(alone, start) == 2 * N


def test_the_longest_row_decides_not_max_length() -> None:
    short = memory(make_experiment(train={"max_length": 4096}))
    assert short == memory(make_experiment(train={"max_length": 512}))


def test_eager_attention_grows_with_the_square_of_the_length() -> None:
    flash = memory(SOUND).activations_bytes
    eager = memory(make_experiment(train={"attn_implementation": "eager"})).activations_bytes
    assert eager - flash == 32 * (4 * 512) * (32 * 512) * 6


def test_the_parts_make_the_peak_and_the_peak_makes_the_total() -> None:
    found = memory(make_experiment(recipe=FULL))
    told = found.as_dict()
    parts = sum(
        told[f"{name}_gb"] for name in ("model_params", "activations", "gradients", "optimizer")
    )
    assert parts - told["reused_gb"] == pytest.approx(told["peak_allocated_gb"], abs=1e-3)
    total = told["peak_allocated_gb"] + told["cuda_context_gb"] + told["buffer_gb"]
    assert told["total_with_buffer_gb"] == pytest.approx(total, abs=2e-3)
    assert told["peak_allocated_gb"] == pytest.approx(found.peak_allocated_bytes / GIB, abs=1e-4)
    report = check(make_experiment(recipe=FULL)).as_dict()
    assert report["vram_breakdown"]["total_with_buffer_gb"] * 1024 == report["estimated_vram_mb"]


# --- several GPUs ------------------------------------------------------------------------------

OUTSIDE = N - IN_LAYERS  # embeddings, norms and head
FOUR = {"gpus": 4, "gpu_type": "a100-80gb"}


def on_four(strategy: str, *, grad_accum: int = 1) -> MemoryEstimate:
    return memory(
        make_experiment(
            recipe=FULL,
            train={"global_batch_size": 16 * grad_accum, "grad_accum": grad_accum},
            resources={**FOUR, "strategy": strategy},
        )
    )


def test_ddp_holds_everything_on_every_gpu() -> None:
    assert moment(on_four("ddp"), "optimizer step") == 10 * N


@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3", "fsdp"])
def test_sharded_the_optimizer_sees_a_share_only(strategy: str) -> None:
    assert moment(on_four(strategy), "optimizer step") == 10 * N // 4


def test_the_stages_of_zero_each_hold_less() -> None:
    one, two, three = (on_four(f"zero{stage}", grad_accum=2) for stage in (1, 2, 3))
    assert one.weights_bytes == two.weights_bytes == 2 * N + 2 * N // 4
    assert three.weights_bytes == 2 * N // 4 + 2 * OUTSIDE + 2 * IN_LAYERS * 2 // 32
    assert one.gradients_bytes == 2 * N + 2 * N // 4
    assert two.gradients_bytes == three.gradients_bytes == 2 * N // 4 + 2 * OUTSIDE
    assert one.total_mb > two.total_mb > three.total_mb
    assert on_four("ddp", grad_accum=2).total_mb > one.total_mb


def test_a_checkpoint_is_as_large_whatever_the_ranks_hold() -> None:
    sizes = {
        estimate(
            make_experiment(recipe=FULL, resources={**FOUR, "strategy": name})
        ).disk_required_mb  # type: ignore[union-attr]
        for name in ("ddp", "zero1", "zero3")
    }
    assert len(sizes) == 1


def test_a_model_too_large_for_one_gpu_is_shared_out() -> None:
    report = check(
        make_experiment(
            recipe=FULL,
            train={"global_batch_size": 4, "grad_accum": 1},
            resources={**FOUR, "gpu_type": "a100-40gb", "gpus": 4},
        )
    )
    assert report.fits is False
    fixes = [fix for fix in report.fixes if fix.patch.get("resources", {}).get("strategy")]
    assert fixes
    assert fixes[0].fits
    assert fixes[0].keeps_result
