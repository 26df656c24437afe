"""What an answer to an early step has changed in the later ones, in sentences."""

from __future__ import annotations

from typing import Any

from training.wizard.catalogue import ASKED, label
from training.wizard.sheet import Sheet
from training.wizard.steps import is_later, step_of

# What others depend on.
EARLY = ("base_model_id", "dataset_id", "recipe_id", "resources.partition_id", "resources.gpus")
MOST_NOTES = 12
# Of the memory: less than this is no news.
WORTH_TELLING = 0.02


def notes(before: Sheet, now: Sheet, said: dict[str, str]) -> list[dict[str, str]]:
    """``{"step", "text"}`` for the steps that were done before, in their order."""
    earliest = next((path for path in EARLY if path in said and _differs(path, before, now)), None)
    if earliest is None:
        return []
    first = step_of(earliest)
    found = [*_problems(before, now), *_followed(before, now, said), *_unused(before, now)]
    done = before.draft.done
    kept = [note for note in found if note["step"] in done and is_later(note["step"], first)]
    if any(is_later(step, first) for step in done):
        kept += _size(before, now)
    return kept[:MOST_NOTES]


def _differs(path: str, before: Sheet, now: Sheet) -> bool:
    return bool(before.draft.answers.get(path) != now.draft.answers.get(path))


def _note(step: str, text: str) -> dict[str, Any]:
    return {"step": step, "text": text}


def _problems(before: Sheet, now: Sheet) -> list[dict[str, str]]:
    """What did not stand in the way before."""
    return [
        _note(step, problem)
        for step, problems in now.problems.items()
        for problem in problems
        if problem not in before.problems.get(step, [])
    ]


def _followed(before: Sheet, now: Sheet, said: dict[str, str]) -> list[dict[str, str]]:
    """Settings that nobody has said anything about and that have another default now."""
    found = []
    for path, words in ASKED.items():
        old, new = before.defaults.get(path), now.defaults.get(path)
        untouched = path not in now.draft.answers and path not in said
        if untouched and path != "name" and old and new and old != new and now.asks(path):
            why = now.why(path)
            found.append(
                _note(step_of(path), f"{words.label} is now {new}, it was {old}. {why}".strip())
            )
    return found


def _size(before: Sheet, now: Sheet) -> list[dict[str, str]]:
    """How much more or less it needs."""
    if before.report is None or now.report is None:
        return []
    old, new = (sheet.report.estimated_vram_mb for sheet in (before, now) if sheet.report)
    if not old or not new or abs(new - old) < WORTH_TELLING * old:
        return []
    sentence = f"It needs {new / 1024:.1f} GiB now, it was {old / 1024:.1f} GiB."
    return [_note("preflight", sentence)]


def _unused(before: Sheet, now: Sheet) -> list[dict[str, str]]:
    return [
        _note(step_of(path), f"{label(path)} ({text}) is not used: {now.recipe} does not have it.")
        for path, text in before.said.items()
        if not now.asks(path)
    ]
