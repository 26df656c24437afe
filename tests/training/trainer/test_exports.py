"""What is exported loads in the runtime that it is made for, and answers as the trained model."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from tests.training.trainer import llama_cpp, runs, styles, tiny
from training.trainer import events
from training.trainer.exports.card import curve
from training.trainer.result import Result

SETTINGS: dict[str, Any] = {
    "method": "lora",
    "train": {"max_steps": 40, "learning_rate": 2e-2},
    "lora": {"r": 8, "lora_alpha": 16},
}
PROMPT = "2 plus 3 is"


@pytest.fixture(scope="module")
def exported(make_run: Callable[..., Path]) -> Path:
    """A run that has made everything there is."""
    run_dir = make_run("exported", export=["onnx", "gguf", "merged"], **SETTINGS)
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    return run_dir / "exports"


@pytest.fixture(scope="module")
def merged(exported: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(exported / "merged").eval()


@pytest.fixture(scope="module")
def ids(tokenizer: Any) -> torch.Tensor:
    found: torch.Tensor = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    return found


def test_every_form_is_made_and_was_found_to_answer_as_the_model_does(exported: Path) -> None:
    made = {line["kind"]: line for line in runs.said(exported.parent, events.EXPORT)}
    assert list(made) == ["safetensors", "merged", "onnx", "gguf"]
    for kind, bound in {"safetensors": 1e-6, "merged": 1e-4, "onnx": 1e-4, "gguf": 1.0}.items():
        assert made[kind]["max_logit_difference"] < bound
        assert made[kind]["max_logit_difference"] <= made[kind]["tolerance"]
    assert made["merged"]["sample"] == made["onnx"]["sample"] == made["safetensors"]["sample"]
    assert made["safetensors"]["same_sample"]
    assert runs.said(exported.parent, events.EXPORT_FAILED) == []
    log = (exported.parent / "log.txt").read_text()
    assert all(" INFO " in line for line in log.splitlines()), log
    result = Result.read(exported.parent)
    assert result is not None
    assert result.exports == {kind: str(exported / kind) for kind in made}


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # PEFT asks by the old name
def test_the_merged_model_equals_base_model_and_adapter(
    exported: Path, merged: Any, base_model: Path, ids: torch.Tensor
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(base_model)
    before = base(ids).logits
    adapted = PeftModel.from_pretrained(base, exported / "safetensors").eval()
    torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, atol=1e-4, rtol=0)
    assert (merged(ids).logits - before).abs().max() > 0.1


def test_onnxruntime_gives_the_same_logits_for_any_number_of_rows_and_tokens(
    exported: Path, merged: Any
) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported / "onnx" / "model.onnx"))
    draw = torch.Generator().manual_seed(0)
    for shape in ((1, 1), (3, 17), (2, 64)):
        ids = torch.randint(0, merged.config.vocab_size, shape, generator=draw)
        mask = torch.ones_like(ids)
        mask[0, shape[1] // 2 + 1 :] = 0
        feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        (logits,) = session.run(["logits"], feed)
        with torch.no_grad():
            expected = merged(input_ids=ids, attention_mask=mask).logits.numpy()
        seen = mask.bool().numpy()
        np.testing.assert_allclose(logits[seen], expected[seen], atol=1e-4)


@pytest.mark.parametrize(("file", "bound"), [("model-f16.gguf", 0.02), ("model-q8_0.gguf", 0.3)])
def test_llama_cpp_reads_the_gguf_files(
    exported: Path, merged: Any, tokenizer: Any, ids: torch.Tensor, file: str, bound: float
) -> None:
    said = llama_cpp.complete(exported / "gguf" / file, PROMPT, tokens=4)
    assert said.prompt_tokens == ids.shape[1]
    with torch.no_grad():
        expected = merged(ids).logits[0, -1].log_softmax(-1)
        written = merged.generate(ids, max_new_tokens=4, do_sample=False)[0, ids.shape[1] :]
    for token, logprob in said.next_token.items():
        if expected[token] > -8:
            assert logprob == pytest.approx(float(expected[token]), abs=bound)
    assert said.text == tokenizer.decode(written, skip_special_tokens=True)


def test_the_card_tells_how_far_each_form_is_from_the_model(exported: Path) -> None:
    for kind in ("safetensors", "merged", "onnx", "gguf"):
        card = (exported / kind / "README.md").read_text()
        manifest = json.loads((exported / kind / "manifest.json").read_text())
        assert "largest logit difference" in card
        assert "![The loss, step by step](loss.svg)" in card
        assert manifest["kind"] == kind
        for found in manifest["compared"]:
            assert f"{found['max_logit_difference']:.3g}" in card
    assert 'library_name: "transformers"' in (exported / "merged" / "README.md").read_text()
    named = [one["file"] for one in manifest["compared"]]
    assert named == ["model-f16.gguf", "model-q8_0.gguf"]


def test_the_curve_is_a_picture_of_the_losses(exported: Path) -> None:
    picture = ElementTree.parse(exported / "merged" / "loss.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    line = picture.find(f"{space}polyline")
    assert line is not None
    assert len(line.attrib["points"].split()) == 40
    assert len(picture.findall(f"{space}circle")) == 2  # held-out rows: before and after


@pytest.mark.parametrize("steps", [0, 1, 10_001])
def test_a_curve_of_any_length_can_be_drawn(steps: int) -> None:
    drawn = curve([(step, 1 / (step + 1)) for step in range(steps)], [])
    line = ElementTree.fromstring(drawn).find("{http://www.w3.org/2000/svg}polyline")
    assert len(drawn) < 20_000
    assert (line is not None) == bool(steps)


def test_a_killed_export_starts_again_and_ends_the_same(
    make_run: Callable[..., Path], exported: Path
) -> None:
    run_dir = make_run("killed-export", export=["merged", "gguf"], **SETTINGS)
    half = run_dir / "exports" / "gguf.tmp" / "model-f16.gguf"
    with runs.trainer(run_dir) as process:
        runs.wait_until(half.exists, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (run_dir / "exports" / "gguf").exists()
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    for kind in ("safetensors", "merged", "gguf"):
        assert files_of(run_dir / "exports" / kind) == files_of(exported / kind)
    assert sorted(path.name for path in (run_dir / "exports").iterdir()) == [
        *("gguf", "merged", "safetensors")
    ]
    kinds = [line["kind"] for line in runs.said(run_dir, events.EXPORT)]
    assert kinds == ["safetensors", "merged", "gguf"]


def files_of(folder: Path) -> dict[str, str]:
    """Checksums; a card names its own run."""
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    return {one["path"]: one["sha256"] for one in listed if one["path"] != "README.md"}


def test_an_adapter_on_four_bits_is_merged_into_what_the_four_bits_stood_for(
    make_run: Callable[..., Path],
) -> None:
    run_dir = make_run("qlora-merged", export=["merged"], **(SETTINGS | {"method": "qlora"}))
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    made = {line["kind"]: line for line in runs.said(run_dir, events.EXPORT)}
    assert made["merged"]["max_logit_difference"] < 1e-3
    assert made["safetensors"]["max_logit_difference"] < 1e-4
    config = json.loads((run_dir / "exports" / "merged" / "config.json").read_text())
    assert "quantization_config" not in config


def test_a_classifier_becomes_a_graph_that_chooses_the_same_labels(
    make_run: Callable[..., Path], tmp_path: Path, tokenizer: Any
) -> None:
    import onnxruntime
    from transformers import AutoModelForSequenceClassification

    rows = tiny.write_rows(tmp_path / "train.jsonl", styles.labelled())
    run_dir = make_run(
        "classifier",
        method="text_classification",
        dataset={"train": [str(rows)], "validation": []},
        train={"max_steps": 10, "learning_rate": 1e-2, "use_peft": True},
        export=["merged", "onnx"],
    )
    assert runs.finish(run_dir) == 0, (run_dir / "log.txt").read_text()
    folder = run_dir / "exports"
    merged = AutoModelForSequenceClassification.from_pretrained(folder / "merged").eval()
    session = onnxruntime.InferenceSession(str(folder / "onnx" / "model.onnx"))
    texts = ["1 plus 1 is 2", "9 plus 9 is 18", "3 plus"]
    read = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
    (logits,) = session.run(["logits"], {name: ids.numpy() for name, ids in read.items()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, merged(**read).logits.numpy(), atol=1e-4)
    config = json.loads((folder / "onnx" / "config.json").read_text())
    assert set(config["label2id"]) == {"large", "small"}
    (told,) = (one for one in runs.said(run_dir, events.EXPORT) if one["kind"] == "onnx")
    assert told["sample"] in config["label2id"]
