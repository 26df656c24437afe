"""llama.cpp itself, in a process of its own, as the wheel xllamacpp brings it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
import json, sys
import xllamacpp
file, prompt, tokens = sys.argv[1], sys.argv[2], int(sys.argv[3])
params = xllamacpp.CommonParams()
params.model.path = file
params.n_ctx = 128
params.warmup = False
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
asked = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "n_probs": 1000}
print(json.dumps(server.handle_completions(asked)))
"""


@dataclass(frozen=True)
class Said:
    """``next_token`` are the logarithms of the probabilities of what comes next, by token; empty
    where what comes is not text."""

    prompt_tokens: int
    next_token: dict[int, float]
    text: str


def complete(file: Path, prompt: str, *, tokens: int) -> Said:
    """Let llama.cpp go on with ``prompt``, always with the likeliest token."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file), prompt, str(tokens)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.strip().splitlines()[-1])
    choice = told["choices"][0]
    first = choice["logprobs"]["content"][0]["top_logprobs"] if choice["logprobs"] else []
    return Said(
        prompt_tokens=told["usage"]["prompt_tokens"],
        next_token={one["id"]: one["logprob"] for one in first},
        text=choice["text"],
    )
