"""The next token: what a language model learns, from prompts with completions to plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from training.trainer.attention import Layout
from training.trainer.cross_entropy import cross_entropy
from training.trainer.data.examples import Examples, lengths_of
from training.trainer.data.files import RowFiles
from training.trainer.data.load import load_rows
from training.trainer.data.loader import to_device
from training.trainer.data.rows import highest_token
from training.trainer.data.tokens import Row
from training.trainer.failures import BadModel
from training.trainer.model import base_of, load_tokenizer, pad_id
from training.trainer.objectives.base import Judged, Objective
from training.trainer.spec import BadSpec

PROBE_TOKENS = 48
# A batch is filled up to a multiple of it: new sizes cost time (see cross_entropy.ROUND_ROWS), and
# GPUs like them even.
ROUND_TOKENS = 16


@dataclass(frozen=True)
class Batch:
    """Rows behind one another, without padding (see `attention`).

    ``input_ids`` and ``position_ids`` (1, tokens); ``positions`` (n,) into the tokens, each the
    place that predicts the token of the same index in ``targets`` (n,), row by row.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    layout: Layout
    positions: torch.Tensor
    targets: torch.Tensor


class Language(Objective[Row, Batch]):
    def load_processor(self) -> Any:
        return load_tokenizer(self.spec.base_model)

    def load(self, files: RowFiles) -> Examples[Row]:
        return load_rows(files, self.processor, self.spec)

    def collate(self, examples: Sequence[Row], device: torch.device) -> Batch:
        return collate(examples, pad_id(self.processor), device)

    def head(self, model: nn.Module) -> nn.Module:
        return LossHead(model)

    def check_fit(self, model: nn.Module, examples: Sequence[Row]) -> None:
        check_tokens(model, examples)

    def probe(self, example: Row) -> dict[str, torch.Tensor]:
        return prompt_of(example)


