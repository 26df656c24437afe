"""Many imports through a hub with faults, with a worker that is killed again and again.

The suite tells a short one (`test_worker`), `benchmarks/hub_faults.py` the long one.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.hub.fake_hub import Asked, Content, FakeHub, Fault
from tests.registry.files import LLAMA, llama_tensors
from tests.trainyard.running.instances import Instance, wait_for

FINAL = ("COMPLETED", "FAILED", "CANCELLED")
# What becomes of a repository that is no good, by the kind of its failure.
HOPELESS = ("missing", "gated", "wrong_bytes", "only_pickles", "not_a_dataset", "wrong_kind")
ENVIRONMENT = {
    "TRAINYARD_TRANSFER_BACKOFF_SECONDS": "1",
    "TRAINYARD_TRANSFER_SILENCE_SECONDS": "3",
    "TRAINYARD_TRANSFER_TRIES": "8",
    "TRAINYARD_LEASE_SECONDS": "5",
}


@dataclass
class Import:
    kind: str
    repo_id: str
    files: dict[str, bytes]
    fails_as: str = ""
    transfer_id: str = ""


@dataclass
class Story:
    """``seed`` decides everything but the moments at which threads run."""

    hub: FakeHub
    instance: Instance
    seed: int
    fault_rate: float = 0.25
    imports: list[Import] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.lock = threading.Lock()

    # -- The hub -----------------------------------------------------------------------------------

    def furnish(self, count: int, *, largest: int) -> None:
        """``count`` repositories, one in eight of them hopeless."""
        for number in range(count):
            fails_as = HOPELESS[number // 8 % len(HOPELESS)] if number % 8 == 7 else ""
            self.imports.append(self._repository(number, fails_as, largest))
        self.hub.fault_of = self.fault_of

    def _repository(self, number: int, fails_as: str, largest: int) -> Import:
        name = f"ana/thing-{number}"
        is_model = fails_as == "only_pickles" or (not fails_as and self.rng.random() < 0.4)
        kind = "models" if is_model else "datasets"
        files = self._model(largest) if is_model else self._rows(largest)
        if fails_as == "only_pickles":
            files = {"pytorch_model.bin": b"pickle", "config.json": b"{}"}
        if fails_as == "not_a_dataset":
            files = {"README.md": b"# Only words\n"}
        if fails_as == "wrong_kind":
            self.hub.add("models", name, dict(files))
        elif fails_as != "missing":
            contents: dict[str, Content] = dict(files)
            self.hub.add(kind, name, contents, gated=fails_as == "gated")
        return Import(f"hf_{kind[:-1]}", name, files, fails_as)

    def _rows(self, largest: int) -> dict[str, bytes]:
        def rows(size: int) -> bytes:
            line = json.dumps({"prompt": f"{self.rng.random()}", "completion": "yes"}) + "\n"
            return line.encode() * max(size // len(line), 2)

        files = {"train.jsonl": rows(self.rng.randint(100, largest)), "README.md": b"# Rows\n"}
        if self.rng.random() < 0.5:
            files["test.jsonl"] = rows(self.rng.randint(100, 10_000))
        return files

    def _model(self, largest: int) -> dict[str, bytes]:
        from safetensors.numpy import save

        tensors = llama_tensors()
        vocabulary = self.rng.randint(100, max(largest // 16, 101))
        tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:1].repeat(
            vocabulary, axis=0
        )
        config = {**LLAMA, "vocab_size": vocabulary}
        return {
            "config.json": json.dumps(config).encode(),
            "model.safetensors": save(tensors, {"format": "pt"}),
            "tokenizer.json": b'{"version": "1.0"}',
            "README.md": b"# Tiny\n",
        }

    def fault_of(self, asked: Asked) -> Fault | None:
        with self.lock:
            if self._is_always_wrong(asked):
                return Fault(wrong_byte=3)
            if not asked.path.startswith(("/api/models", "/api/datasets")) and (
                asked.method != "GET" or "/resolve/" not in asked.path
            ):
                return None
            if self.rng.random() > self.fault_rate:
                return None
            name, fault = self._some_fault("/resolve/" in asked.path)
            self.faults[name] += 1
            return fault

    def _is_always_wrong(self, asked: Asked) -> bool:
        if "/resolve/" not in asked.path or not asked.path.endswith("train.jsonl"):
            return False
        return any(i.fails_as == "wrong_bytes" and i.repo_id in asked.path for i in self.imports)

    def _some_fault(self, of_file: bool) -> tuple[str, Fault]:
        rng = self.rng
        anywhere = [
            ("429", Fault(status=429, headers={"Retry-After": str(rng.choice([0, 1]))})),
            ("500", Fault(status=500)),
            ("503", Fault(status=503)),
        ]
        of_files = [
            ("cut", Fault(cut_after=rng.randint(0, 200_000))),
            ("cut at once", Fault(cut_after=0)),
            ("slow", Fault(bytes_a_second=rng.choice([200_000, 2_000_000]))),
            ("slow and cut", Fault(bytes_a_second=500_000, cut_after=rng.randint(0, 100_000))),
            ("wrong byte", Fault(wrong_byte=rng.randint(0, 300))),
            ("silent", Fault(hang_seconds=rng.choice([0.5, 4.0]))),
            ("no ranges", Fault(no_ranges=True)),
            ("another file", Fault(other=b"<html>Sign in to this network</html>")),
        ]
        return rng.choice([*anywhere, *of_files, *of_files] if of_file else anywhere)

    # -- The platform ------------------------------------------------------------------------------

    def call(self, method: str, path: str, **options: Any) -> Any:
        url = f"http://127.0.0.1:{self.instance.port}{path}"
        answer = httpx.request(method, url, timeout=60, **options)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def begin(self) -> None:
        for one in self.imports:
            body = {"kind": one.kind, "hf_repo_id": one.repo_id}
            one.transfer_id = self.call("POST", "/api/transfers", json=body)["id"]

    def count(self, *statuses: str) -> int:
        query = "&".join(f"status={status}" for status in statuses)
        return int(self.call("GET", f"/api/transfers?{query}&limit=1")["total"])

    def starts(self) -> int:
        return self.instance.log_of("transfers").count("ready.")

    def kill_the_worker(self) -> None:
        """kill -9, and it is started again by the supervisor, which is waited for."""
        before, pid = self.starts(), self.instance.pid_of("transfers")
        assert pid is not None
        psutil.Process(pid).kill()
        self.kills += 1
        wait_for("another worker", lambda: self.starts() > before, 90)

    def run_to_the_end(self, *, kill_every: tuple[float, float], seconds: float) -> None:
        """With a kill so many seconds after the worker has begun to move something, and again,
        until nothing moves any more."""
        deadline = time.monotonic() + seconds
        next_kill: float | None = None
        while self.count("QUEUED", "RUNNING"):
            now = time.monotonic()
            assert now < deadline, self.call("GET", "/api/transfers?status=RUNNING")
            if next_kill is None and self.count("RUNNING"):
                next_kill = now + self.rng.uniform(*kill_every)
            if next_kill is not None and now > next_kill:
                self.kill_the_worker()
                next_kill = None
            time.sleep(0.2)

    # -- What is true afterwards -------------------------------------------------------------------

    def check(self) -> Counter[str]:
        """Every import ended in the right bytes or in a clear failure, and nothing else is there.
        How they ended."""
        endings: Counter[str] = Counter()
        places = set()
        for one in self.imports:
            transfer = self.call("GET", f"/api/transfers/{one.transfer_id}")
            said = f"{one.repo_id}: {transfer['status']} {transfer['failure']}"
            assert transfer["status"] in FINAL, said
            if transfer["status"] == "COMPLETED":
                assert not one.fails_as, said
                places.add(self._registered_as_sent(one, transfer))
                endings["completed"] += 1
            else:
                failure = transfer["failure"]
                assert failure["kind"] == one.fails_as, said
                assert failure["message"].endswith("."), said
                assert failure["advice"], said
                endings[failure["kind"]] += 1
                self.call("POST", f"/api/transfers/{one.transfer_id}/cancel")
        self._nothing_else(places)
        self._told_once(endings)
        return endings

    def _registered_as_sent(self, one: Import, transfer: dict[str, Any]) -> str:
        which = "datasets" if one.kind == "hf_dataset" else "base-models"
        entry = self.call("GET", f"/api/{which}/{transfer['result']['id']}")
        folder = Path(entry["storage_path"])
        there = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        assert there.keys() == one.files.keys(), one.repo_id
        for name, content in one.files.items():
            assert there[name].read_bytes() == content, f"{one.repo_id}: {name}"
        listed = self.call("GET", f"/api/transfers/{one.transfer_id}/files?limit=100")["files"]
        hashes = {file["path"]: file["sha256"] for file in listed}
        assert hashes == {n: hashlib.sha256(c).hexdigest() for n, c in one.files.items()}
        return str(folder)

    def _nothing_else(self, places: set[str]) -> None:
        home = self.instance.home

        def there(name: str) -> set[str]:
            return {str(path) for path in (home / name).glob("*")}

        wait_for("the sweep", lambda: not there("transfers"), 120)
        beside = {f"{place}{end}" for place in places for end in (".manifest.jsonl", ".seen.json")}
        beside |= {f"{place}.rows.npz" for place in places if "/datasets/" in place}
        assert there("models") | there("datasets") == places | beside
        assert there("store/incoming") == there("uploads") == set()
        shared = [path for path in (home / "store" / "sha256").rglob("*") if path.is_file()]
        assert [path.name for path in shared if path.stat().st_nlink < 2] == []
        entries = [
            self.call("GET", f"/api/{which}?limit=1") for which in ("datasets", "base-models")
        ]
        assert sum(entry["total"] for entry in entries) == len(places)

    def _told_once(self, endings: Counter[str]) -> None:
        """Each import has begun once, ended once, and made one entry."""
        told: Counter[str] = Counter()
        offset = 0
        while rows := self.call("GET", f"/api/activity?limit=500&offset={offset}")["activities"]:
            told.update(row["event_type"] for row in rows)
            offset += len(rows)
        completed = endings["completed"]
        assert told["transfer_started"] == len(self.imports), told
        assert told["transfer_completed"] == completed, told
        assert told["dataset_imported"] + told["model_created"] == completed, told
        assert told["transfer_failed"] == len(self.imports) - completed, told
