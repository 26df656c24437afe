"""What stands in a config.json: sizes that can be believed, and what a silent part of it means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.preflight.families import Switch

# A size above this is a mistake or an attack, and is read as "not known".
LARGEST = 10**7
# Of a model within a model Transformers writes only what is not so by default (``to_diff_dict``);
# the tests compare these with its classes.
_DEFAULTS: dict[str, dict[str, int]] = json.loads(
    Path(__file__).with_name("defaults.json").read_text(encoding="utf-8")
)


def size(config: dict[str, Any], *keys: str) -> int | None:
    """The first of the keys that holds a believable size."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST:
            return value
    return None


def on(config: dict[str, Any], switch: Switch) -> bool:
    """What a switch of a family is by this config."""
    if isinstance(switch, bool):
        return switch
    key, default = switch
    value = config.get(key, default)
    return value if isinstance(value, bool) else default


def part_of(config: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The config of a model within the model, such as its ``text_config``, with what it leaves
    out; None where there is none."""
    part = config.get(name)
    if not isinstance(part, dict):
        return None
    model_type = part.get("model_type")
    return {**_DEFAULTS.get(model_type, {}), **part} if isinstance(model_type, str) else part
