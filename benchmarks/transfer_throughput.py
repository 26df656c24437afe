"""How fast a transfer is, beside `huggingface_hub.snapshot_download` from the same server.

``python -m benchmarks.transfer_throughput [rounds]``. A hub on loopback, in a process of its own,
serves a model of five shards (0.7 GB) and a dataset of 400 small files. Both are fetched in turns,
each time by a fresh process into an empty folder; what counts is the time from the call to the
last byte. snapshot_download compares no hash; a transfer has by then compared the hash of every
file. Beside it stands the time until the entry is in the registry. The bar is 0.9.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BAR = 0.9
SHARD_ROWS = 8_700_000  # of 8 numbers of 2 bytes: 139 MB
SMALL_FILES = 400

SNAPSHOT = """
import sys, time, os
from huggingface_hub import snapshot_download
began = time.monotonic()
snapshot_download(sys.argv[2], repo_type=sys.argv[1], local_dir=sys.argv[3])
print(time.monotonic() - began)
"""
TRANSFER = """
import sys, time, django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from accounts.models import Project, User
from registry.hub import dispatch, registration, runner, services
dispatch.ring = lambda transfers: None
project, user = Project.objects.default(), User.objects.create_superuser("bench")
transfer = services.create(
    user=user, project=project, kind="hf_" + sys.argv[1], hf_repo_id=sys.argv[2]
)
register, moved = registration.register, []
def noted(*arguments):
    moved.append(time.monotonic())
    register(*arguments)
registration.register = noted
began = time.monotonic()
runner.run(transfer, 1)
assert transfer.status == "COMPLETED", transfer.failure
print(moved[0] - began, time.monotonic() - began)
"""


def main(rounds: int) -> int:
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as name:
        folder = Path(name)
        make_model(folder / "hub" / "bench" / "large")
        make_small_files(folder / "hub" / "bench" / "small")
        with served(folder / "hub") as address:
            missed = [
                compare(address, folder, "model", "bench/large", rounds),
                compare(address, folder, "dataset", "bench/small", rounds),
            ]
    return 1 if any(missed) else 0


def make_model(folder: Path) -> None:
    """A Llama with a very large vocabulary and one very wide layer, in a file for each of them."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def wide(*shape: int) -> Any:
        return rng.integers(0, 2**15, shape, dtype=np.uint16).view(np.float16)

    layer = "model.layers.0"
    small = {f"{layer}.self_attn.{n}_proj.weight": wide(8, 8) for n in "qkvo"}
    norms = ("input_layernorm", "post_attention_layernorm")
    small |= {f"{layer}.{n}.weight": wide(8) for n in norms} | {"model.norm.weight": wide(8)}
    shards = [
        {"model.embed_tokens.weight": wide(SHARD_ROWS, 8), **small},
        {"lm_head.weight": wide(SHARD_ROWS, 8)},
        {f"{layer}.mlp.gate_proj.weight": wide(SHARD_ROWS, 8)},
        {f"{layer}.mlp.up_proj.weight": wide(SHARD_ROWS, 8)},
        {f"{layer}.mlp.down_proj.weight": wide(8, SHARD_ROWS)},
    ]
    where: dict[str, str] = {}
    for number, tensors in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(tensors, folder / file, {"format": "pt"})
        where |= dict.fromkeys(tensors, file)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 8,
        "intermediate_size": SHARD_ROWS,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "vocab_size": SHARD_ROWS,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def make_small_files(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(SMALL_FILES):
        row = json.dumps({"prompt": f"{number} is", "completion": "a number"}) + "\n"
        (folder / f"train-{number:05}.jsonl").write_text(row * 300)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.hub.fake_hub", str(folder)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


def compare(address: str, folder: Path, kind: str, repo: str, rounds: int) -> bool:
    """Whether the bar was missed."""
    size = sum(p.stat().st_size for p in (folder / "hub" / repo).iterdir()) / 1e6
    plain: list[float] = []
    ours: list[float] = []
    whole: list[float] = []
    ratios: list[float] = []
    for number in range(rounds + 1):
        order = [SNAPSHOT, TRANSFER] if number % 2 else [TRANSFER, SNAPSHOT]
        took = {program: run(program, address, folder, kind, repo) for program in order}
        if number == 0:
            continue  # the first round fills the system's cache
        plain.append(took[SNAPSHOT][0])
        ours.append(took[TRANSFER][0])
        whole.append(took[TRANSFER][1])
        ratios.append(plain[-1] / ours[-1])
    ratio = statistics.median(ratios)
    print(f"{repo}: {size:.0f} MB, medians of {rounds} rounds")
    print(f"  snapshot_download    {statistics.median(plain):6.2f} s")
    print(f"  transfer, verified   {statistics.median(ours):6.2f} s, {ratio:.2f} of its speed")
    print(f"  in the registry      {statistics.median(whole):6.2f} s")
    print(f"  each round           {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    return ratio < BAR


def run(program: str, address: str, folder: Path, kind: str, repo: str) -> list[float]:
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    outside = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")
    environment = {
        **{name: value for name, value in os.environ.items() if name not in outside},
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
        "DJANGO_SETTINGS_MODULE": "trainyard.settings",
        "TRAINYARD_HOME": str(home),
        "HF_HOME": str(home / "huggingface"),
        "HF_ENDPOINT": address,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-c", program, kind, repo, str(home / "snapshot")]
    end = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert end.returncode == 0, end.stderr
    return [float(word) for word in end.stdout.split()]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 5))
