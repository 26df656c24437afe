"""What an inspection finds out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class BadModel(ValueError):
    """This is no model that can be registered. The message says why, in a sentence for people."""


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """A model as its files, or its config alone, describe it. None and "" stand for "not known".

    ``params`` is the exact number of parameters, ``dtypes`` how many stored values there are of
    each type; ``quantization`` names the method ("gptq", "bitsandbytes", ...), None for none.
    """

    config: dict[str, Any] | None = None
    family: str = ""
    architecture: str = ""
    modality: str = "text"
    dtype: str = ""
    context_length: int | None = None
    hidden_size: int | None = None
    num_layers: int | None = None
    vocab_size: int | None = None
    quantization: str | None = None

    params: int | None = None
    dtypes: dict[str, int] = field(default_factory=dict)
    weight_files: tuple[str, ...] = ()
    size_bytes: int = 0
    is_gguf: bool = False
    has_tokenizer: bool | None = None
    has_chat_template: bool | None = None
    model_card: str = ""

    @property
    def params_b(self) -> float | None:
        """Parameters in billions."""
        return None if self.params is None else self.params / 1e9

    @property
    def quantized(self) -> bool:
        return self.quantization is not None

    @property
    def trainable(self) -> bool:
        """GGUF is an end product: there is no way back to weights that can be trained."""
        return not self.is_gguf
