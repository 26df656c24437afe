"""Load the tokenizer and the model, ready to be trained by the method of the run."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.trainer import linear, one_copy, quantized
from training.trainer.failures import BadModel
from training.trainer.own_code import may_run
from training.trainer.settings import BaseModelSpec
from training.trainer.spec import BadSpec, RunSpec

logger = logging.getLogger(__name__)

ADAPTER_WEIGHTS = "adapter_model.safetensors"


def pick_device(spec: RunSpec) -> torch.device:
    """That of this rank. Raises BadSpec where the run asks for more than there is."""
    if spec.device.gpus == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BadSpec("gpus: the run asks for a GPU, but PyTorch sees none on this machine")
    if torch.cuda.device_count() < spec.device.gpus:
        raise BadSpec(
            f"gpus: the run asks for {spec.device.gpus}, but PyTorch sees "
            f"{torch.cuda.device_count()} on this machine"
        )
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    return device


def load_tokenizer(base_model: BaseModelSpec) -> Any:
    """Raises BadModel."""
    from transformers import AutoTokenizer

    path = base_model.path
    _check_folder(path)
    trusts = may_run(base_model, path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trusts)
    except Exception as error:
        raise BadModel(
            f"The tokenizer in {path} cannot be loaded: {_first_line(error)}.",
            advice="Register a base model folder that holds its tokenizer files.",
        ) from error
    return tokenizer


def load_image_processor(base_model: BaseModelSpec) -> Any:
    """The one that works on Pillow's images; torchvision is not needed. Raises BadModel."""
    from transformers import AutoImageProcessor

    path = base_model.path
    _check_folder(path)
    trusts = may_run(base_model, path)
    try:
        return AutoImageProcessor.from_pretrained(path, backend="pil", trust_remote_code=trusts)
    except Exception as error:
        raise BadModel(
            f"The image processor in {path} cannot be loaded: {_first_line(error)}.",
            advice="Register a base model folder that holds its preprocessor_config.json.",
        ) from error


def pad_id(tokenizer: Any) -> int:
    """Any token will do for padding: it is never looked at."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


def load_model(
    spec: RunSpec,
    device: torch.device,
    resume_from: Path | None,
    *,
    auto_class: str = "AutoModelForCausalLM",
    task_type: str | None = "CAUSAL_LM",
    makes_head: bool = False,
    **settings: Any,
) -> nn.Module:
    """The model on its device in training mode, with the weights of ``resume_from`` if given.

    ``auto_class`` is the name of one of Transformers' classes, ``settings`` further arguments of
    `from_files`, ``task_type`` PEFT's word for it. With ``makes_head`` the last layer may be new,
    and an adapter trains it as a whole. Raises BadModel, BadSpec.
    """
    path = spec.base_model.path
    model: nn.Module
    if not spec.uses_adapter:
        place = str(resume_from or path)
        model = _from_pretrained(place, spec, device, auto_class, makes_head, settings)
    else:
        base = _from_pretrained(path, spec, device, auto_class, makes_head, settings)
        model = _with_adapter(base, spec, task_type, _head_modules(base) if makes_head else [])
        if resume_from:
            _load_adapter_weights(model, resume_from)
        model.to(device)
        _speed_up_adapters(model)
    quantized.leave_unpacked(model)
    if spec.train.gradient_checkpointing:
        base_of(model).activation_checkpointing_enable({"use_reentrant": False})
    if spec.device.mixed_precision == "fp16" and any(
        p.dtype == torch.float16 for p in model.parameters() if p.requires_grad
    ):
        raise BadSpec(
            "dtype: mixed precision fp16 needs trained weights in float32, not in float16"
        )
    linear.speed_up(model)
    model.train()
    return model


def load_base(
    spec: RunSpec,
    device: torch.device,
    *,
    auto_class: str,
    makes_head: bool,
    **settings: Any,
) -> Any:
    """The base model alone, as it is held while an adapter is trained. Raises BadModel, BadSpec."""
    path = spec.base_model.path
    return _from_pretrained(path, spec, device, auto_class, makes_head, settings)


def base_of(model: Any) -> Any:
    """The Transformers model itself, also where PEFT is wrapped around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def count_parameters(model: Any) -> tuple[int, int]:
    """All parameters and the trainable ones; four-bit weights are counted unpacked."""
    if hasattr(model, "get_nb_trainable_parameters"):
        trainable, everything = model.get_nb_trainable_parameters()
        # To torch they are no parameters at all.
        packed = (one.in_features * one.out_features for one in quantized.packed_layers(model))
        return int(everything) + sum(packed), int(trainable)
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)


def saved_bytes(model: nn.Module) -> int:
    """How large the weights are that a checkpoint or an export holds."""
    adapter_only = hasattr(model, "peft_config")
    return sum(
        p.numel() * p.element_size()
        for p in model.parameters()
        if p.requires_grad or not adapter_only
    )


