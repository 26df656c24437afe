"""A hundred imports from a hub with faults, by a worker that is killed again and again.

``python -m benchmarks.hub_faults [seed] [imports]``. Every fourth request to the hub goes wrong:
429, 500, 503, a cut or silent or slow connection, a wrong byte, another file, ranges ignored. The
worker gets kill -9 every few seconds. One repository in eight is hopeless (missing, gated, of
another kind, only pickles, no rows, always wrong bytes). All imports must end in the right bytes,
compared file by file, or in the failure that was to come; nothing may be registered by halves or
twice, and no file may be left over. Ends with an error where that is not so.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.hub.fake_hub import running_hub
from tests.hub.story import ENVIRONMENT, Story
from tests.trainyard.running.instances import Instance


def main(seed: int, count: int) -> None:
    print(f"seed {seed}, {count} imports")
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as folder, running_hub() as hub:
        instance = Instance(
            Path(folder) / "home", extra={**ENVIRONMENT, "HF_ENDPOINT": hub.address}
        )
        instance.start()
        try:
            story = Story(hub, instance, seed)
            story.furnish(count, largest=4_000_000)
            began = time.monotonic()
            story.begin()
            story.run_to_the_end(kill_every=(3, 20), seconds=1800)
            took = time.monotonic() - began
            endings = story.check()
        finally:
            instance.kill_everything()
    size = sum(len(content) for one in story.imports for content in one.files.values())
    print(f"{size / 1e6:.0f} MB in {took:.0f} s, {len(hub.asked)} requests, {story.kills} kills")
    print(f"faults: {dict(sorted(story.faults.items()))}")
    print(f"ended: {dict(sorted(endings.items()))}")
    print("every file is the hub's, nothing is registered by halves, nothing is left over")


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    main(*given, *[1, 100][len(given) :])
