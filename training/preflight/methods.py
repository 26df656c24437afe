"""Does the method suit the model, the rows and the settings? One rule, one function."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from training.preflight.facts import Experiment
from training.preflight.findings import Finding, Rule, error, listed, shortage
from training.trainer.spec import METHODS, QUANTIZATION_LIBRARIES, method_problem

# By method the architectures (``model_type`` of a config.json) that have a class for it in the
# Transformers that is pinned; the tests compare. The web side never imports it.
CLASSES: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("architectures.json").read_text(encoding="utf-8")
)
# What people call the kinds of rows that have no plain name.
IN_WORDS = {
    "prompt_completion": "prompt and completion",
    "conversation": "prompt and completion as messages",
    "text": "plain text",
    "labelled": "text and label",
    "labelled_image": "images with labels",
    "preference": "chosen and rejected answers",
    "unpaired_preference": "answers judged true or false",
}


def settings_of_another_method(e: Experiment) -> Iterator[Finding]:
    if e.recipe.method in METHODS and (problem := method_problem(e.recipe.method, e.train)):
        yield error(f"{problem}.")


def rows_are_of_another_kind(e: Experiment) -> Iterator[Finding]:
    """Of what kind they are is only known under the columns under which they were checked."""
    method, kind = METHODS.get(e.recipe.method), e.dataset.row_format
    if method is None or method.modality != e.dataset.modality or not kind or kind in method.rows:
        return
    wanted = " or ".join(words_for(one) for one in method.rows)
    yield error(
        f"Recipe '{e.recipe.name}' ({e.recipe.method}) learns from {wanted}. "
        f"The rows of dataset '{e.dataset.name}' are {words_for(kind)}. Choose a recipe that "
        "learns from such rows, or other data."
    )


def words_for(kind: str) -> str:
    return IN_WORDS.get(kind, kind)


def architecture_has_no_class(e: Experiment) -> Iterator[Finding]:
    known, family = CLASSES.get(e.recipe.method), e.model.family
    if known is not None and family and family not in known:
        yield error(
            f"Transformers has no class for {e.recipe.method.replace('_', ' ')} with models of the "
            f"family {family}, as '{e.model.name}' is. Choose another model."
        )


def classifier_does_not_write(e: Experiment) -> Iterator[Finding]:
    """A model trained to classify has lost the layer that predicts tokens."""
    if e.model.architecture.endswith("Classification") and e.recipe.method not in CLASSES:
        yield error(
            f"Model '{e.model.name}' is a classifier ({e.model.architecture}) without the layer "
            f"that predicts tokens, which {e.recipe.method} trains. Choose its original."
        )


def micro_batch_is_too_small_to_compare(e: Experiment) -> Iterator[Finding]:
    if e.recipe.method == "kto" and e.micro_batch_size < 2:
        yield error(
            "kto compares the rows of a micro batch with each other, and global_batch_size "
            f"{e.train.global_batch_size} / (grad_accum {e.train.grad_accum} × gpus) leaves 1. "
            "Raise global_batch_size or lower grad_accum."
        )


def quantized_model_is_trained_wrongly(e: Experiment) -> Iterator[Finding]:
    if not e.model.quantized or not e.recipe.supports_quantized:
        return  # the recipe says it already
    if e.tuning == "full":
        yield error(
            f"The weights of model '{e.model.name}' are quantized and are not trained themselves. "
            "Train an adapter: use_peft, or the method lora."
        )
    elif e.tuning == "qlora":
        yield error(
            f"Model '{e.model.name}' is quantized already. Take lora instead of qlora, without "
            "load_in_4bit."
        )


def quantization_lacks_its_library(e: Experiment) -> Iterator[Finding]:
    if not e.model.quantized or e.tuning != "lora" or not e.recipe.supports_quantized:
        return
    scheme = e.model.quantization or ""
    needed = QUANTIZATION_LIBRARIES.get(scheme)
    if needed is None and scheme and not scheme.startswith(("int", "nf", "fp4")):
        yield error(
            f"Model '{e.model.name}' is quantized by {scheme}. Adapters are trained on models "
            f"quantized by {listed(tuple(QUANTIZATION_LIBRARIES))}."
        )
    installed = e.resources.libraries
    if installed is None:
        return
    lacking = [name for name in needed or () if name not in installed]
    if lacking:
        yield shortage(
            f"Model '{e.model.name}' is quantized by {scheme}, which needs "
            f"{' and '.join(lacking)}, not installed here. Install it, or choose the model in "
            "bfloat16."
        )


def packed_layers_take_no_dora(e: Experiment) -> Iterator[Finding]:
    """PEFT 0.21: GPTQLoraLinear and AwqLoraLinear refuse it."""
    if e.tuning == "lora" and e.lora.use_dora and e.model.quantization in ("gptq", "awq"):
        yield error(
            f"DoRA does not work on model '{e.model.name}', which is quantized by "
            f"{e.model.quantization}. Turn use_dora off, or choose the model in bfloat16."
        )


RULES: tuple[Rule, ...] = (
    settings_of_another_method,
    rows_are_of_another_kind,
    architecture_has_no_class,
    classifier_does_not_write,
    micro_batch_is_too_small_to_compare,
    quantized_model_is_trained_wrongly,
    quantization_lacks_its_library,
    packed_layers_take_no_dora,
)
