"""A budget in a container: kept below it, broken above, and so in what CI reads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from junitparser import JUnitXml

PLACE = os.environ["CMEMRUN_TEST_PLACE"]
LOAD = [sys.executable, "-S", "-E", "tests/kernels/loads.py", "anon"]


@pytest.mark.places("container", "writable-container")
def test_a_budget_of_40_mib(tmp_path: Path) -> None:
    exports = {name: tmp_path / name for name in ("json", "junit", "github", "gitlab-metrics")}
    options = [f"--export={name}={path}" for name, path in exports.items()]
    for mib, status in (("25", 0), ("44", 123)):
        command = ["cmemrun", "--max-peak", "40Mi", *options, "--", *LOAD, mib]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        (budget,) = json.loads(exports["json"].read_text())["budgets"]
        exact = PLACE == "writable-container"
        assert budget["passed"] is (status == 0)
        assert budget["certainty"] == ("exact" if exact else "lower-bound")
        assert ("not proven" in done.stderr) is (status == 0 and not budget["proven"])
        (suite,) = JUnitXml.fromfile(str(exports["junit"]))
        assert suite.failures == (status == 123)
        assert ("::error" in exports["github"].read_text()) is (status == 123)
        assert "peak" in exports["gitlab-metrics"].read_text()
