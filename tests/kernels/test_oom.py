"""Who was killed, and at whose limit, on every kernel; the log is read where it may be."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cmemrun.kernel.kmsg import KernelLog
from tests.cgroups import made_group
from tests.conftest import CMEMRUN, Cmemrun, hierarchy_of_memory
from tests.kernels.kernel import WITHOUT_KMSG, has_swap_accounting
from tests.loads import LOAD, LOADS, MIB, Hold
from tests.waiting import until

EATER = " ".join((*LOAD, "anon", "128"))
# Nor are there the tools that would be asked next.
UNREADABLE = [*WITHOUT_KMSG, "env", "PATH=/nowhere"]
# Larger than cmemrun, to be next: v1 takes a second one where the first one's memory is slow
# to be free, and where cmemrun is in the limited group itself, that would be cmemrun.
NEXT = " ".join((*LOAD, "anon", "40", "1000"))


def evidence(run: Any) -> str:
    return "\n".join(run["oom"]["evidence"])


@pytest.mark.emulated
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


def test_the_program_itself_where_there_is_no_swap(cmemrun: Cmemrun) -> None:
    """On v1 both limits are one then, and the kernel may count hits of neither."""
    options = ["--limit", "64Mi"]
    if has_swap_accounting():
        options += ["--swap", "0"]
    else:
        assert cmemrun(*options, "--swap", "0", "true").status == 125
    run = cmemrun(*options, "--", *EATER.split())
    assert run.status == 137
    assert (run["oom"]["verdict"], run["oom"]["limit"]) == ("main-killed", "own")
    assert [victim["pid"] for victim in run["oom"]["victims"]] == [run["pid"]]
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


@pytest.fixture
def around() -> Iterator[str]:
    """A group with a limit that has room for cmemrun, with what counts coverage, and for NEXT."""
    with made_group(f"around-{os.getpid()}", 160 * MIB) as group:
        yield group


def test_a_limit_above(cmemrun: Cmemrun, above: str) -> None:
    run = cmemrun("--parent", above, "--", "sh", "-c", f"{EATER}; exit 0")
    assert run.status == 0
    assert (run["oom"]["verdict"], run["oom"]["limit"]) == ("child-killed", "ancestor")
    assert os.path.basename(above) in evidence(run)
    assert "no limit of the group itself was hit" in evidence(run)


def test_a_limit_inside(cmemrun: Cmemrun) -> None:
    """The program's own doing, and neither our limit nor one above."""
    run = cmemrun("--limit", "256Mi", "--", *LOAD, "limited", "24", "1")
    assert run.status == 0, run.stderr
    assert (run["oom"]["verdict"], run["oom"]["limit"]) == ("child-killed", None)
    assert "/within, a group inside" in evidence(run)
    if run["events"]["oom"] is not None:
        assert run["events"]["oom"] >= 1 and run["events"]["oom_local"] == 0
        assert "the limit of a group inside was hit" in evidence(run)
    else:
        assert "above it or inside it" in evidence(run)


@pytest.fixture
def logs_whole_kills(tmp_path: Path) -> Iterator[None]:
    """After many kills at once: wait until the kernel says more again than that they were."""
    yield

    def is_logged() -> bool:
        log = KernelLog()
        try:
            with made_group(f"killed-{os.getpid()}", 4 * MIB) as group:
                into = 'echo 0 > $0/cgroup.procs; exec "$@"'
                subprocess.run(["sh", "-c", into, group, *LOAD, "anon", "8"], check=False)
            return any(f"/killed-{os.getpid()}" in line for line in log.lines())
        finally:
            log.close()

    until("the kernel logs whole kills", is_logged, every=0.5)


def test_many_at_once_are_all_accounted_for(logs_whole_kills: None, cmemrun: Cmemrun) -> None:
    """Of more than ten in five seconds the log says little more than that they were killed."""
    times = 24
    run = cmemrun("--limit", "256Mi", "--", *LOAD, "limited", "4", str(times))
    assert run.status == 0, run.stderr
    assert (run["oom"]["verdict"], run["events"]["oom_kill"]) == ("child-killed", times)
    missing = times - len({victim["pid"] for victim in run["oom"]["victims"]})
    # Others may be killed on this machine meanwhile, and a small log does not hold so many:
    # then it is not known who all of them were, and that is said.
    told = re.search(r"(\d+) more killed on this machine", evidence(run))
    are_lost = "lines were lost before they were read" in evidence(run)
    assert not missing or are_lost or (told and int(told[1]) > missing), evidence(run)


def test_a_kill_of_one_with_a_strange_name(cmemrun: Cmemrun, tmp_path: Path) -> None:
    """The log has all but printable ASCII in hexadecimal, the backslash included."""
    for name in ("caf\u00e9", "a\\x2db", "two\nlines"):
        path = tmp_path / name
        path.symlink_to(sys.executable)
        run = cmemrun("--limit", "24Mi", "--", str(path), "-S", "-E", LOADS, "anon", "64")
        assert [victim["name"] for victim in run["oom"]["victims"]] == [name]
        assert run["oom"]["verdict"] == "main-killed"


