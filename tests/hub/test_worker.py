"""A real worker, a hub with faults, and kill -9 in the middle; and what it sends to the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hub.fake_hub import Asked, Fault, running_hub
from tests.hub.story import ENVIRONMENT, FINAL, Story
from tests.registry.files import write_model
from tests.registry.test_inspect_adapter import write_adapter
from tests.trainyard.running.instances import Instance, wait_for


def test_imports_survive_faults_and_kills(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_hub() as hub:
        extra = {**ENVIRONMENT, "HF_ENDPOINT": hub.address}
        instance = Instance(tmp_path_factory.mktemp("yard"), extra=extra)
        instance.start()
        try:
            story = Story(hub, instance, seed=7, fault_rate=0.2)
            story.furnish(8, largest=400_000)
            story.begin()
            wait_for("some bytes", lambda: len(hub.bodies()) >= 3, 180)
            story.kill_the_worker()
            story.run_to_the_end(kill_every=(600, 600), seconds=400)
            endings = story.check()
        finally:
            instance.kill_everything()
    assert endings["completed"] == 7
    assert story.kills == 1


def test_a_model_and_its_adapter_are_sent(tmp_path_factory: pytest.TempPathFactory) -> None:
    """By `transfer_tasks.upload_hf_model`; the hub is down at first."""
    down = [Fault(status=503)]

    def fault_of(asked: Asked) -> Fault | None:
        return down.pop() if down and asked.path == "/api/repos/create" else None

    with running_hub() as hub:
        hub.fault_of = fault_of
        hub.tokens.add("hf_good_one")
        extra = {**ENVIRONMENT, "HF_ENDPOINT": hub.address}
        instance = Instance(tmp_path_factory.mktemp("yard"), extra=extra)

        def call(method: str, path: str, **body: Any) -> Any:
            url = f"http://127.0.0.1:{instance.port}/api/{path}"
            answer = httpx.request(method, url, timeout=60, json=body or None)
            assert answer.status_code < 300, answer.text
            return answer.json()

        def sent(model_id: str, repo_id: str) -> dict[str, Any]:
            begun = call(
                "POST", "transfers", kind="hf_upload", hf_repo_id=repo_id, model_id=model_id
            )
            found: dict[str, Any] = begun

            def has_ended() -> bool:
                found.update(call("GET", f"transfers/{begun['id']}"))
                return found["status"] in FINAL

            wait_for("the upload", has_ended, 120, every_s=0.2)
            return found

        instance.start()
        try:
            models = instance.home / "models"
            whole, change = write_model(models / "tiny"), write_adapter(models / "change")
            project = call("GET", "projects")["projects"][0]["id"]
            call("POST", "hub-tokens", project_id=project, token="hf_good_one")
            model = call("POST", "base-models", name="tiny", storage_path=str(whole))
            adapter = call(
                "POST",
                "adapters",
                name="change",
                base_model_id=model["id"],
                storage_path=str(change),
            )
            endings = [sent(model["id"], "ana/whole"), sent(adapter["id"], "ana/change")]
        finally:
            instance.kill_everything()
    assert [(one["status"], one["failure"]) for one in endings] == [("COMPLETED", None)] * 2
    assert down == []
    for name, folder in (("ana/whole", whole), ("ana/change", change)):
        repo = hub.repos["models", name]
        assert repo.commits[repo.refs["main"]] == contents(folder)
        assert repo.private_to == "hf_good_one"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
