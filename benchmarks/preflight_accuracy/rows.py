"""A published run, told to the preflight: settings as an Experiment, software as a Stack."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.preflight import (
    DatasetFacts,
    Experiment,
    LoraSpec,
    ModelFacts,
    RecipeFacts,
    Resources,
    Stack,
    TrainSpec,
)

DATA = Path(__file__).with_name("data")
Row = dict[str, Any]
CONFIGS: dict[str, dict[str, Any]] = json.loads((DATA / "models.json").read_text("utf-8"))[
    "configs"
]

# Whose rows hold a run of Transformers with everything known that memory depends on.
TRANSFORMERS = ("fms-acceleration",)
# How other software calls the matrices of a layer.
MATRICES = {
    "query": ("q_proj",),
    "key": ("k_proj",),
    "value": ("v_proj",),
    "projection": ("o_proj", "dense"),
    "output_proj": ("o_proj",),
    "mlp": ("gate_proj", "up_proj", "down_proj", "fc1", "fc2"),
}
CARDS = {
    "a100-sxm 40gb": "a100-40gb",
    "a100-sxm 80gb": "a100-80gb",
    "h100-sxm 96gb": "h100-sxm-96gb",
    "h100-sxm": "h100-sxm",
    "h200-sxm": "h200",
    "b200-sxm": "b200",
}


def read(path: Path) -> list[Row]:
    """Rows of a file: a list, or an object whose ``rows`` refer to ``sources`` and ``notes``."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, list):
        return content
    rows: list[Row] = content["rows"]
    for row in rows:
        for field, table in (("source", "sources"), ("notes", "notes")):
            if field in row:
                row[field] = content.get(table, {}).get(row[field], row[field])
    return rows


def completed(rows: list[Row], others: list[Row]) -> list[Row]:
    """What ``others`` say of the same runs is added to the rows; a run's speed has the id of its
    memory with "thr-" before it."""
    known = {str(row["id"]): row for row in others}
    return [known.get(str(row["id"]).removeprefix("thr-"), {}) | row for row in rows]


def config_of(row: Row) -> dict[str, Any] | None:
    """Of the model whose name the row's begins or goes on with; None where there is no such."""
    key = _key_of(row)
    return None if key is None else CONFIGS[key]


def model_of(row: Row) -> str:
    """One name for a model, however it is spelled and whether or not it is quantized."""
    return _key_of(row) or str(row["model"])


def _key_of(row: Row) -> str | None:
    name = _plain(str(row["model"]).split(" ")[0].split("/")[-1])
    keys = {_plain(key).removesuffix("hf"): key for key in CONFIGS}
    inside = [key for key in keys if key in name]
    if inside:
        return keys[max(inside, key=len)]
    longer = [key for key in keys if key.startswith(name)]
    return keys[min(longer)] if longer and len(name) > 3 else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def experiment_of(row: Row) -> Experiment | None:
    """None where the model's size, the batch or the length is not known, or where the model is cut
    up in a way that the preflight does not know: across tensors or in a pipeline."""
    config = config_of(row)
    if not row.get("micro_batch_size") or not row.get("seq_len"):
        return None
    if config is None and not row.get("n_params"):
        return None
    if any(word in str(row.get("strategy")) for word in ("TP2", "TP4", "TP8", "PP4", "PP8")):
        return None
    method, quantized = _method(row)
    gpus = int(row.get("gpus") or 1)
    micro_batch = int(row["micro_batch_size"])
    accumulation = _accumulation(row)
    length = int(row["seq_len"])
    dtype, mixed = _precision(row)
    return Experiment(
        model=ModelFacts(
            name=str(row["model"]),
            config=_as_trained(row, config),
            params_b=None if config else row["n_params"] / 1e9,
            quantized=quantized,
            quantization="gptq" if quantized else None,
        ),
        dataset=DatasetFacts(
            name="rows of one length", mean_tokens=float(length), max_tokens=length
        ),
        recipe=RecipeFacts(name=method, method=_recipe(row, method), supports_quantized=True),
        train=TrainSpec(
            max_steps=1,
            global_batch_size=micro_batch * accumulation * gpus,
            grad_accum=accumulation,
            max_length=length,
            dtype=dtype,
            optim="adamw_torch_fused" if _updates_in_place(row) else "adamw_torch",
            gradient_checkpointing=row.get("grad_checkpointing") in (True, "True"),
            attn_implementation="eager" if row.get("attention") == "eager" else "sdpa",
            tf32="tf32" in str(row.get("dtype")).lower(),  # off, where nobody turns it on
            use_peft=method != "full" and _recipe(row, method) not in ("lora", "qlora"),
        ),
        lora=LoraSpec(
            r=row.get("lora_rank") or 16,
            target_modules=_targets(row),
            # LitGPT's config_hub and Qwen's finetune.py drop out a twentieth of what adapters see.
            lora_dropout=0.05 if row["source_group"] in ("litgpt-config-hub", "qwen-readme") else 0,
        ),
        resources=Resources(
            gpus=gpus,
            gpu_type=_card(row),
            strategy=_strategy(row),
            mixed_precision=mixed,
        ),
        stack=_stack(row),
    )


