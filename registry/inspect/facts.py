"""What an inspection finds out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from api.plain import plain_text

ERROR, WARNING = "error", "warning"


class BadModel(ValueError):
    """This is no model that can be registered. The message says why, in a sentence for people."""

    def __init__(self, message: str) -> None:
        super().__init__(plain_text(message))


class CodeNotApproved(BadModel):
    """It needs code of its own, which nobody has approved. ``code`` names its files."""

    def __init__(self, message: str, code: CustomCode) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Finding:
    """What somebody should know of a model that can be registered. An error makes a run fail."""

    code: str
    message: str
    fix: str
    level: str = WARNING
    file: str = ""

    def __post_init__(self) -> None:
        """Names in a message come from strangers' files."""
        object.__setattr__(self, "message", plain_text(self.message))

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class CustomCode:
    """The Python files of a model that loads with code of its own: name and SHA-256 of each, and
    one SHA-256 for all of them."""

    files: dict[str, str]
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Card:
    """A README.md: its text, and the facts in its front matter."""

    text: str = ""
    license: str = ""
    base_model: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TokenizerFacts:
    """``size`` counts the tokens, added ones included; ``special`` has the ids of the special ones.

    ``loads`` and ``template_renders`` are None where it could not be tried."""

    kind: str
    size: int | None = None
    loads: bool | None = None
    special: dict[str, dict[str, Any]] = field(default_factory=dict)
    template_renders: bool | None = None


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
    tokenizer: TokenizerFacts | None = None
    card: Card = field(default_factory=Card)
    code: CustomCode | None = None
    findings: tuple[Finding, ...] = ()

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

    @property
    def model_card(self) -> str:
        return self.card.text


@dataclass(frozen=True, kw_only=True)
class InspectedAdapter:
    """An adapter as PEFT writes it."""

    config: dict[str, Any]
    method: str
    base_model: str = ""
    r: int | None = None
    lora_alpha: int | None = None
    target_modules: list[str] | str = field(default_factory=list)
    params: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)
    weight_files: tuple[str, ...] = ()
    card: Card = field(default_factory=Card)
    findings: tuple[Finding, ...] = ()
