"""Nothing is left behind, whatever the program or the world does.

Every test here is also judged by the watch in ``tests/conftest.py``: no group
and no process may be left a second after it.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CMEMRUN, WITHIN_SECONDS, groups, in_guest, processes
from tests.kernels.conftest import LOADS

Load = Callable[..., Any]


def wait_for_group(before: set[str]) -> None:
    deadline = time.monotonic() + 60
    while not groups() - before:
        assert time.monotonic() < deadline, "it did not start"
        time.sleep(0.02)


def test_after_success_failure_and_no_start_at_all(cmemrun: Load, tmp_path: Path) -> None:
    assert cmemrun("true").status == 0
    assert cmemrun("sh", "-c", "exit 7").status == 7
    assert cmemrun("cmemrun-no-such-program").status == 127
    assert cmemrun(str(tmp_path)).status == 126


def test_a_daemon_is_ended_and_named(load: Load) -> None:
    run = load("daemon")
    assert run.status == 0
    [straggler] = run["stragglers"]
    assert "daemon" in straggler["command"]
    assert f"{straggler['pid']} " in run.stderr and "outlived the program" in run.stderr


@pytest.mark.parametrize("kind", [("chain",), ("crowd", "20")], ids=["chain", "crowd"])
def test_forks_without_end(load: Load, kind: tuple[str, ...]) -> None:
    assert load(*kind).status == 0


def test_groups_made_inside_go_too(load: Load) -> None:
    assert load("nested", "1").status == 0


@pytest.mark.parametrize("linger", ["end", "wait"])
def test_a_time_limit(cmemrun: Load, linger: str) -> None:
    options = ("--timeout", "500ms", "--grace", "300ms", "--linger", linger)
    run = cmemrun(*options, "sleep", "100")
    assert run.status == 124
    assert run["exit"] == {"status": 124, "code": None, "signal": 15, "timed_out": True}


def test_a_time_limit_on_a_program_that_will_not_end(cmemrun: Load) -> None:
    started = time.monotonic()
    run = cmemrun(
        "--timeout", "1s", "--grace", "300ms", "sh", "-c", "trap '' TERM; sleep 100 & sleep 100; :"
    )
    assert run.status == 124
    assert run["exit"]["signal"] == 9
    assert time.monotonic() - started < 30


def test_a_time_limit_on_a_stopped_program(cmemrun: Load) -> None:
    run = cmemrun("--timeout", "500ms", "--grace", "300ms", "sh", "-c", "kill -STOP $$; :")
    assert run.status == 124


def test_a_time_limit_on_what_lingers(cmemrun: Load) -> None:
    started = time.monotonic()
    run = cmemrun("--timeout", "1s", "--linger", "wait", "sh", "-c", "sleep 100 > /dev/null 2>&1 &")
    assert run.status == 124
    assert run["exit"] == {"status": 124, "code": 0, "signal": None, "timed_out": True}
    assert len(run["stragglers"]) == 1
    assert time.monotonic() - started < 30


def test_what_lingers_is_waited_for(cmemrun: Load) -> None:
    run = cmemrun("--linger", "wait", "sh", "-c", "sleep 1 > /dev/null 2>&1 &")
    assert run.status == 0
    assert run["stragglers"] == []
    assert run["at_exit"]["elapsed_seconds"] > 0.9


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_waiting_can_be_ended(signum: signal.Signals) -> None:
    with subprocess.Popen(
        [CMEMRUN, "-q", "--linger", "wait", "sh", "-c", "sleep 100 > /dev/null & echo"],
        stdout=subprocess.PIPE,
    ) as run:
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(0.5)
        run.send_signal(signum)
        assert run.wait(60) == 0


def test_command_substitution_returns() -> None:
    script = f'x=$({CMEMRUN} -q -- sh -c "sleep 100 & echo hello"); echo "got $x"'
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "got hello\n"


def test_kill_9_of_cmemrun_ends_it_all_at_once(mark: str) -> None:
    for kind in (["daemon"], ["chain"], ["nested", "1"], ["anon", "16", "100"]):
        before = groups()
        run = subprocess.Popen(
            [CMEMRUN, "-q", "--linger", "wait", "--", sys.executable, "-S", LOADS, *kind]
        )
        wait_for_group(before)
        time.sleep(2 if in_guest() else 0.3)
        run.kill()
        run.wait()
        deadline = time.monotonic() + WITHIN_SECONDS
        while (groups() - before or processes(mark)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not groups() - before
        assert not processes(mark)


def has_nameless_files(directory: Path) -> bool:
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        return False
    return True


def test_kill_9_at_random_moments(mark: str, tmp_path: Path) -> None:
    count = 500 if os.environ.get("CMEMRUN_TEST_LONG") else 8 if in_guest() else 25
    chance, before, killed = random.Random(), groups(), 0
    for _ in range(count):
        document = tmp_path / "run.json"
        run = subprocess.Popen(
            [CMEMRUN, "-q", "--json", str(document), "--", "sh", "-c", "sleep 0.02 & true"],
            stdin=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0, 2.5 if in_guest() else 0.12))
        run.kill()
        killed += run.wait() == -signal.SIGKILL
        assert run.returncode in (0, -signal.SIGKILL)
        deadline = time.monotonic() + WITHIN_SECONDS
        while (left := (groups() - before, processes(mark))) != (set(), {}):
            assert time.monotonic() < deadline, left
            time.sleep(0.01)
        if document.exists():
            assert json.loads(document.read_text())["exit"]["status"] == 0
            document.unlink()
        # Without nameless files one with a hidden name is left, as the README says.
        for hidden in tmp_path.glob(".cmemrun-*"):
            assert not has_nameless_files(tmp_path)
            hidden.unlink()
        assert list(tmp_path.iterdir()) == []
    print(f"kill -9 at {count} random moments, {killed} of them before the end")
    assert killed > count / 10


def test_the_keeper_holds_none_of_our_files(mark: str) -> None:
    before = groups()
    with subprocess.Popen([CMEMRUN, "-q", "sleep", "100"]) as run:
        wait_for_group(before)
        deadline = time.monotonic() + 10
        ours: list[int] = []
        # Until it executes the program is a fork of ours as well.
        while len(ours) != 1 and time.monotonic() < deadline:
            time.sleep(0.3)
            ours = [
                pid
                for pid, line in processes(mark).items()
                if pid != run.pid and "sleep\x00100" in line and "cmemrun" in line
            ]
        [keeper] = ours
        assert os.getsid(keeper) == keeper
        held = {os.readlink(f"/proc/{keeper}/fd/{fd}") for fd in os.listdir(f"/proc/{keeper}/fd")}
        # Its pipe, and since Linux 5.3 what tells of our end (of another name since 6.9).
        kinds = sorted(
            name.removeprefix("anon_inode:[").strip("]").partition(":")[0] for name in held
        )
        assert kinds in (["pipe"], ["pidfd", "pipe"]), held
        assert os.readlink(f"/proc/{keeper}/cwd") == "/"
        run.terminate()
        assert run.wait(10) == 143


def test_killing_all_that_is_called_cmemrun(mark: str) -> None:
    before = groups()
    with subprocess.Popen([CMEMRUN, "-q", "sleep", "100"]) as run:
        wait_for_group(before)
        for pid in processes(mark):
            # With the first of them others may be gone.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{pid}/comm").read_text() == "cmemrun\n":
                    os.kill(pid, signal.SIGKILL)
        assert run.wait(10) == -signal.SIGKILL


def test_a_dead_keeper_is_no_harm(mark: str) -> None:
    before = groups()
    with subprocess.Popen([CMEMRUN, "-q", "sleep", "2"]) as run:
        wait_for_group(before)
        for pid, line in processes(mark).items():
            if pid != run.pid and "cmemrun" in line and os.getsid(pid) == pid:
                os.kill(pid, signal.SIGKILL)
        assert run.wait(30) == 0