def _accumulation(row: Row) -> int:
    """Some rows say it in their notes only."""
    if row.get("grad_accum"):
        return int(row["grad_accum"])
    said = re.search(r"gradient accumulation (\d+)", str(row.get("notes")))
    return int(said[1]) if said else 1


def _method(row: Row) -> tuple[str, bool]:
    """What is trained, and whether the base model was quantized beforehand."""
    method = str(row["method"]).lower()
    quantized = "gptq" in f"{method} {row.get('quantization') or ''}".lower()
    if "lora" not in method and not quantized:
        return "full", False
    return ("qlora" if method.startswith("qlora") and not quantized else "lora"), quantized


def _recipe(row: Row, method: str) -> str:
    return "text_classification" if "bert" in str(row["model"]).lower() else method


def _as_trained(row: Row, config: dict[str, Any] | None) -> dict[str, Any] | None:
    """LitGPT keeps a head of its own where Transformers shares the embeddings."""
    if config and "litgpt" in str(row["source_group"]):
        return config | {"tie_word_embeddings": False}
    return config


def _targets(row: Row) -> tuple[str, ...] | str:
    """NeMo adapts its attention_qkv unless told otherwise."""
    named = row.get("lora_targets")
    if not named and row["source_group"] == "nemo":
        return MATRICES["query"] + MATRICES["key"] + MATRICES["value"]
    if not named:
        return "all-linear"
    return tuple(matrix for name in named for matrix in MATRICES.get(name, (name,)))


def _precision(row: Row) -> tuple[str, str]:
    """The type of the weights, and that of mixed precision. Qwen's script leaves 16-bit weights as
    they are and lets the Trainer mix, DeepSpeed mixes nothing."""
    text = str(row.get("precision") or "").lower()
    half = "float16" if "fp16" in text or "float16" in text.replace("bfloat16", "") else "bfloat16"
    if row["source_group"] == "qwen-readme":
        alone = "deepspeed" in f"{text} {row.get('optimizer')}".lower()
        return half, "no" if alone else "fp16" if half == "float16" else "bf16"
    text = text.replace("no amp", "")
    mixes = "amp" in text or "mixed" in text or "master" in text
    if not mixes:
        return ("float32" if "fp32" in text else half), "no"
    whole = "+ amp" not in text  # the weights themselves in float32
    return ("float32" if whole else half), ("fp16" if half == "float16" else "bf16")


def _card(row: Row) -> str:
    name = str(row["gpu_type"]).lower()
    for spelling, card in CARDS.items():
        if name.startswith(spelling):
            return card
    return name.split(" (")[0]


def _strategy(row: Row) -> str:
    text = str(row.get("strategy") or "").lower()
    if "shard_grad_op" in text or "zero-2" in text:
        return "zero2"
    return "fsdp" if "fsdp" in text or "zero-3" in text or "hsdp" in text else "ddp"


