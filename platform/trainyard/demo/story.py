"""The demo, told through the public REST API of a running platform: register, judge, train, tell.

It knows the platform by its URL and its home folder alone.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainyard.demo import dates, docstrings, plan, rows
from trainyard.demo.client import Client, Refused, Unreachable
from trainyard.demo.progress import Display
from trainyard.demo.verdict import judge

FINAL = ("COMPLETED", "FAILED", "CANCELLED")
POLL_SECONDS = 0.5
# Many times what it takes; a job that is stuck must not hold the demo for ever.
DEADLINE_SECONDS = 600.0
EXAMPLES = 4


class DemoFailed(Exception):
    """A sentence for the person at the terminal."""


class Story:
    def __init__(self, client: Client, home: Path) -> None:
        self.client = client
        self.home = home
        self.began = time.monotonic()

    def tell(self) -> int:
        """The whole demo. Returns the exit code: 0 only if the model has learned."""
        try:
            model, dataset = self.material()
            job = self.train(model, dataset)
            return self.outcome(job)
        except Refused as error:
            self.say(f"The platform refuses: {error}")
        except Unreachable as error:
            self.say(f"The platform does not answer at {self.client.base_url}: {error}")
        except DemoFailed as error:
            self.say(str(error))
        return 1

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    # --- material --------------------------------------------------------------------------------

    def material(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The registered base model and the dates, both made where they are missing."""
        dates_folder = self.home / "datasets" / plan.DATES_NAME
        # Another Python has other docstrings.
        python = platform.python_version()
        docstrings_folder = self.home / "datasets" / f"{plan.DOCSTRINGS_NAME}-{python}"
        model_folder = self.home / "models" / plan.MODEL_NAME

        self.make(dates_folder, "dates, written in many ways", dates.write)
        self.make(docstrings_folder, f"the docstrings of Python {python}", docstrings.write)
        self.make(model_folder, "a small Llama, pre-trained for some seconds", build_base_model)

        dataset = self.registered_dataset(plan.DATES_NAME, "1", dates_folder)
        self.registered_dataset(plan.DOCSTRINGS_NAME, python, docstrings_folder)
        model = self.registered(
            "base-models", {"name": plan.MODEL_NAME, "storage_path": str(model_folder)}
        )
        return model, dataset

    def make(self, folder: Path, what: str, write: Callable[[Path], None]) -> None:
        """``write`` makes the folder whole or not at all, so one that is there is complete."""
        if folder.is_dir():
            self.say(f"Found {what}: {folder}")
        else:
            write(folder)
            self.say(f"Made {what}: {folder}")

    def registered_dataset(self, name: str, version: str, folder: Path) -> dict[str, Any]:
        body = {"name": name, "version": version, "modality": "text", "storage_path": str(folder)}
        dataset = self.registered("datasets", body)
        if not dataset["integrity_passed"]:
            raise DemoFailed(f"The dataset {name} did not pass its integrity check.")
        return dataset

    def registered(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        """The entry of an earlier demo with the same name, version and files, or a new one."""
        listed = self.client.get(f"/api/{plural}", q=body["name"])
        for entry in listed[plural.removeprefix("base-")]:
            if all(entry[key] == value for key, value in body.items()):
                return dict(entry)
        entry = self.client.post(f"/api/{plural}", body)
        self.say(f"Registered {body['name']}.")
        return dict(entry)

    # --- the job ---------------------------------------------------------------------------------

    def train(self, model: dict[str, Any], dataset: dict[str, Any]) -> dict[str, Any]:
        """Preflight, create and follow the job. Returns it as it ended."""
        experiment = {
            "base_model_id": model["id"],
            "dataset_id": dataset["id"],
            "recipe_id": self.full_recipe()["id"],
            "train": plan.TRAIN,
            "resources": plan.RESOURCES,
            "eval": plan.EVAL,
            "export": plan.EXPORT,
        }
        self.preflight(experiment)
        job = self.client.post("/api/jobs", {"name": plan.JOB_NAME, **experiment})
        self.say(f"Job {job['id']} created: {self.page(job)}")
        try:
            return self.follow(job)
        except KeyboardInterrupt:
            self.client.post(f"/api/jobs/{job['id']}/cancel")
            raise DemoFailed("Interrupted; the job was cancelled.") from None

    def full_recipe(self) -> dict[str, Any]:
        for recipe in self.client.get("/api/recipes")["recipes"]:
            if recipe["method"] == "full":
                return dict(recipe)
        raise DemoFailed("The platform has no recipe for a full fine-tune.")

    def preflight(self, experiment: dict[str, Any]) -> None:
        report = self.client.post("/api/experiments/preflight", experiment)
        for warning in report["warnings"]:
            self.say(f"Preflight warns: {warning}")
        if not report["ok"]:
            raise DemoFailed("Preflight says no: " + " ".join(report["errors"]))
        memory = f"about {report['estimated_vram_mb']:,} MB of memory"
        self.say(f"Preflight says yes: {memory}, {report['time_per_step_ms']:,.0f} ms a step.")

    def follow(self, job: dict[str, Any]) -> dict[str, Any]:
        """Show the progress until the job has ended."""
        display = Display()
        deadline = time.monotonic() + DEADLINE_SECONDS
        try:
            while job["status"] not in FINAL:
                if time.monotonic() > deadline:
                    raise DemoFailed(f"The job is still {job['status']} after 10 minutes.")
                time.sleep(POLL_SECONDS)
                job = self.client.get(f"/api/jobs/{job['id']}")
                display.show(job)
        finally:
            display.close()
        return job

    # --- what came of it -------------------------------------------------------------------------

    def outcome(self, job: dict[str, Any]) -> int:
        verdict = judge(job)
        if job["status"] == "COMPLETED":
            artifacts = self.client.get(f"/api/jobs/{job['id']}/artifacts")["artifacts"]
            folders = sorted({str(Path(artifact["path"]).parent) for artifact in artifacts})
            if verdict.learned:
                self.show_examples(folders[0])
            for folder in folders:
                self.say(f"Artifacts: {folder}")
        self.say(verdict.sentence)
        self.say(f"The job's page: {self.page(job)}")
        return 0 if verdict.learned else 1

    def show_examples(self, model_folder: str) -> None:
        """Load the exported model with plain Transformers, and ask it what it never saw."""
        dates_folder = self.home / "datasets" / plan.DATES_NAME
        held_out = rows.read(dates_folder / rows.VALIDATION)[:EXAMPLES]
        prompts = [row["prompt"] for row in held_out]
        told = run_module("trainyard.demo.answers", model_folder, stdin=json.dumps(prompts))
        for prompt, answer in zip(prompts, json.loads(told), strict=True):
            self.say(f"  {prompt} {answer}")

    def page(self, job: dict[str, Any]) -> str:
        return f"{self.client.base_url}/jobs/{job['id']}"


def build_base_model(folder: Path) -> None:
    """In a process of its own: this one stays small and never imports torch."""
    run_module("trainyard.demo.base_model", str(folder))


def run_module(module: str, *arguments: str, stdin: str = "") -> str:
    """The module's standard output. Raises DemoFailed with its last words."""
    source = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    # Threads that wait must not spin: on cores shared with others that costs up to ten times the
    # time (114 s instead of 8 s, measured).
    environment = {"GOMP_SPINCOUNT": "10000", **os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise DemoFailed(f"{module} failed (exit code {done.returncode}): {done.stderr[-2000:]}")
    return done.stdout
