"""Repeated runs of known loads: how far they lie apart, and what that lets one tell."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CMEMRUN, ORDINARY, in_guest
from tests.kernels.conftest import LOADS

MIB = 2**20
# A guest takes an order of magnitude longer for each.
IS_QUICK = in_guest() and not os.environ.get("CMEMRUN_TEST_LONG")
MANY, SOME = (5, 3) if IS_QUICK else (20, 10)

pytestmark = pytest.mark.usefixtures("without_huge_pages")


def measured(path: Path, runs: int, mib: int) -> Any:
    load = [sys.executable, "-S", "-E", LOADS, "anon", str(mib), "0.05"]
    command = [CMEMRUN, "-q", "--runs", str(runs), "--json", str(path), "--", *load]
    subprocess.run(command, check=True)
    return json.loads(path.read_text())


def verdict(*paths: Path) -> Any:
    command = [CMEMRUN, "compare", *map(str, paths), "--json", "-"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["metrics"]["peak_bytes"]["verdict"]


def test_the_same_is_the_same_and_six_mib_more_are_worse(tmp_path: Path) -> None:
    for name in ("first", "second"):
        found = measured(tmp_path / name, MANY, 100)
        peak = found["statistics"]["metrics"]["peak_bytes"]
        assert peak["runs"] == MANY and peak["minimum"] >= 100 * MIB
        # Of the interpreter's files, what the machine has put away since is the run's that
        # reads it first: no want of resolution, but a difference.
        own = [run["peak_bytes"] - run["peak_file_bytes"] for run in found["runs"]]
        assert max(own) - min(own) <= peak["resolution"], sorted(own)
    assert verdict(tmp_path / "first", tmp_path / "second") == "same"
    measured(tmp_path / "base", SOME, 100)
    measured(tmp_path / "more", SOME, 106)
    assert verdict(tmp_path / "base", tmp_path / "more") == "worse"
    assert verdict(tmp_path / "more", tmp_path / "base") == "better"


if in_guest():  # it is the whole machine's page cache

    def test_a_cold_run_is_charged_for_what_it_reads(tmp_path: Path, disk: str) -> None:
        path, document = f"{disk}/cmemrun-cold-{os.getpid()}", tmp_path / "runs.json"
        load = [sys.executable, "-S", "-E", LOADS, "reread", "16", "-1", path]
        subprocess.run([*load[:-2], "0", path], check=True)
        try:
            for options, least, most in ((["--cold"], 15, 24), ([], 0, 1)):
                command = [CMEMRUN, "-q", "--runs", "2", *options, "--json", str(document)]
                subprocess.run([*command, "--", *load], check=True)
                for run in json.loads(document.read_text())["runs"]:
                    assert least * MIB <= run["peak_file_bytes"] <= most * MIB
        finally:
            os.unlink(path)

else:

    def test_only_root_can_drop_the_page_cache() -> None:
        command = [*ORDINARY, CMEMRUN, "--cold", "--", "true"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 125 and "only root can drop the page cache" in done.stderr