def _stack(row: Row) -> Stack:
    strategy, text = str(row.get("strategy") or ""), str(row.get("precision") or "").lower()
    optimizer = str(row.get("optimizer") or "").lower()
    sharded = "FSDP" in strategy
    fused = "fused kernels" in f"{row.get('notes')} {row.get('attention')}"
    fused = fused or row["source_group"] == "nemo"  # Transformer Engine
    stack = Stack(
        loss=_loss(row),
        optim=_optimizer(row),
        steps_in_backward="in_bwd" in optimizer,
        adapts_in_place=False,
        prepares_4bit=_prepares(row),
        fsdp1=sharded and "FSDP2" not in strategy,
        fsdp_casts=sharded and ("mixed" in text or "master" in text or "amp_" in text),
        compiled=bool(row.get("torch_compile")),
        fused=fused or "liger" in str(row.get("loss_impl") or ""),
        first_flash=row["source_group"] == "llm-foundry",
        float8="float8" in text or "fp8" in text,
        offloads_activations=row.get("cpu_offload") == "activations"
        or "activation offloading" in str(row.get("notes") or ""),
        trains_embeddings=str(row["method"]) == "lora+emb",
        selective=str(row.get("grad_checkpointing")).startswith("selective"),
        context_ranks=int(strategy.split("CP ")[1]) if "CP " in strategy and sharded else 1,
        keeps_gradients=row["source_group"] == "hf-docs",  # torch 1.11
        deepspeed="deepspeed" in optimizer,
        **_litgpt(row),
    )
    keeps_16_bits = row["source_group"] in ("litgpt-config-hub", "torchtune", "qwen-readme", "nemo")
    return replace(stack, adapter_bytes=2) if keeps_16_bits else stack


def _litgpt(row: Row) -> dict[str, bool]:
    """Of LitGPT in 2024, with the bitsandbytes of its time, whose 4-bit matrices are all of the
    model's and have float32 scales unless "-dq" is said (litgpt/lora.py, Lightning's
    BitsandbytesPrecision, bitsandbytes/autograd/_functions.py)."""
    if "litgpt" not in str(row["source_group"]):
        return {}
    return {
        "joins_heads": True,
        "keeps_4bit_inputs": True,
        "quantizes_head": True,
        "double_quantization": "dq" in str(row.get("quantization")),
    }


def _loss(row: Row) -> str:
    """The fms-acceleration runs of mid-2024 are before Transformers 4.45; MPT has flash-attn's
    cross entropy unless told otherwise; Qwen's model turns nothing to float32 itself. LitGPT scores
    whole rows where it trains whole models. TorchTitan's train.py of December 2024 left its loss
    alone when it compiled, as that made CUDA errors."""
    text, source = str(row.get("loss_impl") or "").lower(), str(row["source_group"])
    older = "a100_80gb.csv" in str(row.get("source"))
    if "liger" in text:
        return "fused_linear"
    if "litgpt" in source:
        return "pieces" if "lm_head_chunk" in text else "transformers"
    if "chunk" in text:
        return "chunked_in_16_bits" if row.get("torch_compile") else "chunked"
    if source == "torchtitan":
        compiles = row.get("torch_compile") and "202412" not in str(row.get("source"))
        return "in_16_bits" if compiles else "unmoved"
    if source == "qwen-readme":
        return "as_it_comes"
    if source == "llm-foundry":
        return "in_16_bits"
    if "fast" in text:
        return "fused_4.44" if older else "fused"
    return "transformers_4.44" if older else "transformers"


def _optimizer(row: Row) -> str | None:
    """One of the preflight's that is not today's AdamW of torch's, by any of its spellings. Qwen's
    README names PyTorch 2.0; torchtune and Hugging Face's own pages take bitsandbytes' class as it
    is, and only Transformers' Trainer leaves embeddings in 32 bits."""
    plain = str(row.get("optimizer") or "").lower().replace("_", "").replace("-", "")
    if "8bit" in plain:
        by_hand = row["source_group"] in ("torchtune", "hf-docs")
        kind = "adamw_8bit_throughout" if by_hand else "adamw_8bit"
        return "paged_adamw_8bit" if "paged" in plain else kind
    if "paged" in plain:
        return "paged_adamw"
    for name in ("adafactor", "sgd"):
        if name in plain:
            return name
    return "adamw_torch_2.0" if row["source_group"] == "qwen-readme" else None


def _updates_in_place(row: Row) -> bool:
    """torchtune's configs ask for the fused AdamW; before torch 2.0 there was no other than the one
    that goes from weight to weight."""
    named = str(row.get("optimizer")).lower()
    return row["source_group"] in ("torchtune", "hf-docs") or "fused" in named


def _prepares(row: Row) -> str:
    """Only Transformers' own way (four adapted matrices) prepared its norms at fms-acceleration,
    and on one card, as FSDP wants one type for all; the accelerated way says so by its fused
    kernels or by naming the matrix of another model."""
    if row["source_group"] != "fms-acceleration" or int(row.get("gpus") or 1) > 1:
        return "none"
    accelerated = len(row.get("lora_targets") or ()) > 4 or "fast" in str(row.get("loss_impl"))
    accelerated = accelerated or "liger" in str(row.get("loss_impl"))
    return "none" if accelerated else "norms"