def _from_pretrained(
    path: str,
    spec: RunSpec,
    device: torch.device,
    auto_class: str,
    makes_head: bool,
    settings: dict[str, Any],
) -> Any:
    _check_folder(path)
    is_quantized = quantized.check(path, spec)
    if is_quantized:
        trusts = may_run(spec.base_model, path)
        config = quantized.trainable_config(path, trust_remote_code=trusts)
        settings = {**settings, "config": config}
    if is_quantized or spec.four_bit or device.type == "cuda":  # straight to where it will be
        settings = {**settings, "device_map": {"": device}}
    if spec.four_bit:
        compute = getattr(torch, spec.train.dtype)
        settings = {**settings, "quantization_config": quantized.four_bit_config(compute)}
    model = from_files(
        spec.base_model,
        path,
        auto_class,
        makes_head=makes_head,
        dtype=getattr(torch, spec.train.dtype),
        attn_implementation=spec.train.attn_implementation,
        **settings,
    )
    if getattr(model, "generation_config", None) is not None:
        _make_saveable(model.generation_config)
    return model


def from_files(
    base_model: BaseModelSpec,
    path: str,
    auto_class: str,
    *,
    makes_head: bool = False,
    is_hollow: bool = False,
    **settings: Any,
) -> Any:
    """A model as it lies in a folder, the base model's or one of a checkpoint of it; ``settings``
    are arguments of from_pretrained. With ``is_hollow`` its weights are left out: another rank
    sends them. Raises BadModel, also where weights are missing."""
    import transformers

    _check_folder(path)
    trusts = may_run(base_model, path)
    try:
        if is_hollow:
            return one_copy.hollow(path, auto_class, trust_remote_code=trusts, **settings)
        model, report = getattr(transformers, auto_class).from_pretrained(
            path,
            use_safetensors=True,
            trust_remote_code=trusts,
            output_loading_info=True,
            **settings,
        )
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        raise BadModel(
            f"The base model in {path} cannot be loaded: {_first_line(error)}.",
            advice="Register a folder as save_pretrained writes it: config.json, safetensors "
            "weights and the tokenizer of one of the architectures that Transformers knows.",
        ) from error
    missing = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if makes_head:
        missing = [name for name in missing if not _is_of_head(name, model)]
    if missing:
        raise BadModel(
            f"The weights in {path} lack {len(missing)} tensors of the model, {missing[0]} first.",
            advice="Download or export the base model again.",
        )
    return model


def with_adapter_of(model: Any, folder: str) -> Any:
    """With an adapter as PEFT has saved it around the model. Raises BadModel."""
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, folder)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadModel(
            f"The adapter in {folder} cannot be loaded: {_first_line(error)}.",
            advice="Its base model may have been changed since; train it again.",
        ) from error


def _head_modules(model: Any) -> list[str]:
    """What comes behind the body of a classifier. A pooler is new where the base model was made to
    predict tokens."""
    outside = [
        name
        for name, child in model.named_children()
        if name != model.base_model_prefix and next(child.parameters(), None) is not None
    ]
    has_pooler = getattr(model.base_model, "pooler", None) is not None
    return [*outside, *(["pooler"] if has_pooler else [])]


def _is_of_head(parameter: str, model: Any) -> bool:
    return not set(_head_modules(model)).isdisjoint(parameter.split("."))


def _make_saveable(generation_config: Any) -> None:
    """Many published models carry a temperature without do_sample, which save_pretrained refuses,
    and it would do so only after hours of training."""
    try:
        generation_config.validate(strict=True)
    except ValueError:
        generation_config.do_sample = True


def _with_adapter(
    model: Any, spec: RunSpec, task_type: str | None, head_modules: list[str]
) -> nn.Module:
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if getattr(model, "is_quantized", False):
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    targets: Any = spec.lora.target_modules
    if targets == "all-linear" and any(quantized.packed_layers(model)):
        targets = quantized.all_linear(model, head_modules)
    peft_adds = ("classifier", "score") if task_type == "SEQ_CLS" else ()
    config = LoraConfig(
        task_type=task_type,
        base_model_name_or_path=spec.base_model.path,
        r=spec.lora.r,
        lora_alpha=spec.lora.lora_alpha,
        lora_dropout=spec.lora.lora_dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=spec.lora.use_rslora,
        use_dora=spec.lora.use_dora,
        modules_to_save=[name for name in head_modules if name not in peft_adds] or None,
    )
    try:
        wrapped: nn.Module = get_peft_model(model, config)
    except ValueError as error:
        raise BadSpec(f"lora: {_first_line(error)}") from error
    return wrapped


def _speed_up_adapters(model: nn.Module) -> None:
    from training.trainer import adapted  # brings PEFT

    adapted.speed_up(model)


def _load_adapter_weights(model: nn.Module, folder: Path) -> None:
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(folder / ADAPTER_WEIGHTS))


def _check_folder(path: str) -> None:
    folder = Path(path)
    for name, found in {
        "folder": folder.is_dir(),
        "config.json": (folder / "config.json").is_file(),
        "safetensors weights": any(folder.glob("*.safetensors")),
    }.items():
        if not found:
            raise BadModel(
                f"The base model has no {name}: {path}",
                advice="Register a folder as save_pretrained writes it: config.json, safetensors "
                "weights and the tokenizer.",
            )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