@pytest.mark.parametrize(
    "before",
    [
        pytest.param((), id="log"),
        # What cannot be read is the same everywhere.
        pytest.param(UNREADABLE, id="no-log", marks=pytest.mark.kernel_independent),
    ],
)
def test_a_kill_of_somebody_else_is_not_ours(
    around: str, tmp_path: Path, before: tuple[str, ...]
) -> None:
    """Without a group the counter is that of the group we are in, with all that is in there."""
    runs, over = tmp_path / "runs", tmp_path / "over"
    script = f"""
        echo 0 > {around}/cgroup.procs
        "$@" & until [ -e {runs} ]; do sleep 0.1; done
        {NEXT} & next=$!
        {EATER}
        kill $next; touch {over}; wait
    """
    waits = f"PATH=/usr/bin:/bin; touch {runs}; until [ -e {over} ]; do sleep 0.1; done"
    command = [CMEMRUN, "--backend", "proc", "--json", "-", "--", "/bin/sh", "-c", waits]
    done = subprocess.run(
        ["bash", "-c", script, "-", *before, *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    oom = json.loads(done.stdout)["oom"]
    kills = json.loads(done.stdout)["events"]["oom_kill"]
    if before:
        assert oom["verdict"] == "unknown" and kills in (1, 2), done.stderr
        assert "in the group that we are in" in oom["evidence"][0]
    else:
        assert (oom["verdict"], kills, oom["victims"]) == ("none", 0, []), done.stderr
        assert "in the group that we are in struck others" in done.stderr


def test_a_kill_of_ours_without_a_group(around: str) -> None:
    program = f"{NEXT} & {EATER}; kill $!; exit 0"
    command = [CMEMRUN, "--backend", "proc", "--json", "-", "--", "sh", "-c", program]
    done = subprocess.run(
        ["sh", "-c", f'echo 0 > {around}/cgroup.procs; exec "$@"', "-", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, (done.returncode, done.stderr)
    run = json.loads(done.stdout)
    assert (run["oom"]["verdict"], run["oom"]["limit"]) == ("child-killed", "ancestor")
    victims = [victim["pid"] for victim in run["oom"]["victims"]]
    assert len(victims) in (1, 2) and run["pid"] not in victims


@pytest.mark.kernel_independent
def test_a_plain_kill_is_none(cmemrun: Cmemrun) -> None:
    run = cmemrun("sh", "-c", "kill -9 $$")
    assert run.status == 137
    assert run["oom"]["verdict"] == "sigkill-not-oom" and run["oom"]["victims"] == []
    assert "counted no OOM kill" in evidence(run) and "no OOM kill" in run.stderr


@pytest.mark.kernel_independent
def test_no_kill(cmemrun: Cmemrun) -> None:
    run = cmemrun("true")
    lists = ("victims", "evidence", "tasks", "last_samples", "processes")
    nothing = {"verdict": "none", "limit": None, "processes_elapsed_seconds": None}
    assert run["oom"] == nothing | {name: [] for name in lists}


@pytest.fixture
def restricted() -> Iterator[list[str]]:
    """A machine on which the kernel log is for CAP_SYSLOG, and what drops that."""
    path = Path("/proc/sys/kernel/dmesg_restrict")
    before = path.read_text()
    path.write_text("1")
    yield ["setpriv", "--bounding-set=-syslog,-sys_admin", "--inh-caps=-syslog,-sys_admin"]
    path.write_text(before)


@pytest.mark.needs("own_machine")
def test_a_log_that_is_restricted(restricted: list[str], tmp_path: Path, hold: Hold) -> None:
    check_without_log(restricted, tmp_path, hold)


@pytest.mark.kernel_independent
def test_a_log_that_is_not_there(tmp_path: Path, hold: Hold) -> None:
    check_without_log(UNREADABLE, tmp_path, hold)


def check_without_log(before: list[str], tmp_path: Path, hold: Hold) -> None:
    """Who was there is known all the same."""
    document = tmp_path / "own.json"
    options = ["--json", str(document), "--limit", "64Mi", "--refresh", "100ms", *hold.options]
    held = " ".join((*LOAD, "anon", "16", "1000"))
    # One is held until it has been seen: whom a busy machine sees of those that come and are
    # killed at once is chance.
    program = f"{held} & read over < {hold}; {EATER}; kill $!; exit 0"

    def seen(samples: Sequence[Any]) -> bool:
        looks = [sample.get("processes", []) for sample in samples]
        return any("16" in who["command"] for look in looks for who in look)

    with hold.until(seen, loads=0):
        done = subprocess.run(
            [*before, CMEMRUN, *options, "--", "/bin/sh", "-c", program],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    oom = json.loads(document.read_text())["oom"]
    assert (oom["verdict"], oom["limit"], oom["victims"]) == ("child-killed", "own", [])
    assert "the kernel log cannot be read" in oom["evidence"][-1]
    assert "anon" in oom["processes"][0]["command"] and oom["tasks"] == []
    assert oom["processes_elapsed_seconds"] is not None
