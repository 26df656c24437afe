"""A pytest plugin (``-p tests.own_home``): a home for the tests, before anybody reads the settings.

pytest-django reads them before it loads the first conftest.py, so a line there would come too late
and the tests would write into the home of the platform that people use.
"""

from __future__ import annotations

import os
import tempfile

_folder = tempfile.TemporaryDirectory(prefix="trainyard-tests-")
os.environ["TRAINYARD_HOME"] = _folder.name
# As the trainer does, so that torch and the platform share two cores without fighting.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Several trainers run at a time, and threads that wait for each other take more of the cores than
# they give (benchmarks/thread_waiting.py).
os.environ.setdefault("TRAINYARD_CPU_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Hypothesis would keep its examples in the checkout.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", f"{_folder.name}/hypothesis")
