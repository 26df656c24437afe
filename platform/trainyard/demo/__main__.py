"""``python -m trainyard.demo BASE_URL``: the demo against a platform that runs there.

TRAINYARD_HOME names the platform's home folder, as in the settings; exit code 0 means that the
model has learned.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trainyard import environment
from trainyard.demo.client import Client
from trainyard.demo.story import Story


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trainyard.demo", description=__doc__)
    parser.add_argument("base_url", metavar="BASE_URL", help="for example http://127.0.0.1:5000")
    arguments = parser.parse_args()
    home = environment.folder("TRAINYARD_HOME", Path(__file__).resolve().parents[3] / "var")
    return Story(Client(arguments.base_url), home).tell()


if __name__ == "__main__":
    sys.exit(main())
