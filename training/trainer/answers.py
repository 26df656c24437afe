"""Prompts put to a model, and what it writes, word for word as it comes."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from training.trainer import model as loading
from training.trainer import quantized
from training.trainer.data import tokens
from training.trainer.data.read import Source
from training.trainer.failures import BadData
from training.trainer.orders import (
    BASE,
    BEGUN,
    DONE,
    LOADING,
    TEXT,
    Order,
    Orders,
    Says,
    ServingSpec,
)
from training.trainer.spec import BadSpec, BaseModelSpec

logger = logging.getLogger("training.trainer")

# So long a word may be held back, for the sake of whoever writes it down.
EVERY_SECONDS = 0.05
HALF_A_CHARACTER = "\ufffd"  # what the first bytes of one decode to


@dataclass(frozen=True)
class Loaded:
    model: Any
    tokenizer: Any


class Models:
    """One model in memory at a time: an adapter with its base model is one, base and tuned weights
    are two that take turns."""

    def __init__(self, spec: ServingSpec, says: Says) -> None:
        self.spec = spec
        self.says = says
        self.device = _device(spec)
        self._folder = ""
        self._loaded: Loaded | None = None
        torch.set_num_threads(spec.num_threads)

    def answer(self, order: Order, given: Orders) -> None:
        """Say what each side has to say. Raises whatever keeps it from that."""
        # What is in memory answers first, and so is not loaded twice.
        for side in sorted(order.sides, key=lambda side: self._folder_of(side) != self._folder):
            given.look()
            if order.id in given.taken_back:
                return
            with self._side(side, order) as loaded, torch.inference_mode():
                _Writer(order, side, self.says, given, loaded).write()

    def _folder_of(self, side: str) -> str:
        spec = self.spec
        return spec.base if spec.adapter or side == BASE else spec.tuned

    @contextlib.contextmanager
    def _side(self, side: str, order: Order) -> Iterator[Loaded]:
        folder = self._folder_of(side)
        if self._loaded is None or self._folder != folder:
            self.says(LOADING, id=order.id, side=side)
            self._loaded, self._folder = None, ""
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._loaded, self._folder = self._load(folder), folder
        model = self._loaded.model
        as_base = side == BASE and self.spec.adapter
        with model.disable_adapter() if as_base else contextlib.nullcontext():
            yield self._loaded

    def _load(self, folder: str) -> Loaded:
        settings: dict[str, Any] = {"dtype": "auto"}
        if self.device.type == "cuda" or self.spec.four_bit:
            settings["device_map"] = {"": self.device}  # straight to where it will be
        if self.spec.four_bit and folder == self.spec.base:
            settings["quantization_config"] = quantized.four_bit_config(torch.bfloat16)
        code = self.spec.base_code if folder == self.spec.base else self.spec.tuned_code
        files = BaseModelSpec(path=folder, code=code)
        tokenizer = loading.load_tokenizer(files)
        model = loading.from_files(files, folder, "AutoModelForCausalLM", **settings)
        if self.spec.adapter:
            model = loading.with_adapter_of(model, self.spec.adapter)
        logger.info("Loaded %s.", folder)
        return Loaded(model.eval(), tokenizer)


def _device(spec: ServingSpec) -> torch.device:
    if not spec.gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BadSpec("gpus: a GPU was asked for, but PyTorch sees none on this machine")
    return torch.device("cuda", 0)


@dataclass
class _Writer:
    """One side's answer while it is written; what `generate` calls a streamer, too."""

    order: Order
    side: str
    says: Says
    given: Orders
    loaded: Loaded
    ends: list[int] = field(default_factory=list)  # tokens behind which nothing comes
    ends_at: float = 0.0
    ids: list[int] = field(default_factory=list)
    said: str = ""
    said_at: float = 0.0
    finish_reason: str = ""
    is_prompt: bool = True

    def write(self) -> None:
        from transformers import GenerationConfig, StoppingCriteriaList

        tokenizer, sampling = self.loaded.tokenizer, self.order.sampling
        model = loading.base_of(self.loaded.model)
        prompt, self.ends = prompt_of(self.order, tokenizer, model)
        room = _room(model, len(prompt))
        self.says(BEGUN, id=self.order.id, side=self.side, prompt_tokens=len(prompt))
        began = time.monotonic()
        self.ends_at = began + self.order.seconds
        torch.manual_seed(sampling.seed)  # each side the same luck
        chance: dict[str, Any] = {"do_sample": False, "temperature": 1.0, "top_p": 1.0, "top_k": 50}
        if sampling.temperature:
            chance = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
            }
        ids = torch.tensor([prompt], device=model.device)
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=GenerationConfig(
                max_new_tokens=min(sampling.max_new_tokens, room),
                repetition_penalty=sampling.repetition_penalty,
                num_beams=1,
                use_cache=True,
                pad_token_id=loading.pad_id(tokenizer),
                eos_token_id=self.ends or None,
                **chance,
            ),
            stopping_criteria=StoppingCriteriaList([self.is_over]),
            streamer=self,
        )
        seconds = round(time.monotonic() - began, 3)
        if not self.finish_reason:
            self.finish_reason = "stop" if self.ids and self.ids[-1] in self.ends else "length"
        self._say(last=True)
        self.says(
            DONE,
            id=self.order.id,
            side=self.side,
            finish_reason=self.finish_reason,
            tokens=len(self.ids),
            seconds=seconds,
        )

    def is_over(self, ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Asked after each token."""
        self.given.look()
        if self.order.id in self.given.taken_back:
            self.finish_reason = "cancelled"
        elif time.monotonic() > self.ends_at:
            self.finish_reason = "time"
        over = bool(self.finish_reason)
        return torch.full((len(ids),), over, dtype=torch.bool, device=ids.device)

    def put(self, ids: torch.Tensor) -> None:
        """First the prompt comes, then each token."""
        if self.is_prompt:
            self.is_prompt = False
            return
        self.ids += ids.flatten().tolist()
        if time.monotonic() - self.said_at > EVERY_SECONDS:
            self._say()

    def end(self) -> None:
        """For `generate`; the last words are said by `write`."""

    def _say(self, *, last: bool = False) -> None:
        text: str = self.loaded.tokenizer.decode(
            self.ids[:-1] if self.ids and self.ids[-1] in self.ends else self.ids,
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        if not last:
            text = text.rstrip(HALF_A_CHARACTER)
        new, self.said_at = text.removeprefix(self.said), time.monotonic()
        if not new or len(text) <= len(self.said):
            return
        self.said = text
        self.says(TEXT, id=self.order.id, side=self.side, text=new, tokens=len(self.ids))


def prompt_of(order: Order, tokenizer: Any, model: Any) -> tuple[list[int], list[int]]:
    """The tokens that the model reads, as those before an answer in training, and those that end
    what it writes. Raises BadData."""
    ends = _ends(model.generation_config.eos_token_id) | _ends(tokenizer.eos_token_id)
    if not order.messages:
        begin = tokens.begin_ids(tokenizer)
        return begin + _ids(order.prompt, tokenizer), sorted(ends)
    source = Source("The prompt", "messages", {"messages": list(order.messages)})
    messages = source.fields["messages"]
    text = tokens.render(source, messages, tokenizer, ask=True)
    answer = {"role": "assistant", "content": "."}
    answered = tokens.render(source, [*messages, answer], tokenizer).removeprefix(text)
    special = set(tokenizer.all_special_ids)
    # An answer ends at the first special token that the template writes behind it.
    ends |= set([token for token in _ids(answered, tokenizer) if token in special][:1])
    return _ids(text, tokenizer), sorted(ends)


def _ids(text: str, tokenizer: Any) -> list[int]:
    encoded: list[int] = tokens.encode([[tokens.Segment(text, False)]], tokenizer)[0].ids.tolist()
    return encoded


def _ends(ids: Any) -> set[int]:
    if ids is None:
        return set()
    return set(ids) if isinstance(ids, list | tuple) else {ids}


def _room(model: Any, prompt_tokens: int) -> int:
    """How many tokens may follow. Raises BadData where there is no prompt, or no room behind it."""
    if not prompt_tokens:
        raise BadData("The prompt has no tokens.", advice="Write something for it to begin with.")
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not longest:
        return 2**31
    if prompt_tokens >= longest:
        raise BadData(
            f"The prompt has {prompt_tokens:,} tokens, and this model reads {longest:,} at most, "
            "its answer included.",
            advice="Shorten the prompt.",
        )
    return int(longest) - prompt_tokens
