"""What cannot be exported is said, in time, and spoils nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.trainer import llama_cpp, runs, tiny
from training.trainer import __main__ as main
from training.trainer import events, exports, objectives, prepare
from training.trainer.events import EventLog
from training.trainer.exports import gguf, reload, room
from training.trainer.exports.compare import Comparison
from training.trainer.exports.failure import ExportFailed
from training.trainer.exports.gguf_vocabulary import vocabulary_of
from training.trainer.result import Result
from training.trainer.spec import RunSpec
from training.trainer.stopping import Stop


@pytest.fixture
def export(
    make_run: Callable[..., Path], base_model: Path
) -> Callable[[str], tuple[dict[str, str], Path]]:
    """Export the base model as if it had been trained; what was made, and the run's folder."""

    def export(kind: str) -> tuple[dict[str, str], Path]:
        from transformers import AutoModelForCausalLM

        run_dir = make_run(f"untrained-{kind}", export=[kind])
        spec = RunSpec.read(run_dir)
        objective = objectives.build(spec)
        log = EventLog(run_dir)
        rows, _ = prepare.load_data(spec, objective, log)
        model = AutoModelForCausalLM.from_pretrained(base_model)
        facts = exports.Facts(step=1, train_rows=1, train_tokens=1, loss=1.0)
        made = exports.export_all(spec, objective, model, rows[0], facts, log)
        log.close()
        return made, run_dir

    return export


def test_an_export_that_answers_otherwise_is_left_out(
    export: Callable[[str], tuple[dict[str, str], Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = reload.plain

    def spoilt(*args: Any, **kwargs: Any) -> Any:
        model = plain(*args, **kwargs)
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(-1)
        return model

    monkeypatch.setattr(reload, "plain", spoilt)
    made, run_dir = export("gguf")
    assert list(made) == ["safetensors"]
    (failed,) = runs.said(run_dir, events.EXPORT_FAILED)
    assert failed["kind"] == "gguf"
    assert "answers otherwise: largest logit difference" in failed["message"]
    assert [path.name for path in (run_dir / "exports").iterdir()] == ["safetensors"]


def test_without_memory_the_weights_are_there_and_the_rest_is_told(
    export: Callable[[str], tuple[dict[str, str], Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_host_bytes", lambda: 2**20)
    made, run_dir = export("onnx")
    assert list(made) == ["safetensors"]
    (failed,) = runs.said(run_dir, events.EXPORT_FAILED)
    assert failed["message"].startswith("Writing onnx needs 0.3 GB of host memory, and 0.0 GB")
    (weights,) = runs.said(run_dir, events.EXPORT)
    assert weights["unchecked"].startswith("Loading the weights again needs")
    card = (run_dir / "exports" / "safetensors" / "README.md").read_text()
    assert "Not compared: Loading the weights again needs" in card


def test_the_free_memory_is_known() -> None:
    assert 2**20 < room.free_host_bytes() < 2**50


@pytest.mark.parametrize("difference", [0.2, math.inf, math.nan])
def test_a_difference_that_is_no_small_number_is_too_large(difference: float) -> None:
    found = Comparison(max_logit_difference=difference, tolerance=0.1, sample="a", same_sample=True)
    assert not found.is_close


def test_what_cannot_become_a_gguf_file_is_known_before_the_first_step(
    make_run: Callable[..., Path],
    tmp_path: Path,
    tokenizer: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(prepare, "make_repeatable", lambda _spec: None)  # it is for all the process
    run_dir = make_run("gpt2", base_model={"path": str(tmp_path)}, export=["gguf"])
    failure = main.run(run_dir, Stop()).failure
    assert failure is not None
    assert failure.kind == "bad_settings"
    assert failure.message == (
        "export: gguf is written for llama, mistral, qwen2, qwen3; this model is gpt2"
    )
    assert runs.said(run_dir, events.STEP) == []
    assert Result.read(run_dir) is None


# --- gguf of all kinds ---------------------------------------------------------------------------

TURNING = {"rope_theta": 10_000.0}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"rope_parameters": TURNING | {"rope_type": "linear", "factor": 4.0}, "head_dim": 32},
    "llama3": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }
    },
    "mistral": {"sliding_window": None},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 16},
}


@pytest.mark.parametrize("kind", KINDS)
def test_llama_cpp_computes_what_transformers_computes(
    kind: str, tokenizer: Any, tmp_path: Path
) -> None:
    prompt = "7 plus 8 is 15 and 2 plus 2 is"
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    model, expected = model_that_says_a_letter(kind, tokenizer, ids)
    tokenizer.save_pretrained(tmp_path)
    gguf.write(model, tokenizer, tmp_path, tmp_path, "tiny")
    said = llama_cpp.complete(tmp_path / gguf.F16, prompt, tokens=1)
    assert said.prompt_tokens == ids.shape[1]
    assert len(said.next_token) == model.config.vocab_size
    for token, logprob in said.next_token.items():
        assert logprob == pytest.approx(float(expected[token]), abs=0.1)


def model_that_says_a_letter(
    kind: str, tokenizer: Any, ids: torch.Tensor
) -> tuple[Any, torch.Tensor]:
    """llama.cpp gives no probabilities for what is not text, such as half a letter. The model, and
    the logarithms of the probabilities of what comes next."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "llama" if kind == "llama3" else kind,
        vocab_size=len(tokenizer) + 4,  # more than the tokenizer uses
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=None,
        eos_token_id=1,
        **KINDS[kind],
    )
    seed = 0
    while True:
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():  # biases and norms too, so that a lost one shows
            torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
        with torch.no_grad():
            expected = model(ids).logits[0, -1].log_softmax(-1)
        if tokenizer.decode([int(expected.argmax())], skip_special_tokens=True).isalpha():
            return model, expected
        seed += 1


def test_a_sentencepiece_tokenizer_splits_as_before(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = sentencepiece_like()
    tokenizer.save_pretrained(tmp_path)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    gguf.write(LlamaForCausalLM(config), tokenizer, tmp_path, tmp_path, "tiny")
    for prompt in ("2 plus 3 is", "plus plus", "naïve 9"):
        said = llama_cpp.complete(tmp_path / gguf.F16, prompt, tokens=1)
        assert said.prompt_tokens == len(tokenizer(prompt)["input_ids"])


def sentencepiece_like() -> Any:
    """BPE with bytes to fall back on, as Llama 2 has it."""
    from transformers import LlamaTokenizer

    letters = ["▁", *"plusi", *"0123456789"]
    merges = [("▁", "p"), ("l", "u"), ("▁p", "lu"), ("▁plu", "s"), ("▁", "i"), ("▁i", "s")]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = [*pieces, *("".join(pair) for pair in merges), *letters]
    return LlamaTokenizer(
        vocab={token: number for number, token in enumerate(dict.fromkeys(vocabulary))},
        merges=merges,
    )


def test_a_tokenizer_that_llama_cpp_does_not_know_is_refused(tmp_path: Path) -> None:
    from tokenizers import pre_tokenizers

    tokenizer = tiny.make_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ExportFailed, match="way of splitting text"):
        vocabulary_of(tokenizer, tmp_path, len(tokenizer))
