"""What a model is made of: its matrices, its sizes, and how many parameters each part has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Source = Literal["attention_input", "attention_output", "mlp_input", "mlp_inner"]


@dataclass(frozen=True, kw_only=True)
class Linear:
    """One weight matrix of a layer; ``reads`` names the tensor that is its input. Of experts there
    are ``copies``, of which a token sees ``active``; they are no modules that PEFT would adapt."""

    name: str
    inputs: int
    outputs: int
    bias: bool
    reads: Source
    copies: int = 1
    active: int = 1
    is_expert: bool = False

    @property
    def params(self) -> int:
        return self.copies * (self.inputs * self.outputs + (self.outputs if self.bias else 0))

    @property
    def weights(self) -> int:
        """Without the biases."""
        return self.copies * self.inputs * self.outputs

    @property
    def active_inputs(self) -> int:
        """Numbers that a token brings to it."""
        return self.inputs * self.active


@dataclass(frozen=True, kw_only=True)
class Tower:
    """What sees images beside a model of text: ``params`` in all, those of the matrices of its
    layers included."""

    num_layers: int
    linears: tuple[Linear, ...]
    params: int

    @cached_property
    def linear_params(self) -> int:
        return self.num_layers * sum(one.weights for one in self.linears)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a model; ``exact`` says whether they are read or inferred. The intermediate size is
    that of one expert where there are several, the active one what a token passes in all. Nothing
    but the parameters counts the ``tower``, which text does not pass."""

    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    active_intermediate_size: int
    vocab_size: int
    gated: bool
    linears: tuple[Linear, ...]
    norms_per_layer: int
    rms_norm: bool
    qk_norm: bool
    norm_params_per_layer: int
    embedding_params: int
    head_params: int
    other_params: int
    exact: bool
    attention_dropout: bool = False
    hidden_dropout: bool = False
    counted_params: int | None = None
    tower: Tower | None = None

    @cached_property
    def layer_params(self) -> int:
        return sum(one.params for one in self.linears) + self.norm_params_per_layer

    @cached_property
    def total_params(self) -> int:
        """As counted in the files where they were read, else the sum of the components."""
        if self.counted_params is not None:
            return self.counted_params
        outside = self.embedding_params + self.head_params + self.other_params
        return self.num_layers * self.layer_params + outside + self.tower_params

    @property
    def tower_params(self) -> int:
        """They are held like all others, and have no gradient."""
        return self.tower.params if self.tower else 0

    @cached_property
    def linear_params(self) -> int:
        """Weights of all layers' matrices."""
        return self.num_layers * sum(one.weights for one in self.linears)

    @property
    def packed_params(self) -> int:
        """What 4-bit loading quantizes: never the head, and no experts, which are no modules of
        their own but tensors of three dimensions (Transformers 5)."""
        experts = sum(one.weights for one in self.linears if one.is_expert)
        tower = self.tower.linear_params if self.tower else 0
        return self.linear_params - self.num_layers * experts + tower

    @cached_property
    def active_linear_params(self) -> int:
        """Those of them that a token is multiplied with."""
        return self.num_layers * sum(one.active_inputs * one.outputs for one in self.linears)

    @property
    def matmul_params(self) -> int:
        """With the head, which works although it may add no weights."""
        return self.linear_params + self.vocab_size * self.hidden_size

    @property
    def query_size(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        return self.num_kv_heads * self.head_dim

    def targets(self, modules: Collection[str] | str) -> tuple[Linear, ...]:
        """The matrices of each layer that PEFT would adapt."""
        return _targets(self.linears, modules)

    def lora_params(self, r: int, modules: Collection[str] | str) -> int:
        """Σ r × (inputs + outputs) over the targets of all layers (Hu et al. 2021, section 4)."""
        return sum(
            layers * sum(r * (one.inputs + one.outputs) for one in targets)
            for layers, targets in self.adapted(modules)
        )

    def adapted(self, modules: Collection[str] | str) -> list[tuple[int, tuple[Linear, ...]]]:
        """How many layers there are, and the matrices of each that PEFT would adapt. Names say
        nothing of where, so the tower's are adapted too, in vain."""
        parts = [(self.num_layers, self.linears)]
        if self.tower:
            parts.append((self.tower.num_layers, self.tower.linears))
        return [(layers, _targets(linears, modules)) for layers, linears in parts]


def _targets(linears: tuple[Linear, ...], modules: Collection[str] | str) -> tuple[Linear, ...]:
    """A name matches whole or as the last part of a path."""
    modules_there = tuple(one for one in linears if not one.is_expert)
    if modules == "all-linear":
        return modules_there
    wanted = [modules] if isinstance(modules, str) else modules
    last_parts = {name.rsplit(".", 1)[-1] for name in wanted}
    return tuple(one for one in modules_there if one.name in last_parts)
