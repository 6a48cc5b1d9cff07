"""Limits as the kernel took them, on every kernel; and what cannot be enforced is refused."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CMEMRUN, Cmemrun
from tests.kernels.kernel import VERSION, has_swap_accounting
from tests.loads import MIB

pytestmark = pytest.mark.quick


def test_what_the_kernel_made_of_them(cmemrun: Cmemrun) -> None:
    told = ["--limit", "65000k", "--low", "10Mi", "--pids", "50", "--oom-score-adj", "300"]
    swap = ["--swap", "32Mi"] if has_swap_accounting() else []
    run = cmemrun(*told, *swap, "--", "sh", "-c", "cat /proc/self/oom_score_adj")
    assert run.status == 0 and run.stdout == "300\n"
    limits = run["limits"]
    # In whole pages.
    assert limits["max_bytes"] == 65000_000 // 4096 * 4096
    # Linux from 6.12 on may take v1's soft limit without keeping it.
    assert limits["low_bytes"] in ({10 * MIB} if VERSION == 2 else {10 * MIB, "max"})
    assert (limits["pids_max"], limits["oom_score_adj"]) == (50, 300)
    if swap:
        assert limits["swap_max_bytes"] == 32 * MIB
    assert "pids 50" in run.stderr and "oom_score_adj 300" in run.stderr


def test_without_any_there_are_none(cmemrun: Cmemrun) -> None:
    limits: dict[str, Any] = cmemrun("true")["limits"]
    assert limits["max_bytes"] == "max" and limits["oom_score_adj"] is None
    assert limits["files"] == []
    assert limits["swap_max_bytes"] in ("max", None)


def test_processes_are_counted(cmemrun: Cmemrun) -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 0.3 & done; wait"
    run = cmemrun("--pids", "5", "--", "sh", "-c", script)
    assert run.status != 0
    assert "fork" in run.stderr and run["peak_tasks"] <= 5


@pytest.mark.needs("v2")
def test_high_slows_down_and_does_not_kill(cmemrun: Cmemrun, disk: str) -> None:
    # Reclaimable, so that it is over some time.
    path = f"{disk}/cmemrun-high-{os.getpid()}"
    try:
        write = ("dd", "if=/dev/zero", f"of={path}", "bs=1M", "count=48")
        run = cmemrun("--high", "16Mi", "--", *write)
    finally:
        os.unlink(path)
    assert run.status == 0
    assert run["limits"]["high_bytes"] == 16 * MIB and run["events"]["high"] > 0
    assert run["oom"]["verdict"] == "none" and "high exceeded" in run.stderr


@pytest.mark.needs("v2")
def test_protections_and_files(cmemrun: Cmemrun) -> None:
    run = cmemrun("--min", "8Mi", "--set", "memory.oom.group=1", "--swap", "0", "true")
    assert run["limits"]["min_bytes"] == 8 * MIB and run["limits"]["swap_max_bytes"] == 0
    assert run["limits"]["oom_group"] is True
    assert run["limits"]["files"] == [["memory.oom.group", "1"]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--high", "1Mi"], ["v1 has no memory.high"], marks=pytest.mark.needs("v1")),
        pytest.param(["--min", "1Mi"], ["v1 has no memory.min"], marks=pytest.mark.needs("v1")),
        pytest.param(["--swap", "0"], ["wants --limit"], marks=pytest.mark.needs("v1")),
        (["--set", "memory.nothing=1"], ["memory.nothing"]),
    ],
)
def test_what_cannot_be_enforced(options: list[str], words: list[str], tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    done = subprocess.run(
        [CMEMRUN, *options, "touch", str(ran)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 125 and not ran.exists()
    assert done.stderr.count("\n") == 1
    for word in (options[0], *words):
        assert word in done.stderr


def test_too_little_to_start_with(cmemrun: Cmemrun) -> None:
    run = cmemrun("--limit", "16Ki", "true", seconds=60)
    assert run.status == 137 and run["oom"]["verdict"] == "main-killed"
    assert "killed before it was the program" in run.stderr