def prompt_of(row: Row) -> dict[str, torch.Tensor]:
    """The end of a row's prompt; of a row that carries loss from its beginning, its first half."""
    end = int(row.loss.argmax()) or max(row.length // 2, 1)
    ids = row.ids[max(end - PROBE_TOKENS, 0) : end]
    return {"input_ids": torch.from_numpy(ids.astype(np.int64))[None]}


def collate(rows: Sequence[Row], pad: int, device: torch.device) -> Batch:
    lengths = [row.length for row in rows]
    filler = -sum(lengths) % ROUND_TOKENS
    input_ids = np.concatenate([*(row.ids for row in rows), np.full(filler, pad, np.int32)])
    position_ids = np.concatenate([*map(np.arange, lengths), np.zeros(filler, np.int64)])
    starts = np.cumsum([0, *lengths[:-1]])
    positions = np.concatenate(
        [start + np.flatnonzero(row.loss[1:]) for start, row in zip(starts, rows, strict=True)]
    )
    return Batch(
        to_device(input_ids.astype(np.int64)[None], device),
        to_device(position_ids[None], device),
        Layout.of(lengths, filler, device),
        to_device(positions, device),
        to_device(input_ids[positions + 1].astype(np.int64), device),
    )


def check_tokens(model: nn.Module, rows: Sequence[Row]) -> None:
    """Raises BadModel where the tokenizer knows more tokens than the model, BadSpec where a row is
    longer than the model can read."""
    lm = base_of(model)
    embeddings = lm.get_input_embeddings().num_embeddings
    highest = highest_token(rows)
    if highest >= embeddings:
        raise BadModel(
            f"The tokenizer uses token {highest}, but the model has only {embeddings} tokens.",
            advice="Take the tokenizer that belongs to this base model.",
        )
    positions = getattr(lm.config, "max_position_embeddings", None)
    longest = int(lengths_of(rows).max())
    if positions is not None and longest > positions:
        raise BadSpec(
            f"max_length: a row has {longest} tokens, but the base model reads {positions} at most"
        )


@dataclass(frozen=True, kw_only=True)
class Ways:
    """What an architecture was found to allow. ``sparse``: to compute the last layer at some
    positions only; ``longest_flat``: rows of so many tokens without padding, longer ones with."""

    sparse: bool = False
    longest_flat: float = 0


class LossHead(nn.Module):
    """The cross entropy over the tokens that carry loss.

    Whatever an architecture allows is left out: padding (see `attention`), and the vocabulary, by
    far the widest layer, at the positions that do not count. What it allows is tried out, not
    assumed: some look from row to row in other places than attention, some scale or cap their
    logits after the last layer.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.ways = Ways()
        lm = base_of(model)
        was_training = lm.training
        lm.eval()
        with torch.no_grad():
            self.ways = Ways(sparse=_head_stands_alone(lm))
            if self._rows_stay_apart():
                self.ways = replace(self.ways, longest_flat=_window(lm.config))
        lm.train(was_training)

    def forward(self, batch: Batch) -> Judged:
        head = base_of(self.model).get_output_embeddings()
        measures = not self.training
        if self.ways.sparse and _is_plain(head):
            loss, right = cross_entropy(
                self._hidden(batch), head, batch.targets, count_right=measures
            )
        else:
            logits = self.logits(batch)
            loss = nn.functional.cross_entropy(logits, batch.targets, reduction="sum")
            right = (logits.argmax(-1) == batch.targets).sum() if measures else torch.zeros(())
        return Judged(loss, {"token_accuracy": right} if measures else {})

    def logits(self, batch: Batch) -> torch.Tensor:
        """Of shape (len(batch.positions), vocabulary), in float32."""
        lm = base_of(self.model)
        if self.ways.sparse:
            logits: torch.Tensor = lm.get_output_embeddings()(self._hidden(batch))
        else:
            logits = self._at_positions(lm, batch, "logits")
        return logits.float()

    def _hidden(self, batch: Batch) -> torch.Tensor:
        """Of shape (len(batch.positions), width): what the last layer is given."""
        return self._at_positions(base_of(self.model).base_model, batch, "last_hidden_state")

    def _at_positions(self, module: nn.Module, batch: Batch, name: str) -> torch.Tensor:
        """What ``module`` gives under this name, at the positions that predict."""
        layout, positions = batch.layout, batch.positions
        if layout.longest <= self.ways.longest_flat:
            output = module(
                input_ids=batch.input_ids,
                position_ids=batch.position_ids,
                # Of four dimensions, so nothing makes another one; `attention` needs none.
                attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=layout.device),
                row_layout=layout,
                use_cache=False,
                **({"logits_to_keep": positions} if name == "logits" else {}),
            )
            if name == "logits":
                logits: torch.Tensor = output.logits[0]
                return logits
        else:
            padded = layout.padded
            rows = batch.input_ids[0].index_select(0, padded.gather).view(padded.shapes[0])
            output = module(input_ids=rows, use_cache=False)
            positions = padded.scatter.index_select(0, positions)
        states: torch.Tensor = output[name]
        return states.flatten(0, 1).index_select(0, positions)

    def _rows_stay_apart(self) -> bool:
        """Whether the model gives the same without padding, and no row ever looks at another."""
        lm = base_of(self.model)
        if lm.config._attn_implementation != "sdpa":
            return False
        first, changed, last = (_any_row(lm, length, seed) for length, seed in PROBES)
        batches = [collate([row, last], 0, lm.device) for row in (first, changed)]
        expected = self.logits(batches[0])
        padded, self.ways = self.ways, replace(self.ways, longest_flat=math.inf)
        try:
            found, other = map(self.logits, batches)
        except (TypeError, AttributeError, RuntimeError, ValueError, IndexError):
            return False  # an architecture built differently
        finally:
            self.ways = padded
        tolerance = 1e-4 if lm.dtype == torch.float32 else 5e-2
        close = (found - expected).abs().max() <= tolerance * expected.abs().max()
        return bool(close) and torch.equal(found[-last.weight :], other[-last.weight :])


PROBES = ((5, 0), (5, 1), (9, 2))  # length and seed of rows


def _any_row(lm: Any, length: int, seed: int) -> Row:
    vocabulary = lm.get_input_embeddings().num_embeddings
    ids = np.random.default_rng(seed).integers(0, vocabulary, length)
    return Row(ids.astype(np.int32), np.ones(length, np.bool_))


def _window(config: Any) -> float:
    """How long a row may be of which every token sees all before it."""
    text = config.get_text_config()
    windows = (getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min((window for window in windows if window), default=math.inf)


def _is_plain(head: nn.Module) -> bool:
    """Neither adapted nor quantized, nor in float16: there the probabilities would be rounded to
    nothing before a gradient scaler gets hold of them."""
    if not isinstance(head, nn.Linear):
        return False
    device, dtype = head.weight.device.type, head.weight.dtype
    if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16:
        return False
    return dtype in (torch.float32, torch.bfloat16)


def _head_stands_alone(lm: Any) -> bool:
    """Whether the last layer alone, behind the model without it, gives exactly the logits."""
    head = lm.get_output_embeddings()
    if head is None or lm.base_model is lm:
        return False
    try:
        vocabulary = lm.get_input_embeddings().num_embeddings
        ids = torch.arange(min(16, vocabulary), device=lm.device)[None]
        hidden = lm.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return torch.equal(head(hidden), lm(input_ids=ids, use_cache=False).logits)
    except (TypeError, AttributeError, RuntimeError):
        return False  # an architecture built differently: it takes the long way
