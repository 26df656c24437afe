"""What stands beside the weights: the model card with its curve, and the list of checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.trainer.exports.compare import Comparison
from training.trainer.spec import RunSpec

MANIFEST, CARD, CURVE = "manifest.json", "README.md", "loss.svg"

# What the checks of this kind of file were about, for the card's title.
TITLES = {
    "safetensors": "Weights as safetensors",
    "merged": "Adapter merged into its base model",
    "onnx": "ONNX graph, in float32",
    "gguf": "GGUF files for llama.cpp",
}


@dataclass(frozen=True)
class Facts:
    """What a run can tell of itself at its end. ``losses`` are the logged steps with their loss,
    ``held_out`` the same of the held-out rows."""

    step: int
    train_rows: int
    train_tokens: int
    loss: float | None
    evaluation: dict[str, dict[str, float]] = field(default_factory=dict)
    losses: tuple[tuple[int, float], ...] = ()
    held_out: tuple[tuple[int, float], ...] = ()


def describe(
    folder: Path,
    spec: RunSpec,
    kind: str,
    pipeline_tag: str,
    facts: Facts,
    comparisons: dict[str, Comparison],
    unchecked: str,
) -> None:
    """Write card, curve and manifest into a folder that holds everything else. ``comparisons`` are
    by file, or of the whole folder under ""; ``unchecked`` says why there is none."""
    (folder / CURVE).write_text(curve(facts.losses, facts.held_out), encoding="utf-8")
    card = model_card(spec, kind, pipeline_tag, facts, comparisons, unchecked)
    (folder / CARD).write_text(card, encoding="utf-8")
    manifest = {
        "kind": kind,
        "lineage": lineage(spec),
        "compared": [
            {"file": name, **comparison.as_dict()} for name, comparison in comparisons.items()
        ],
        "files": checksums(folder),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")


def lineage(spec: RunSpec) -> dict[str, str]:
    """Where the model comes from."""
    return {
        "run_id": spec.run_id,
        "base_model_id": spec.base_model.id,
        "base_model": spec.base_model.name or spec.base_model.path,
        "dataset_id": spec.dataset.id,
        "dataset": spec.dataset.name,
        "dataset_checksum": spec.dataset.checksum,
    }


def checksums(folder: Path) -> list[dict[str, Any]]:
    """Path, size and sha256 of every file, by path."""
    files = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files.append(
            {
                "path": path.relative_to(folder).as_posix(),
                "size_bytes": path.stat().st_size,
                "sha256": digest,
            }
        )
    return files


def model_card(
    spec: RunSpec,
    kind: str,
    pipeline_tag: str,
    facts: Facts,
    comparisons: dict[str, Comparison],
    unchecked: str,
) -> str:
    """README.md with the front matter that model hubs read. JSON strings are valid YAML."""
    is_adapter = spec.uses_adapter and kind == "safetensors"
    base = spec.base_model.name or spec.base_model.path
    front = {
        "base_model": base,
        "library_name": _library(kind, is_adapter=is_adapter),
        "pipeline_tag": pipeline_tag,
        "tags": ["trainyard", pipeline_tag, *(["lora", "adapter"] if is_adapter else [])],
    }
    what = f"A {spec.method} adapter for" if is_adapter else "A fine-tune of"
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", ""]
    lines += [f"# {spec.name}", "", f"{what} `{base}`, made with Trainyard. {TITLES[kind]}.", ""]
    lines += _compared(comparisons, unchecked)
    lines += _table("Data", _data_facts(spec, facts))
    lines += _table("Settings", _settings(spec))
    lines += _table("Result", {"steps": facts.step, "training loss": facts.loss})
    lines += [f"![The loss, step by step]({CURVE})", ""]
    if facts.evaluation:
        lines += _evaluation_table(facts.evaluation)
    lines += _table("Lineage", lineage(spec))
    return "\n".join(lines)


def _library(kind: str, *, is_adapter: bool) -> str:
    if is_adapter:
        return "peft"
    return {"onnx": "onnxruntime", "gguf": "llama.cpp"}.get(kind, "transformers")


def _compared(comparisons: dict[str, Comparison], unchecked: str) -> list[str]:
    """What was found when the export was loaded again."""
    if not comparisons:
        return ["## Compared with the trained model", "", f"Not compared: {unchecked}.", ""]
    rows = [
        f"| {name or 'all of it'} | {one.max_logit_difference:.3g} | {one.tolerance:.3g} | "
        f"{_cell(one.sample)} |"
        for name, one in comparisons.items()
    ]
    return [
        "## Compared with the trained model",
        "",
        "| file | largest logit difference | allowed | a sample |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
    ]


def _data_facts(spec: RunSpec, facts: Facts) -> dict[str, Any]:
    return {
        "dataset": spec.dataset.name,
        "training rows": facts.train_rows,
        "training tokens": facts.train_tokens,
    }


def _settings(spec: RunSpec) -> dict[str, Any]:
    train = {k: v for k, v in spec.as_dict()["train"].items() if v not in (None, ())}
    lora = spec.as_dict()["lora"] if spec.uses_adapter else {}
    return {
        "method": spec.method,
        **train,
        **lora,
        "mixed_precision": spec.device.mixed_precision,
    }


def _table(title: str, facts: dict[str, Any]) -> list[str]:
    rows = [
        f"| {key} | {_cell(value)} |" for key, value in facts.items() if value not in ("", None)
    ]
    return [f"## {title}", "", "| | |", "| --- | --- |", *rows, ""]


def _evaluation_table(evaluation: dict[str, dict[str, float]]) -> list[str]:
    """Standard errors stand behind their numbers."""
    before, after = evaluation.get("before", {}), evaluation.get("after", {})

    def cell(numbers: dict[str, float], name: str) -> str:
        error = numbers.get(f"{name}_stderr")
        return _cell(numbers.get(name)) + (f" ± {error:.2g}" if error is not None else "")

    rows = [
        f"| {name} | {cell(before, name)} | {cell(after, name)} |"
        for name in dict.fromkeys([*before, *after])
        if not name.endswith("_stderr")
    ]
    return ["## Evaluation", "", "| | before | after |", "| --- | --- | --- |", *rows, ""]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value).replace("|", "\\|").replace("\n", " ")


# --- the curve -----------------------------------------------------------------------------------

WIDTH, HEIGHT, EDGE = 640, 240, 40
MOST_POINTS = 500


def curve(losses: Sequence[tuple[int, float]], held_out: Sequence[tuple[int, float]]) -> str:
    """An SVG of the loss over the steps: a line for the training rows, points for the held-out
    ones. Each long stretch of steps is drawn by its mean."""
    drawn = [*losses, *held_out]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    if drawn:
        last = max(step for step, _ in drawn)
        low, high = min(loss for _, loss in drawn), max(loss for _, loss in drawn)

        def place(step: float, loss: float) -> tuple[float, float]:
            across = EDGE + (WIDTH - 2 * EDGE) * step / max(last, 1)
            up = (loss - low) / (high - low or 1)
            return round(across, 1), round(HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * up, 1)

        points = " ".join(f"{x},{y}" for x, y in (place(*one) for one in _thinned(losses)))
        lines += [f'<polyline points="{points}" fill="none" stroke="#2563eb" stroke-width="1.5"/>']
        for x, y in (place(*one) for one in held_out):
            lines.append(f'<circle cx="{x}" cy="{y}" r="3" fill="#d97706"/>')
        lines += [
            f'<text x="4" y="{EDGE}">{high:.3g}</text>',
            f'<text x="4" y="{HEIGHT - EDGE}">{low:.3g}</text>',
            f'<text x="{EDGE}" y="{HEIGHT - 12}">step 0</text>',
            f'<text x="{WIDTH - EDGE}" y="{HEIGHT - 12}" text-anchor="end">step {last}</text>',
            f'<text x="{WIDTH / 2}" y="20" text-anchor="middle">'
            "loss: training (line), held-out rows (points)</text>",
        ]
    return "\n".join([*lines, "</svg>", ""])


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    stride = -(-len(points) // MOST_POINTS) or 1
    return [
        (part[-1][0], sum(loss for _, loss in part) / len(part))
        for part in (points[i : i + stride] for i in range(0, len(points), stride))
    ]
