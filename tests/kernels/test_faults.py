"""Faults that are another thing on each hierarchy and kernel; the long list is in tests/faults."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cgroups import made_group
from tests.conftest import CMEMRUN, Cmemrun, groups, hierarchy_of_memory
from tests.loads import Hold, running
from tests.waiting import until

NUMBERS_END = (
    r"somebody else removed the group or disabled its controller after \d+\.\d s: the numbers end"
)


@contextlib.contextmanager
def started(hold: Hold, *options: str) -> "Iterator[tuple[subprocess.Popen[str], Path]]":
    """A run that ends with 7 once it is released, and its group that counts memory."""
    mount, _ = hierarchy_of_memory()
    before = groups()

    def group() -> str:
        found = [one for one in groups() - before if one.startswith(f"{mount.point}/")]
        return found[0] if found and "sh\n" in map(name_of, members(found[0])) else ""

    script = ["sh", "-c", f"read over < {hold}; exit 7"]
    command = [CMEMRUN, "--refresh", "100ms", *options, *script]
    with running(command, stderr=subprocess.PIPE) as run:
        yield run, Path(until("it runs", group, every=0.05))


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


def test_a_group_that_somebody_else_removes_meanwhile(hold: Hold) -> None:
    with (
        started(hold) as (run, group),
        made_group(f"cmemrun-test-{os.getpid()}") as elsewhere,
    ):

        def is_gone() -> bool:
            """The shell may be about to fork, and what has ended stays for a moment."""
            with contextlib.suppress(OSError):
                for pid in members(str(group)):
                    Path(elsewhere, "cgroup.procs").write_text(pid)
                group.rmdir()
            return not group.exists()

        until("the group is removed", is_gone)
        hold.release()
        said = report_of(run)
    assert run.returncode == 7
    assert re.search(NUMBERS_END, said), said


def test_groups_that_somebody_makes_inside_while_it_ends(hold: Hold) -> None:
    with started(hold) as (run, group):

        def has_ended() -> bool:
            for name in ("one", "one/two", "three"):
                with contextlib.suppress(OSError):
                    (group / name).mkdir()
            hold.release()
            return run.poll() is not None

        until("it has ended", has_ended, every=0.001)
        report_of(run)
    assert run.returncode == 7
    assert not group.exists()


def test_a_controller_that_is_disabled_while_it_runs(hold: Hold) -> None:
    """v1's cannot be: there a hierarchy has its controllers for as long as it is mounted."""
    mount, _ = hierarchy_of_memory()
    if mount.version == 1:
        with started(hold) as (run, group):
            control = group.parent / "cgroup.subtree_control"
            with pytest.raises((FileNotFoundError, PermissionError)):
                control.write_text("-memory")
            hold.release()
            report_of(run)
        assert run.returncode == 7
        return
    with (
        made_group(f"cmemrun-test-{os.getpid()}") as parent,
        started(hold, "--parent", parent) as (run, _),
    ):
        Path(parent, "cgroup.subtree_control").write_text("-memory")
        hold.release()
        said = report_of(run)
    assert run.returncode == 7
    # With its files the numbers end; what was read before stays.
    assert re.search(NUMBERS_END, said), said


CLOCK = """
import os, sys, time

def wait_for_sample():
    size = os.path.getsize(sys.argv[1])
    while os.path.getsize(sys.argv[1]) == size:
        time.sleep(0.01)

begun = time.monotonic()
wait_for_sample()
for step in (-86400, 3 * 86400, -2 * 86400):
    time.clock_settime(time.CLOCK_REALTIME, time.time() + step)
    wait_for_sample()
    wait_for_sample()
print(time.monotonic() - begun)
"""


@pytest.mark.kernel_independent
@pytest.mark.needs("own_machine")
def test_a_clock_that_is_set(cmemrun: Cmemrun, hold: Hold) -> None:
    began = time.monotonic()
    _, record = hold.options
    command = (sys.executable, "-S", "-c", CLOCK, record)
    run = cmemrun("--refresh", "50ms", *hold.options, "--", *command)
    took = time.monotonic() - began
    assert run.status == 0, run.stderr
    times = [sample["elapsed_seconds"] for sample in run["samples"]]
    assert times == sorted(times) and len(times) > 5
    assert float(run.stdout) < run["wall_seconds"] < took
    assert times[-1] < took
