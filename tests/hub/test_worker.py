"""A real worker, a hub with faults, and kill -9 in the middle."""

from __future__ import annotations

import pytest

from tests.hub.fake_hub import running_hub
from tests.hub.story import ENVIRONMENT, Story
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
