"""Repeated runs of known loads: how far they lie apart, and what that lets one tell."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CMEMRUN, ORDINARY
from tests.loads import LOAD, MIB

RUNS = 20 if os.environ.get("CMEMRUN_TEST_LONG") else 4


def measured(path: Path, mib: int) -> Any:
    load = [*LOAD, "anon", str(mib), "0.05"]
    command = [CMEMRUN, "-q", "--runs", str(RUNS), "--json", str(path), "--", *load]
    subprocess.run(command, check=True)
    return json.loads(path.read_text())


def verdict(*paths: Path) -> Any:
    command = [CMEMRUN, "compare", *map(str, paths), "--json", "-"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["metrics"]["peak_bytes"]["verdict"]


@pytest.mark.kernel_independent
def test_the_same_is_the_same_and_six_mib_more_are_worse(
    without_huge_pages: None, tmp_path: Path
) -> None:
    first, second, more = (tmp_path / name for name in ("first", "second", "more"))
    for path in (first, second):
        found = measured(path, 40)
        peak = found["statistics"]["metrics"]["peak_bytes"]
        assert peak["runs"] == RUNS and peak["minimum"] >= 40 * MIB
        # Of the interpreter's files, what the machine has put away since is the run's that
        # reads it first: no want of resolution, but a difference.
        own = [run["peak_bytes"] - run["peak_file_bytes"] for run in found["runs"]]
        assert max(own) - min(own) <= peak["resolution"], sorted(own)
    # No statistics: all of them are within what cannot be told apart.
    assert verdict(first, second) == "same"
    measured(more, 46)
    assert verdict(first, more) == "worse"
    assert verdict(more, first) == "better"


@pytest.mark.kernel_independent
@pytest.mark.needs("own_machine")
def test_a_cold_run_is_charged_for_what_it_reads(tmp_path: Path, disk: str) -> None:
    """It is the whole machine's page cache that is dropped."""
    path, document = f"{disk}/cmemrun-cold-{os.getpid()}", tmp_path / "runs.json"
    load = [*LOAD, "reread", "16", "-1", path]
    subprocess.run([*load[:-2], "0", path], check=True)
    try:
        for options, least, most in ((["--cold"], 15, 24), ([], 0, 1)):
            command = [CMEMRUN, "-q", "--runs", "2", *options, "--json", str(document)]
            subprocess.run([*command, "--", *load], check=True)
            for run in json.loads(document.read_text())["runs"]:
                assert least * MIB <= run["peak_file_bytes"] <= most * MIB
    finally:
        os.unlink(path)


@pytest.mark.kernel_independent
def test_only_root_can_drop_the_page_cache() -> None:
    command = [*ORDINARY, CMEMRUN, "--cold", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 125 and "only root can drop the page cache" in done.stderr
