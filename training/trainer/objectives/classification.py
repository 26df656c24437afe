"""Which of a few labels belongs to a text or to an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import nn

from training.trainer.data import labelled
from training.trainer.data.examples import Example, Examples, lengths_of
from training.trainer.data.files import RowFiles
from training.trainer.data.labelled import LabelledImage, LabelledText
from training.trainer.data.loader import to_device
from training.trainer.failures import BadData, BadModel
from training.trainer.model import load_image_processor, load_tokenizer, pad_id
from training.trainer.objectives.base import Judged, Objective
from training.trainer.spec import BadSpec, RunSpec

E = TypeVar("E", bound=Example)


@dataclass(frozen=True)
class Batch:
    """``inputs`` are the arguments of the model, ``labels`` (rows,) the numbers of the labels."""

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor


class Classification(Objective[E, Batch]):
    """What texts and images have in common. The labels are those of the training rows, which are
    loaded first; a base model that knows them all already keeps its own numbers for them."""

    makes_head = True
    mapping: ClassVar[str]  # of Transformers: the architectures that have a class for it

    def __init__(self, spec: RunSpec) -> None:
        self.config = _config_of(spec, self.mapping, self.pipeline_tag)
        self.ids: dict[str, int] = {}
        super().__init__(spec)

    def know(self, labels: Iterable[str | int]) -> None:
        """Give every label its number. Those of the first rows are all there are."""
        if self.ids:
            return
        names = labelled.names_of(labels)
        architectures = self.config.architectures or [""]
        known: dict[str, int] = self.config.label2id or {}
        if architectures[0].endswith("Classification") and set(names) <= known.keys():
            self.ids = known
        else:
            self.ids = {name: number for number, name in enumerate(names)}

    def model_settings(self) -> dict[str, Any]:
        return {
            "num_labels": len(self.ids),
            "label2id": self.ids,
            "id2label": {number: name for name, number in self.ids.items()},
            "problem_type": "single_label_classification",
            "ignore_mismatched_sizes": True,  # a head for other labels
        }

    def head(self, model: nn.Module) -> nn.Module:
        return ClassificationHead(model, len(self.ids))

    def probe(self, example: E) -> dict[str, torch.Tensor]:
        return self.collate([example], torch.device("cpu")).inputs

    def in_words(self, choices: Sequence[int]) -> str:
        return next(name for name, number in self.ids.items() if number == choices[-1])

    def summary(self, sums: dict[str, torch.Tensor], weight: int) -> dict[str, float]:
        """With the F1 of each label on average, as scikit-learn's f1_score(average="macro"): labels
        that neither are there nor were said do not count."""
        involved = sums["said"] + sums["there"]
        f1 = 2 * sums["right"] / involved
        return {
            "loss": float(sums["loss"]) / weight,
            "accuracy": float(sums["right"].sum()) / weight,
            "macro_f1": float(f1[involved > 0].mean()),
        }


class ClassificationHead(nn.Module):
    """The cross entropy of the labels."""

    def __init__(self, model: nn.Module, labels: int) -> None:
        super().__init__()
        self.model = model
        self.labels = labels

    def forward(self, batch: Batch) -> Judged:
        logits = self.model(**batch.inputs).logits.float()
        loss = nn.functional.cross_entropy(logits, batch.labels, reduction="sum")
        if self.training:
            return Judged(loss, {})
        there, said = self._which(batch.labels), self._which(logits.argmax(-1))
        numbers = {"right": there & said, "said": said, "there": there}
        return Judged(loss, {name: which.sum(0) for name, which in numbers.items()})

    def _which(self, labels: torch.Tensor) -> torch.Tensor:
        """From (rows,) to (rows, labels)."""
        return nn.functional.one_hot(labels, self.labels).bool()


class TextClassification(Classification[LabelledText]):
    auto_class = "AutoModelForSequenceClassification"
    task_type = "SEQ_CLS"
    pipeline_tag = "text-classification"
    mapping = "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING"

    def load_processor(self) -> Any:
        """With a token for padding: decoders look for the last token that is none."""
        tokenizer = load_tokenizer(self.spec.base_model)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        return tokenizer

    def model_settings(self) -> dict[str, Any]:
        return {**super().model_settings(), "pad_token_id": pad_id(self.processor)}

    def load(self, files: RowFiles) -> Examples[LabelledText]:
        kept = labelled.load_texts(files, self.processor, self.spec)
        self.know(label for label, _ in kept.tally.labels)
        return labelled.numbered(kept, self.ids)

    def collate(self, examples: Sequence[LabelledText], device: torch.device) -> Batch:
        """Pad to the longest row."""
        length = max(row.length for row in examples)
        ids = np.full((len(examples), length), pad_id(self.processor), dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(examples):
            ids[index, : row.length] = row.ids
            mask[index, : row.length] = 1
        inputs = {"input_ids": to_device(ids, device), "attention_mask": to_device(mask, device)}
        return Batch(inputs, to_device(np.array([row.label for row in examples]), device))

    def check_fit(self, model: nn.Module, examples: Sequence[LabelledText]) -> None:
        positions = getattr(self.config, "max_position_embeddings", None)
        longest = int(lengths_of(examples).max())
        if positions is not None and longest > positions:
            raise BadSpec(
                f"max_length: a row has {longest} tokens, but the base model reads {positions} at "
                "most"
            )


class ImageClassification(Classification[LabelledImage]):
    auto_class = "AutoModelForImageClassification"
    task_type = None
    pipeline_tag = "image-classification"
    mapping = "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING"

    def load_processor(self) -> Any:
        return load_image_processor(self.spec.base_model)

    def load(self, files: RowFiles) -> Examples[LabelledImage]:
        rows = list(labelled.read_images(files))
        self.know(row.label for row in rows)
        return labelled.load_images(rows, self.ids)

    def collate(self, examples: Sequence[LabelledImage], device: torch.device) -> Batch:
        """Resized and normalized as the base model's own processor does it."""
        images = [open_image(row.path) for row in examples]
        pixels = np.asarray(self.processor(images, return_tensors="np")["pixel_values"])
        inputs = {"pixel_values": to_device(pixels.astype(np.float32, copy=False), device)}
        return Batch(inputs, to_device(np.array([row.label for row in examples]), device))


def open_image(path: Any) -> Any:
    """In three colours, the right way up. Raises BadData."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadData(
            f"The image {path} cannot be read: {error}.",
            advice="Correct or remove this image and start again.",
        ) from error


def _config_of(spec: RunSpec, mapping: str, task: str) -> Any:
    """The base model's configuration. Raises BadModel where it has no class for the task."""
    from transformers import AutoConfig
    from transformers.models.auto import modeling_auto

    path = spec.base_model.path
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise BadModel(
            f"The configuration in {path} cannot be read: {error}.",
            advice="Register a folder as save_pretrained writes it.",
        ) from error
    if type(config) not in getattr(modeling_auto, mapping):
        raise BadModel(
            f"The architecture {config.model_type} has no class for {task} in Transformers.",
            advice="Choose a base model of another architecture.",
        )
    return config
