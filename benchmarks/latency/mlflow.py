"""MLflow's model registry with so many registered models, in a virtual environment of its own.

The rows go straight into its database, because its API takes them one by one. They are less than
ours: a description and two tags, no versions, so that its answers are cheap.
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from benchmarks.latency.cases import Case
from benchmarks.latency.words import RARE, base_model_words

VERSION = "3.17.2"


def installed(cache: Path) -> Path:
    """The folder of its programs; the first time this takes minutes."""
    environment = cache / f"mlflow-{VERSION}"
    if not (environment / "bin" / "mlflow").exists():
        print(f"Installing MLflow {VERSION} into {environment} …", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = [str(environment / "bin" / "pip"), "install", "--quiet", f"mlflow=={VERSION}"]
        subprocess.run(pip, check=True)
    return environment / "bin"


def empty_database(programs: Path, folder: Path) -> Path:
    path = folder / "mlflow-empty.db"
    upgrade = [str(programs / "mlflow"), "db", "upgrade", f"sqlite:///{path}"]
    subprocess.run(upgrade, check=True, capture_output=True)
    return path


def filled(empty: Path, count: int) -> Path:
    path = empty.with_name(f"mlflow-{count}.db")
    shutil.copy(empty, path)
    models, tags = [], []
    for number in range(count):
        words = base_model_words(number, count)
        models.append((words.name, number, number, words.description))
        tags += [("family", words.family, words.name), ("purpose", words.purpose, words.name)]
    with sqlite3.connect(path) as database:
        database.executemany(
            "INSERT INTO registered_models (name, creation_time, last_updated_time, description)"
            " VALUES (?, ?, ?, ?)",
            models,
        )
        database.executemany(
            "INSERT INTO registered_model_tags (key, value, name) VALUES (?, ?, ?)", tags
        )
        database.execute("ANALYZE")
    database.close()
    return path


def command(programs: Path, database: Path, port: int) -> list[str]:
    return [
        *(str(programs / "mlflow"), "server"),
        *("--backend-store-uri", f"sqlite:///{database}"),
        *("--default-artifact-root", str(database.parent / "artifacts")),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
    ]


def cases(count: int) -> list[Case]:
    search = "/api/2.0/mlflow/registered-models/search?max_results=50"
    deep = base64.b64encode(json.dumps({"offset": count - 50}).encode()).decode()
    return [
        Case("plain", search),
        Case("search, rare", f"{search}&filter=name%20LIKE%20%27%25{RARE}%25%27"),
        Case("search, frequent", f"{search}&filter=name%20LIKE%20%27%25llama%25%27"),
        Case("deep offset", f"{search}&page_token={deep}"),
    ]
