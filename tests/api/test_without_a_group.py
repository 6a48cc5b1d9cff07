"""Without a group, in a process that has children of its own: they are its own, and stay it."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

import cmemrun
from cmemrun.kernel.process import identify, is_alive
from tests.api.conftest import MIB, load, until
from tests.conftest import CMEMRUN

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_what_the_caller_starts_meanwhile_is_its_own(tmp_path: Path) -> None:
    began = tmp_path / "began"
    held = load("anon", "16", "1.5")
    command = ["sh", "-c", 'echo began > "$0"; exec "$@"', str(began), *held]
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        until("began", began)
        started.append(subprocess.Popen(load("anon", "96", "100")))
        started.append(subprocess.Popen(["sh", "-c", "exit 5"]))

    # One that was there before, and makes a worker meanwhile.
    server = subprocess.Popen(["sh", "-c", "sleep 0.7; sleep 100 & wait"])
    thread = threading.Thread(target=start)
    thread.start()
    try:
        run = cmemrun.measure(command, backend="proc", refresh=0.05)
        thread.join()
        large, short = started
        assert run.method.backend == "proc" and run.exit.succeeded
        assert 16 * MIB <= run.peak_bytes < 64 * MIB and run.stragglers == ()
        # Nobody has taken its status, for which Popen would say 0.
        assert short.wait() == 5
        assert large.poll() is None and server.poll() is None
        [worker] = psutil.Process(server.pid).children()
        assert worker.cmdline() == ["sleep", "100"]
        worker.kill()
    finally:
        thread.join()
        for process in (*started, server):
            process.kill()
            process.wait()


def test_two_at_once_are_two_programs() -> None:
    def measure(mib: int, seconds: float) -> cmemrun.Run:
        return cmemrun.measure(load("anon", str(mib), str(seconds)), backend="proc", refresh=0.05)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        small, large = pool.map(measure, (16, 64), (0.7, 2))
    for run, mib in ((small, 16), (large, 64)):
        assert run.exit.succeeded and run.stragglers == (), run
        assert mib * MIB <= run.peak_bytes < (mib + 24) * MIB
        assert run.at_peak.tasks == 1


def test_an_orphan_that_was_seen_is_ended() -> None:
    script = "(sleep 100 & sleep 0.7) & sleep 1.4"
    run = cmemrun.measure(["sh", "-c", script], backend="proc", refresh=0.05)
    assert [one.command for one in run.stragglers] == [("sleep", "100")]
    # It is over, also where whoever inherited it has not waited for it.
    process = identify(run.stragglers[0].pid)
    assert process is None or not is_alive(process)


def test_a_server_from_before_keeps_its_workers(tmp_path: Path) -> None:
    """Also where the server ends meanwhile, and its worker comes to us as an orphan."""
    told = tmp_path / "worker"
    server = f"sleep 0.5; sleep 100 & echo $! > {told}; sleep 0.7"
    script = f'({server}) > /dev/null 2>&1 & exec "$@"'
    program = [CMEMRUN, "--backend", "proc", "--refresh", "50ms", "--json", "-", "sleep", "2"]
    done = subprocess.run(
        ["sh", "-c", script, "sh", *program], check=True, capture_output=True, text=True
    )
    worker = int(told.read_text())
    try:
        assert psutil.Process(worker).status() != psutil.STATUS_ZOMBIE
        assert '"stragglers": []' in done.stdout
    finally:
        os.kill(worker, signal.SIGKILL)


def test_who_is_the_reaper_of_orphans_is_left_as_it_was() -> None:
    code = """
import ctypes, cmemrun
from cmemrun import runner
from cmemrun.signals import Foreground
libc = ctypes.CDLL(None)
def is_reaper():
    found = ctypes.c_int()
    libc.prctl(37, ctypes.byref(found), 0, 0, 0)
    return found.value
class Observer:
    def begin(self, run):
        seen.append(is_reaper())
    def sample(self, sample):
        pass
for before in (0, 1):
    libc.prctl(36, before, 0, 0, 0)
    seen = []
    with Foreground() as waiter:
        settings = runner.Settings(backend="proc")
        runner.measure(["true"], settings, waiter=waiter, observers=[Observer()])
    assert seen == [1] and is_reaper() == before
    runner.measure(["true"], settings, observers=[Observer()])
    assert seen == [1, before] and is_reaper() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
