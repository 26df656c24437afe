"""Requests that nobody would write by hand, against a running server: it never fails, and what it
answers is what the OpenAPI document says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract import octets
from tests.contract.conftest import Served

ROOT = Path(__file__).resolve().parents[2]

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
MOST_SECONDS = 15


@pytest.mark.parametrize("served", ["sqlite", "postgresql"], indirect=True)
def test_no_request_makes_it_fail_or_leave_the_schema(served: Served, tmp_path: Path) -> None:
    end = subprocess.run(
        [
            *(Path(sys.executable).with_name("st"), "run", f"{served.address}/api/schema"),
            *("--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS)),
            *("--max-examples", "6", "--max-time", str(MOST_SECONDS)),
            *("--seed", "1", "--continue-on-failure", "--no-color", "--warnings", "off"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": octets.__name__},
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS * 8,
        check=False,
    )
    assert end.returncode == 0, end.stdout + end.stderr
    assert "Operations:       0 selected" not in end.stdout
