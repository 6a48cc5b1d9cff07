"""Who was killed, and at whose limit, on every kernel; the log is read where it may be."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CMEMRUN, Cmemrun, hierarchy_of_memory, in_guest
from tests.kernels.conftest import LOADS, made_group
from tests.kernels.test_limits import has_swap_accounting

MIB = 2**20
EATER = f"{sys.executable} -S -E {LOADS} anon 128"


def evidence(run: Any) -> str:
    return "\n".join(run["oom"]["evidence"])


def test_a_child_while_its_parent_goes_on(cmemrun: Cmemrun) -> None:
    command = ("--limit", "64Mi", "--assert", "oom_kill=0", "--", "sh", "-c", f"{EATER}; exit 0")
    run = cmemrun(*command)
    # The program has succeeded, and it is the budget that sees it.
    assert (run.status, run["exit"]["status"]) == (123, 0)
    assert run["budgets"][0]["metric"] == "oom_kill" and not run["budgets"][0]["passed"]
    assert (run["oom"]["verdict"], run["oom"]["limit"]) == ("child-killed", "own")
    [victim] = run["oom"]["victims"]
    assert victim["name"] == os.path.basename(sys.executable)[:15]
    assert victim["pid"] != run["pid"] and 40 * MIB <= victim["anon_bytes"] <= 64 * MIB
    assert "/dev/kmsg: killed" in evidence(run)
    assert "ended a child of the program" in run.stderr and str(victim["pid"]) in run.stderr
    # Who was there, as the log has it, and how it came.
    assert {run["pid"], victim["pid"]} <= {task["pid"] for task in run["oom"]["tasks"]}
    usages = [sample["usage_bytes"] for sample in run["oom"]["last_samples"]]
    assert 16 * MIB <= usages[-1] <= 64 * MIB, usages
    # At the limit the kernel first takes back what it has charged in advance (drain_all_stock).
    resolution = run["method"]["resolution_bytes"]
    assert all(later >= one - resolution for one, later in pairwise(usages)), usages


def test_the_program_itself(cmemrun: Cmemrun) -> None:
    run = cmemrun("--limit", "64Mi", "--", *EATER.split())
    assert run.status == 137
    assert (run["oom"]["verdict"], run["oom"]["limit"]) == ("main-killed", "own")
    assert [victim["pid"] for victim in run["oom"]["victims"]] == [run["pid"]]


def test_the_program_itself_where_there_is_no_swap(cmemrun: Cmemrun) -> None:
    """On v1 both limits are one then, and the kernel may count hits of neither."""
    if not has_swap_accounting():
        assert cmemrun("--limit", "64Mi", "--swap", "0", "true").status == 125
        return
    run = cmemrun("--limit", "64Mi", "--swap", "0", "--", *EATER.split())
    assert (run["oom"]["verdict"], run["oom"]["limit"]) == ("main-killed", "own")
    assert run["events"]["max"] != 0
    assert "no limit of the group itself" not in evidence(run)


def test_the_whole_group(cmemrun: Cmemrun) -> None:
    if hierarchy_of_memory()[0].version == 1:
        assert cmemrun("--oom-group", "true").status == 125  # v1 has none
        return
    run = cmemrun("--limit", "64Mi", "--oom-group", "--", "sh", "-c", f"{EATER}; exit 0")
    assert run.status == 137
    assert (run["oom"]["verdict"], run["oom"]["limit"]) == ("group-killed", "own")
    # The counter says more than have died; the log has each of them once.
    assert len({victim["pid"] for victim in run["oom"]["victims"]}) == 2


@pytest.fixture
def above() -> Iterator[str]:
    """A group with a limit of 64 MiB, to have a group without one below it."""
    with made_group(f"above-{os.getpid()}", 64 * MIB) as group:
        yield group


def test_a_limit_above(cmemrun: Cmemrun, above: str) -> None:
    run = cmemrun("--parent", above, "--", "sh", "-c", f"{EATER}; exit 0")
    assert run.status == 0
    assert (run["oom"]["verdict"], run["oom"]["limit"]) == ("child-killed", "ancestor")
    assert os.path.basename(above) in evidence(run)
    assert "no limit of the group itself was hit" in evidence(run)


def test_a_plain_kill_is_none(cmemrun: Cmemrun) -> None:
    run = cmemrun("sh", "-c", "kill -9 $$")
    assert run.status == 137
    assert run["oom"]["verdict"] == "sigkill-not-oom" and run["oom"]["victims"] == []
    assert "counted no OOM kill" in evidence(run) and "no OOM kill" in run.stderr


def test_no_kill(cmemrun: Cmemrun) -> None:
    run = cmemrun("true")
    nothing = {name: [] for name in ("victims", "evidence", "tasks", "last_samples")}
    assert run["oom"] == {"verdict": "none", "limit": None} | nothing


@pytest.fixture
def restricted() -> Iterator[None]:
    """A machine on which the kernel log is for CAP_SYSLOG; nothing to set on one that is shared."""
    path = Path("/proc/sys/kernel/dmesg_restrict")
    before = path.read_text()
    if in_guest():
        path.write_text("1")
    yield
    if in_guest():
        path.write_text(before)


def test_a_log_that_may_not_be_read(restricted: None, tmp_path: Path) -> None:
    before = ["setpriv", "--bounding-set=-syslog,-sys_admin", "--inh-caps=-syslog,-sys_admin"]
    if not in_guest():
        # Here the device itself is put out of sight.
        before = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null /dev/kmsg; exec "$@"', "-"]
        before += ["env", f"PATH={tmp_path}"]
    document = tmp_path / "own.json"
    options = ["--json", str(document), "--limit", "64Mi", "--"]
    done = subprocess.run(
        [*before, CMEMRUN, *options, "/bin/sh", "-c", f"{EATER}; exit 0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    oom = json.loads(document.read_text())["oom"]
    assert (oom["verdict"], oom["limit"], oom["victims"]) == ("child-killed", "own", [])
    said = "does not tell of it" if not in_guest() else "cannot be read"
    assert said in oom["evidence"][-1]
