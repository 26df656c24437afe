"""Questions about files that others have written, put to a process of its own that parses them."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from django.conf import settings

TIMEOUT_S = 20


class NoAnswer(Exception):
    """It failed, took too long, or said nothing that can be read."""


def ask(command: list[str], order: dict[str, Any]) -> dict[str, Any]:
    """What ``command`` answers to ``order``, both JSON. Raises NoAnswer."""
    try:
        done = subprocess.run(
            command,
            input=json.dumps(order).encode(),
            capture_output=True,
            timeout=TIMEOUT_S,
            cwd=settings.BASE_DIR,
            env={"PATH": os.environ.get("PATH", ""), "TOKENIZERS_PARALLELISM": "false"},
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise NoAnswer(str(error)) from error
    return answer
