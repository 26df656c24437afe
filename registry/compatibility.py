"""Does this dataset suit this model? Judged from their rows alone: no queries, no files."""

from __future__ import annotations

from typing import Any, TypedDict

from registry.models import BaseModel, Dataset, Modality

# English text has about four characters a token; code and other languages have fewer.
CHARACTERS_PER_TOKEN = 4
NEEDS_CHAT_TEMPLATE = ("messages", "conversation")


class Compatibility(TypedDict):
    """``errors`` forbid a training run, ``warnings`` explain what to expect."""

    compatible: bool
    warnings: list[str]
    errors: list[str]


def compatibility(dataset: Dataset, model: BaseModel) -> Compatibility:
    errors = [
        *_files(model),
        *_modality(dataset, model),
        *_integrity(dataset),
        *_template(dataset, model),
    ]
    warnings = [*_unchecked(dataset), *_length(dataset, model), *_no_held_out(dataset)]
    return {"compatible": not errors, "warnings": warnings, "errors": errors}


def _files(model: BaseModel) -> list[str]:
    if model.status != BaseModel.Status.BROKEN:
        return []
    return [f"The model '{model.name}' is broken: {model.why_broken}"]


def _modality(dataset: Dataset, model: BaseModel) -> list[str]:
    if dataset.modality == model.modality:
        return []
    if model.modality == Modality.MULTIMODAL and dataset.modality != Modality.MULTIMODAL:
        return []
    return [
        f"The dataset holds {dataset.modality}, the model '{model.name}' takes {model.modality}."
    ]


def _integrity(dataset: Dataset) -> list[str]:
    if not dataset.integrity_checked:
        return []
    errors = []
    if not dataset.integrity_passed:
        errors.append(
            "Dataset failed integrity check. Please review and fix dataset issues before training."
        )
    rows = dataset.statistics.get("rows", {})
    if dataset.num_samples == 0:
        errors.append("The dataset has no usable rows.")
    elif "splits" in dataset.statistics and "train" not in dataset.statistics["splits"]:
        errors.append("The dataset has no train split.")
    elif rows.get("train") == 0:
        errors.append("The train split has no usable rows.")
    return errors


def _template(dataset: Dataset, model: BaseModel) -> list[str]:
    if dataset.statistics.get("row_format") not in NEEDS_CHAT_TEMPLATE:
        return []
    if model.inspection.get("has_chat_template") is False:
        return [
            f"The rows are conversations, but the tokenizer of '{model.name}' has no chat template."
        ]
    if (model.inspection.get("tokenizer") or {}).get("template_renders") is False:
        return [f"The rows are conversations, but the chat template of '{model.name}' is broken."]
    return []


def _unchecked(dataset: Dataset) -> list[str]:
    return [] if dataset.integrity_checked else ["The dataset's rows have not been checked yet."]


def _length(dataset: Dataset, model: BaseModel) -> list[str]:
    longest = dataset.statistics.get("max_characters")
    mean = dataset.statistics.get("mean_characters")
    limit = model.context_length
    if not limit or not longest or not mean:
        return []
    if mean > limit * CHARACTERS_PER_TOKEN:
        return [
            f"The rows have {mean:,.0f} characters on average: most of them will not fit into the "
            f"model's {limit:,} tokens and will be truncated."
        ]
    if longest > limit * CHARACTERS_PER_TOKEN:
        return [
            f"The longest row has {longest:,} characters and may not fit into the model's "
            f"{limit:,} tokens; what does not fit is truncated."
        ]
    return []


def _no_held_out(dataset: Dataset) -> list[str]:
    splits: Any = dataset.statistics.get("splits")
    if splits == ["train"]:
        return ["There is no validation split, so overfitting will not be seen."]
    return []
