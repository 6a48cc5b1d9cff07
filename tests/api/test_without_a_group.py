"""Without a group, in a process that has children of its own: they are its own, and stay it."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import cmemrun
from cmemrun.kernel.process import identify, is_alive
from tests.api.conftest import MIB, load, until_written
from tests.conftest import CMEMRUN
from tests.waiting import PATIENCE_SECONDS, slowness, until

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.slow]


def test_what_the_caller_starts_meanwhile_is_its_own(tmp_path: Path) -> None:
    began, over = tmp_path / "began", tmp_path / "over"
    # It has 16 MiB, and ends when it may.
    code = """
import os, sys, time
held = bytearray(b"x" * (16 << 20))
print("began", file=open(sys.argv[1], "w"), flush=True)
while not os.path.exists(sys.argv[2]): time.sleep(0.02)
"""
    command = [sys.executable, "-S", "-E", "-c", code, str(began), str(over)]
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        until_written("began", began)
        large = subprocess.Popen(load("anon", "96", "1000"))
        started.append(large)
        short = subprocess.Popen(["sh", "-c", "exit 5"])
        started.append(short)
        resident = psutil.Process(large.pid).memory_info
        until("it has all of its memory", lambda: resident().rss >= 96 * MIB)
        ended = psutil.Process(short.pid)
        until("it has ended", lambda: ended.status() == psutil.STATUS_ZOMBIE)
        until("the server has a worker", psutil.Process(server.pid).children)
        # All of that is there to be seen at some refreshes, and when the program ends.
        time.sleep(0.2)
        over.touch()

    # One that was there before, and makes a worker meanwhile.
    script = 'until [ -e "$0" ]; do sleep 0.02; done; sleep 1000 & wait'
    server = subprocess.Popen(["sh", "-c", script, str(began)])
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
        assert worker.cmdline() == ["sleep", "1000"]
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
        small, large = pool.map(measure, (16, 64), (0.3 * slowness(), 0.6 * slowness()))
    for run, mib in ((small, 16), (large, 64)):
        assert run.exit.succeeded and run.stragglers == (), run
        assert mib * MIB <= run.peak_bytes < (mib + 24) * MIB
        assert run.at_peak.tasks == 1


def test_an_orphan_that_was_seen_is_ended() -> None:
    seen = 0.3 * slowness()
    script = f"(sleep 100 & sleep {seen}) & sleep {2 * seen}"
    run = cmemrun.measure(["sh", "-c", script], backend="proc", refresh=0.05)
    assert [one.command for one in run.stragglers] == [("sleep", "100")]
    # It is over, also where whoever inherited it has not waited for it.
    process = identify(run.stragglers[0].pid)
    assert process is None or not is_alive(process)


def test_a_server_from_before_keeps_its_workers(tmp_path: Path) -> None:
    """Also where the server ends meanwhile, and its worker comes to us as an orphan."""
    told, began, over = (tmp_path / name for name in ("worker", "began", "over"))
    pause = f"sleep {0.2 * slowness()}"
    server = (
        f"until [ -e {began} ]; do sleep 0.02; done; {pause}; "
        f"sleep 1000 & echo $! > {told}; {pause}; touch {over}"
    )
    script = f'({server}) > /dev/null 2>&1 & exec "$@"'
    measured = f"touch {began}; until [ -e {over} ]; do sleep 0.02; done; {pause}"
    options = ["--backend", "proc", "--refresh", "50ms", "--json", "-"]
    program = [CMEMRUN, *options, "sh", "-c", measured]
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
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_SECONDS)
