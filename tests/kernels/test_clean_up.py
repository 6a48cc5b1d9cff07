"""Nothing is left behind, whatever the program or the world does.

Every test here is also judged by the watch in ``tests/conftest.py``: no group
and no process may be left after it.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CMEMRUN, Cmemrun, Result, groups, processes
from tests.loads import LOAD, LOADS, Hold, running
from tests.waiting import until

Load = Callable[..., Result]

needs_kill_in_fork = pytest.mark.needs("kill_in_fork")
# At so many moments a run is killed, spread over the whole of it.
MOMENTS = 500 if os.environ.get("CMEMRUN_TEST_LONG") else 8


def wait_for_group(before: set[str]) -> None:
    until("its group is there", lambda: groups() - before, every=0.05)


def wait_for_nothing(mark: str, before: set[str]) -> None:
    until(
        "no group and no process is left",
        lambda: not (groups() - before or processes(mark)),
        every=0.05,
    )


def test_a_daemon_is_ended_and_named(load: Load) -> None:
    run = load("daemon")
    assert run.status == 0
    [straggler] = run["stragglers"]
    assert "daemon" in straggler["command"]
    assert f"{straggler['pid']} " in run.stderr and "outlived the program" in run.stderr


@pytest.mark.emulated
@needs_kill_in_fork
@pytest.mark.parametrize("kind", [("chain",), ("crowd", "20")], ids=["chain", "crowd"])
def test_forks_without_end(load: Load, kind: tuple[str, ...]) -> None:
    assert load(*kind).status == 0


def test_groups_made_inside_go_too(load: Load) -> None:
    assert load("nested", "1").status == 0


@pytest.mark.kernel_independent
@pytest.mark.parametrize("linger", ["end", "wait"])
def test_a_time_limit(cmemrun: Cmemrun, linger: str) -> None:
    options = ("--timeout", "500ms", "--grace", "300ms", "--linger", linger)
    run = cmemrun(*options, "sleep", "1000")
    assert run.status == 124
    assert run["exit"] == {"status": 124, "code": None, "signal": 15, "timed_out": True}


@pytest.mark.kernel_independent
def test_a_time_limit_on_a_program_that_will_not_end(cmemrun: Cmemrun, tmp_path: Path) -> None:
    # Once it will not, it says so: until then the time limit may end it as it likes.
    ready, script = tmp_path / "ready", "trap '' TERM; echo > $0; sleep 1000 & sleep 1000; :"
    options, seconds = ("--grace", "300ms"), 1
    while not ready.exists():
        run = cmemrun(*options, "--timeout", f"{seconds}s", "sh", "-c", script, str(ready))
        seconds *= 4
    assert run.status == 124
    assert run["exit"]["signal"] == 9


@pytest.mark.kernel_independent
def test_a_time_limit_on_a_stopped_program(cmemrun: Cmemrun) -> None:
    run = cmemrun("--timeout", "500ms", "--grace", "300ms", "sh", "-c", "kill -STOP $$; :")
    assert run.status == 124


@pytest.mark.kernel_independent
def test_a_time_limit_on_what_lingers(cmemrun: Cmemrun) -> None:
    script = "sleep 1000 > /dev/null 2>&1 &"
    run, seconds = cmemrun("--timeout", "1s", "--linger", "wait", "sh", "-c", script), 4
    while run["exit"]["code"] is None:  # not even the shell has ended in so short a time
        options = ("--timeout", f"{seconds}s", "--linger", "wait")
        run, seconds = cmemrun(*options, "sh", "-c", script), 4 * seconds
    assert run.status == 124
    assert run["exit"] == {"status": 124, "code": 0, "signal": None, "timed_out": True}
    assert len(run["stragglers"]) == 1


@pytest.mark.kernel_independent
def test_what_lingers_is_waited_for(cmemrun: Cmemrun) -> None:
    run = cmemrun("--linger", "wait", "sh", "-c", "sleep 1 > /dev/null 2>&1 &")
    assert run.status == 0
    assert run["stragglers"] == []
    assert run["at_exit"]["elapsed_seconds"] >= 0.9


@pytest.mark.kernel_independent
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_waiting_can_be_ended(signum: signal.Signals, hold: Hold) -> None:
    command = ["--refresh", "50ms", *hold.options, "--linger", "wait", "--"]
    with running(
        [CMEMRUN, "-q", *command, "sh", "-c", "sleep 1000 > /dev/null & echo $$"],
        stdout=subprocess.PIPE,
    ) as run:
        assert run.stdout is not None
        main = Path("/proc", run.stdout.readline().strip())
        until("the main process has been waited for", lambda: not main.exists())
        seen = len(hold.samples())
        until("it goes on measuring", lambda: len(hold.samples()) >= seen + 2)
        run.send_signal(signum)
        assert run.wait(60) == 0


@pytest.mark.kernel_independent
def test_command_substitution_returns() -> None:
    script = f'x=$({CMEMRUN} -q -- sh -c "sleep 1000 & echo hello"); echo "got $x"'
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "got hello\n"


@pytest.mark.parametrize(
    "kind",
    [
        ("daemon",),
        pytest.param(("chain",), marks=needs_kill_in_fork),
        ("nested", "1", "1000"),
        ("anon", "16", "1000"),
    ],
    ids=lambda kind: kind[0],
)
def test_kill_9_of_cmemrun_ends_it_all(mark: str, kind: tuple[str, ...]) -> None:
    before = groups()
    run = subprocess.Popen([CMEMRUN, "-q", "--linger", "wait", "--", *LOAD, *kind])

    def runs() -> bool:
        loads = [line for line in processes(mark).values() if LOADS in line]
        # The launcher has it on its command line as well.
        inner = kind[0] != "nested" or any("/inner/innermost" in at for at in made_inside())
        return len([line for line in loads if CMEMRUN not in line]) > 0 and inner

    def made_inside() -> list[str]:
        found = groups() - before
        return [at for group in found for at, _, _ in os.walk(group)]

    until("the load runs", runs, every=0.05)
    run.kill()
    run.wait()
    wait_for_nothing(mark, before)


def has_nameless_files(directory: Path) -> bool:
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        return False
    return True


@needs_kill_in_fork
def test_kill_9_at_random_moments(mark: str, tmp_path: Path) -> None:
    document, before, killed = tmp_path / "run.json", groups(), 0
    command = [CMEMRUN, "-q", "--json", str(document), "--", "sh", "-c", "sleep 0.02 & true"]
    lengths = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        lengths.append(time.monotonic() - started)
        document.unlink()
    for moment in range(MOMENTS):
        share = (moment + random.random()) / MOMENTS
        run = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(share * sorted(lengths)[1])
        run.kill()
        killed += run.wait() == -signal.SIGKILL
        assert run.returncode in (0, -signal.SIGKILL)
        wait_for_nothing(mark, before)
        if document.exists():
            assert json.loads(document.read_text())["exit"]["status"] == 0
            document.unlink()
        # Without nameless files one with a hidden name is left, as the README says.
        for hidden in tmp_path.glob(".cmemrun-*"):
            assert not has_nameless_files(tmp_path)
            hidden.unlink()
        assert list(tmp_path.iterdir()) == []
    print(f"kill -9 at {MOMENTS} random moments, {killed} of them before the end")
    assert killed > 0


def test_the_keeper_holds_none_of_our_files(mark: str) -> None:
    before = groups()
    with running([CMEMRUN, "-q", "sleep", "1000"]) as run:
        wait_for_group(before)

        def keepers() -> list[int]:
            """Until it executes the program is a fork of ours as well."""
            found = [
                pid
                for pid, line in processes(mark).items()
                if pid != run.pid and "sleep\x001000" in line and "cmemrun" in line
            ]
            return found if len(found) == 1 else []

        [keeper] = until("the keeper is the only fork", keepers, every=0.1)
        assert os.getsid(keeper) == keeper
        held = {os.readlink(f"/proc/{keeper}/fd/{fd}") for fd in os.listdir(f"/proc/{keeper}/fd")}
        # Its pipe, and since Linux 5.3 what tells of our end (of another name since 6.9).
        kinds = sorted(
            name.removeprefix("anon_inode:[").strip("]").partition(":")[0] for name in held
        )
        assert kinds in (["pipe"], ["pidfd", "pipe"]), held
        assert os.readlink(f"/proc/{keeper}/cwd") == "/"
        run.terminate()
        assert run.wait(60) == 143


@pytest.mark.kernel_independent
def test_killing_all_that_is_called_cmemrun(mark: str) -> None:
    before = groups()
    with running([CMEMRUN, "-q", "sleep", "100"]) as run:
        wait_for_group(before)
        for pid in processes(mark):
            # With the first of them others may be gone.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{pid}/comm").read_text() == "cmemrun\n":
                    os.kill(pid, signal.SIGKILL)
        assert run.wait(60) == -signal.SIGKILL


@pytest.mark.kernel_independent
def test_a_dead_keeper_is_no_harm(mark: str, hold: Hold) -> None:
    before = groups()
    with running([CMEMRUN, "-q", "--", *LOAD, "none", str(hold)]) as run:
        wait_for_group(before)
        until("the program runs", hold.loads)
        keepers = [pid for pid in processes(mark) if pid != run.pid and os.getsid(pid) == pid]
        for pid in keepers:
            os.kill(pid, signal.SIGKILL)
        hold.release()
        assert run.wait(60) == 0
    assert len(keepers) == 1
