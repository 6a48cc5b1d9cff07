"""Faults that are another thing on each hierarchy and kernel; the long list is in tests/faults."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CMEMRUN, groups, hierarchy_of_memory, in_guest
from tests.kernels.conftest import made_group

Load = Callable[..., Any]
NUMBERS_END = (
    r"somebody else removed the group or disabled its controller after \d+\.\d s: the numbers end"
)


@contextlib.contextmanager
def started(*arguments: str) -> "Iterator[tuple[subprocess.Popen[str], Path]]":
    """A run with its report on standard error, and its group that counts memory."""
    mount, _ = hierarchy_of_memory()
    before = groups()
    with subprocess.Popen(
        [CMEMRUN, "--refresh", "100ms", *arguments], stderr=subprocess.PIPE, text=True
    ) as run:
        deadline = time.monotonic() + 60
        found: list[str] = []
        while not found or "sh\n" not in map(name_of, members(found[0])):
            assert time.monotonic() < deadline, "it did not start"
            time.sleep(0.02)
            found = [one for one in groups() - before if one.startswith(f"{mount.point}/")]
        yield run, Path(found[0])


def members(group: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(group, "cgroup.procs").read_text().split()
    return []


def name_of(pid: str) -> str:
    """Ours while it waits at the gate, then the program's."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def report_of(run: "subprocess.Popen[str]") -> str:
    _, said = run.communicate(timeout=120)
    assert not re.search("Traceback|Exception|a defect", said), said
    return said


def test_a_group_that_somebody_else_removes_meanwhile() -> None:
    with (
        started("sh", "-c", "sleep 3; exit 7") as (run, group),
        made_group(f"cmemrun-test-{os.getpid()}") as elsewhere,
    ):
        # The shell may be about to fork, and what has ended stays for a moment.
        deadline = time.monotonic() + 30
        while group.exists():
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError):
                for pid in members(str(group)):
                    Path(elsewhere, "cgroup.procs").write_text(pid)
                group.rmdir()
        said = report_of(run)
    assert run.returncode == 7
    assert re.search(NUMBERS_END, said), said


def test_groups_that_somebody_makes_inside_while_it_ends() -> None:
    with started("sh", "-c", "sleep 2; exit 7") as (run, group):
        deadline = time.monotonic() + 60
        while run.poll() is None:
            assert time.monotonic() < deadline, "it did not end"
            for name in ("one", "one/two", "three"):
                with contextlib.suppress(OSError):
                    (group / name).mkdir()
        report_of(run)
    assert run.returncode == 7
    assert not group.exists()


def test_a_controller_that_is_disabled_while_it_runs() -> None:
    """v1's cannot be: there a hierarchy has its controllers for as long as it is mounted."""
    mount, _ = hierarchy_of_memory()
    if mount.version == 1:
        with started("sh", "-c", "sleep 1; exit 7") as (run, group):
            control = group.parent / "cgroup.subtree_control"
            with pytest.raises((FileNotFoundError, PermissionError)):
                control.write_text("-memory")
            report_of(run)
        assert run.returncode == 7
        return
    with (
        made_group(f"cmemrun-test-{os.getpid()}") as parent,
        started("--parent", parent, "sh", "-c", "sleep 3; exit 7") as (run, _),
    ):
        Path(parent, "cgroup.subtree_control").write_text("-memory")
        said = report_of(run)
    assert run.returncode == 7
    # With its files the numbers end; what was read before stays.
    assert re.search(NUMBERS_END, said), said


def test_a_clock_that_is_set(cmemrun: Load) -> None:
    """Only in a guest may the clock be set; elsewhere the kernel's clocks are looked at."""
    script = "import time; time.sleep(1.5)"
    if in_guest():
        set_clock = "time.clock_settime(time.CLOCK_REALTIME, time.time() + {})"
        steps = "; ".join(
            f"{set_clock.format(by)}; time.sleep(0.5)" for by in (-86400, 3 * 86400, -2 * 86400)
        )
        script = f"import time; {steps}"
    began = time.monotonic()
    run = cmemrun("--refresh", "50ms", "--", sys.executable, "-S", "-c", script)
    took = time.monotonic() - began
    assert run.status == 0, run.stderr
    assert 1.4 < run["wall_seconds"] < took
    times = [sample["elapsed_seconds"] for sample in run["samples"]]
    assert times == sorted(times) and times[-1] < took
    assert len(times) > 5
