"""A test with a budget for the commands that it starts: pytest --memory-report."""

import sys
from pathlib import Path

import pytest

from cmemrun.pytest_plugin import Measure

ALLOCATE = [sys.executable, str(Path(__file__).with_name("allocate.py"))]


@pytest.mark.memory_budget("64Mi", "oom_kill=0")
def test_it_stays_small(cmemrun: Measure) -> None:
    run = cmemrun([*ALLOCATE, "20MiB"])
    assert run.stdout == "touched 20MiB\n"
