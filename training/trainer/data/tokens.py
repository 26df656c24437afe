"""From rows to token ids, with a mask of the tokens that carry loss.

A row becomes a list of segments, pieces of text that carry loss or do not; the segments become
token ids.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jinja2.exceptions import TemplateError

from training.trainer.data.files import bad_row
from training.trainer.data.read import Source
from training.trainer.failures import BadData

ROWS_AT_ONCE = 1000  # tokenized in one call
TEXT_KINDS = ("text", "labelled")  # a label beside the text is not looked at


class Segment(NamedTuple):
    text: str
    carries_loss: bool


@dataclass(frozen=True)
class Row:
    """One row as the model sees it: token ids, and which of them carry loss."""

    ids: npt.NDArray[np.int32]
    loss: npt.NDArray[np.bool_]

    @property
    def length(self) -> int:
        return len(self.ids)

    @property
    def weight(self) -> int:
        """The tokens the model learns to predict; nothing predicts the first one."""
        return int(self.loss[1:].sum())

    def cut(self, max_length: int | None) -> Row:
        return Row(self.ids[:max_length], self.loss[:max_length])


def tokenize(sources: list[Source], tokenizer: Any, *, completion_only_loss: bool) -> list[Row]:
    """Token ids and loss mask of rows of any kind.

    Rows of plain text get the tokenizer's begin token in front, if it uses one, and its end token
    behind. Conversations get what their chat template gives them.
    """
    marks = completion_only_loss and "{% generation" in _template(tokenizer).replace("{%-", "{%")
    by_segments = [source for source in sources if not (marks and source.kind == "messages")]
    others = iter(_from_segments(by_segments, tokenizer, completion_only_loss=completion_only_loss))
    return [
        _marked_row(source, tokenizer) if marks and source.kind == "messages" else next(others)
        for source in sources
    ]


def _from_segments(
    sources: list[Source], tokenizer: Any, *, completion_only_loss: bool
) -> list[Row]:
    segments = [segments_of(source, tokenizer) for source in sources]
    rows = encode(segments, tokenizer)
    for index, source in enumerate(sources):
        row = rows[index]
        if source.kind in ("prompt_completion", *TEXT_KINDS):
            row = _with_ends(row, tokenizer)
        if not completion_only_loss:
            row = Row(row.ids, np.ones_like(row.loss))
        rows[index] = row
    return rows


def segments_of(source: Source, tokenizer: Any) -> list[Segment]:
    """The text of a row, in pieces that carry loss or do not. Raises BadData where the chat
    template does not render a conversation turn by turn."""
    fields = source.fields
    if source.kind in TEXT_KINDS:
        return [Segment(fields["text"], True)]
    if source.kind == "prompt_completion":
        return [Segment(fields["prompt"], False), Segment(fields["completion"], True)]
    if source.kind == "conversation":
        prompt = render(source, fields["prompt"], tokenizer, ask=True)
        text = render(source, fields["prompt"] + fields["completion"], tokenizer)
        _check_prefix(source, prompt, text)
        return [Segment(prompt, False), Segment(text[len(prompt) :], True)]
    return _turns(source, tokenizer)


def _turns(source: Source, tokenizer: Any) -> list[Segment]:
    """Only what the assistant says carries loss: between the text that asks for a turn of its own
    and the text that ends with it."""
    messages = source.fields["messages"]
    whole = render(source, messages, tokenizer)
    segments: list[Segment] = []
    done = 0
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            asked = render(source, messages[:index], tokenizer, ask=True)
            answered = render(source, messages[: index + 1], tokenizer)
            _check_prefix(source, asked, answered)
            _check_prefix(source, answered, whole)
            segments.append(Segment(whole[done : len(asked)], False))
            segments.append(Segment(whole[len(asked) : len(answered)], True))
            done = len(answered)
    segments.append(Segment(whole[done:], False))
    return segments


def render(
    source: Source, messages: list[dict[str, Any]], tokenizer: Any, *, ask: bool = False
) -> str:
    """The chat template's text for ``messages``; ``ask`` adds what makes the assistant answer."""
    if not _template(tokenizer):
        raise BadData(
            f"{source.where}: the row is a conversation, but the base model's tokenizer has no "
            "chat template.",
            advice="Take an instruction-tuned base model, or rows with prompt and completion.",
        )
    text: str = _applied(source, messages, tokenizer, tokenize=False, add_generation_prompt=ask)
    return text


def _applied(
    source: Source, messages: list[dict[str, Any]], tokenizer: Any, **settings: Any
) -> Any:
    try:
        return tokenizer.apply_chat_template(messages, tools=source.fields.get("tools"), **settings)
    except (TemplateError, TypeError, KeyError, ValueError) as error:
        raise bad_row(
            source.where, f"the chat template refuses this conversation ({error})"
        ) from error


def _check_prefix(source: Source, prefix: str, text: str) -> None:
    if not text.startswith(prefix):
        raise BadData(
            f"{source.where}: the chat template writes the turns before an answer differently once "
            "the answer is there, so the answer's tokens cannot be told from the rest.",
            advice="Give the tokenizer a chat template that marks answers with {% generation %}, "
            "or use rows with prompt and completion.",
        )


def encode(rows: list[list[Segment]], tokenizer: Any) -> list[Row]:
    """Tokenize whole rows, and find the segments again in the tokens.

    Where a token would reach across the border of two segments, they are tokenized apart: what the
    model reads before an answer must be what it will read when it is asked for one.
    """
    texts = [list(itertools.accumulate(segment.text for segment in row)) for row in rows]
    ids = iter(_token_ids(list(itertools.chain.from_iterable(texts)), tokenizer))
    encoded = []
    for row in rows:
        prefixes = list(itertools.islice(ids, len(row)))
        whole = prefixes[-1]
        if all(whole[: len(prefix)] == prefix for prefix in prefixes):
            ends = [len(prefix) for prefix in prefixes]
        else:
            apart = _token_ids([segment.text for segment in row], tokenizer)
            whole = list(itertools.chain.from_iterable(apart))
            ends = list(itertools.accumulate(len(piece) for piece in apart))
        loss = np.zeros(len(whole), dtype=np.bool_)
        for segment, start, end in zip(row, [0, *ends], ends, strict=False):
            loss[start:end] = segment.carries_loss
        encoded.append(Row(np.array(whole, dtype=np.int32), loss))
    return encoded


def _token_ids(texts: list[str], tokenizer: Any) -> list[list[int]]:
    if not texts:
        return []
    encoded: list[list[int]] = tokenizer(
        texts,
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )["input_ids"]
    return encoded


def _marked_row(source: Source, tokenizer: Any) -> Row:
    """A conversation under a chat template that marks by itself what the assistant says."""
    encoded = _applied(
        source,
        source.fields["messages"],
        tokenizer,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return Row(
        np.array(encoded["input_ids"], dtype=np.int32),
        np.array(encoded["assistant_masks"], dtype=np.bool_),
    )


def begin_ids(tokenizer: Any) -> list[int]:
    """The begin token, if this tokenizer puts one before a text."""
    begin = tokenizer.bos_token_id
    return [begin] if begin is not None and begin in tokenizer("")["input_ids"] else []


def _with_ends(row: Row, tokenizer: Any) -> Row:
    begin = begin_ids(tokenizer)
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    return Row(
        np.concatenate([begin, row.ids, end]).astype(np.int32),
        np.concatenate([[False] * len(begin), row.loss, [True] * len(end)]).astype(np.bool_),
    )


def _template(tokenizer: Any) -> str:
    template = tokenizer.chat_template or ""
    return template if isinstance(template, str) else template.get("default", "")
