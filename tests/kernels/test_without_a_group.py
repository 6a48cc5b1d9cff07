"""The fourth way: nobody may make a group, so the processes are watched."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CMEMRUN, ORDINARY, Cmemrun, Result, processes
from tests.kernels.kernel import VERSION, linux
from tests.loads import LOAD, MIB, Hold, running
from tests.waiting import until

Load = Callable[..., Result]


def session_of(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid)
    return None


@pytest.fixture
def watch(load: Load) -> Load:
    def run(*arguments: str, options: tuple[str, ...] = (), **more: Any) -> Any:
        return load(*arguments, options=("--backend", "proc", *options), **more)

    return run


@pytest.mark.kernel_independent
def test_it_is_a_lower_bound_and_says_so(watch: Load) -> None:
    run = watch("anon", "64", held=True)
    assert run.status == 0
    method = run["method"]
    assert (method["backend"], method["peak_source"]) == ("proc", "sampled")
    assert method["lower_bound"] is True
    assert 64 * MIB <= run["peak_bytes"] <= 80 * MIB
    assert 64 * MIB <= run["at_peak"]["anon_bytes"] <= 80 * MIB
    assert run["at_peak"]["kernel_bytes"] is None
    assert run["at_peak"]["working_set_bytes"] is None
    assert "LOWER BOUND" in run.stderr.splitlines()[3]
    bound = run["upper_bound_bytes"]
    assert bound is None or bound >= run["peak_bytes"]


@pytest.mark.kernel_independent
def test_a_budget_within_a_lower_bound_is_not_proven(watch: Load) -> None:
    run = watch("anon", "32", held=True, options=("--assert", "anon<=200Mi"))
    (budget,) = run["budgets"]
    assert (run.status, budget["passed"], budget["certainty"]) == (0, True, "lower-bound")
    assert ("not proven" in run.stderr) is not budget["proven"]


@pytest.mark.kernel_independent
def test_a_budget_on_what_cannot_be_seen_is_refused_before_the_start(
    cmemrun: Cmemrun, tmp_path: Path
) -> None:
    proof = tmp_path / "ran"
    run = cmemrun("--backend", "proc", "--assert", "working_set<=1Gi", "--", "touch", str(proof))
    assert run.status == 125
    assert "working_set cannot be measured here (proc)" in run.stderr
    assert not proof.exists()


@pytest.mark.kernel_independent
def test_a_tree_is_the_sum_and_shared_memory_counts_once(watch: Load) -> None:
    run = watch("tree", "3", "20", held=True)
    assert 60 * MIB <= run["peak_bytes"] <= 75 * MIB
    assert run["peak_tasks"] == 4
    shared = watch("shared", "32", held=True)
    assert 32 * MIB <= shared["at_peak"]["shmem_bytes"] <= 33 * MIB
    assert 32 * MIB <= shared["peak_bytes"] <= 48 * MIB


@pytest.mark.kernel_independent
def test_a_peak_between_two_looks_is_told_by_the_kernel(watch: Load) -> None:
    # However large whoever started us is.
    ballast = bytearray(150 * MIB)
    ballast[::4096] = b"x" * len(ballast[::4096])
    run = watch("spike", "120", "20", options=("--refresh", "10s"))
    assert run["peak_bytes"] >= 110 * MIB and ballast
    notes = " ".join(run["method"]["notes"])
    marked = "between two looks: it is the high-water mark" in notes
    # A look at usage alone may have seen it, and the program have ended before the next.
    seen_alone = "no sample was closer to the peak" in notes
    assert (marked or seen_alone) is (run["peak_bytes"] > run["at_peak"]["usage_bytes"]), notes


@pytest.mark.kernel_independent
def test_orphans_are_counted_and_ended(watch: Load) -> None:
    run = watch("daemon")
    assert run.status == 0
    assert len(run["stragglers"]) == 1 and "daemon" in run["stragglers"][0]["command"]


@pytest.mark.kernel_independent
def test_what_lingers_is_waited_for(cmemrun: Cmemrun) -> None:
    started = time.monotonic()
    run = cmemrun(
        "--backend", "proc", "--linger", "wait", "sh", "-c", "(sleep 1; :) > /dev/null 2>&1 &"
    )
    assert run.status == 0 and run["stragglers"] == []
    assert time.monotonic() - started > 1


@pytest.mark.kernel_independent
def test_kill_9_ends_what_was_last_seen(mark: str, hold: Hold) -> None:
    options = ["--backend", "proc", "--processes", "--refresh", "100ms", "--linger", "wait"]
    options += hold.options
    with running([CMEMRUN, "-q", *options, "--", *LOAD, "daemon"]) as run:

        def daemons() -> list[int]:
            """Neither in our session, as the load is, nor the leader of its own."""
            loads = [pid for pid, line in processes(mark).items() if CMEMRUN not in line]
            return [pid for pid in loads if session_of(pid) not in (None, pid, os.getsid(0))]

        def is_seen() -> bool:
            looks = [sample.get("processes", []) for sample in hold.samples()]
            return any(who["pid"] == daemon for look in looks for who in look)

        [daemon] = until("the daemon is all that is left of it", daemons, every=0.1)
        until("it was seen", is_seen, every=0.1)
        run.kill()
    until("nothing is left", lambda: not processes(mark), every=0.05)


@pytest.mark.kernel_independent
def test_it_can_be_refused(cmemrun: Cmemrun, tmp_path: Path) -> None:
    for require in ("cgroup", "exact"):
        run = cmemrun("--backend", "proc", "--require", require, "touch", str(tmp_path / "ran"))
        assert run.status == 125 and run.stderr.count("\n") == 1
        assert "--backend proc makes no memory group; leave it out" in run.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.kernel_independent
def test_limits_need_a_group(cmemrun: Cmemrun) -> None:
    run = cmemrun("--backend", "proc", "--limit", "64Mi", "true")
    assert run.status == 125 and "--limit" in run.stderr


def test_exact_where_the_kernel_has_no_mark(cmemrun: Cmemrun) -> None:
    run = cmemrun("--require", "exact", "true")
    if VERSION == 2 and linux() < (5, 19):
        assert run.status == 125 and "high-water mark" in run.stderr
    else:
        assert run.status == 0


def test_an_ordinary_user_gets_it_unasked() -> None:
    command = [*ORDINARY, CMEMRUN, "--json", "-", "-o", "/dev/stderr", "--"]
    done = subprocess.run(
        [*command, *LOAD, "anon", "32", "0"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert '"backend": "proc"' in done.stdout
    assert "cannot make a group below" in done.stderr
    refused = subprocess.run(
        [*ORDINARY, CMEMRUN, "--require", "cgroup", "true"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert refused.returncode == 125 and "sudo cmemrun" in refused.stderr


@pytest.mark.kernel_independent
def test_a_signal_still_reaches_the_program() -> None:
    script = "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done"
    with running(
        [CMEMRUN, "-q", "--backend", "proc", "sh", "-c", script], stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        run.stdout.readline()
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 5
