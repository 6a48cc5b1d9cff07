"""From threads, several at once, and whatever happens to the caller meanwhile."""

import asyncio
import concurrent.futures
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import cmemrun
from cmemrun.api.job import Job, Stoppable
from cmemrun.launcher import Program
from tests.api.conftest import MIB, groups_of, load, until_written
from tests.waiting import PATIENCE_SECONDS, slowness, until

SIZES = range(16, 80, 8)

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.slow]


def test_eight_at_once_each_get_their_own_right_number() -> None:
    nothing = cmemrun.measure(load("anon", "0"))
    hold = str(slowness())
    with concurrent.futures.ThreadPoolExecutor(len(SIZES)) as pool:
        runs = list(pool.map(lambda mib: cmemrun.measure(load("anon", str(mib), hold)), SIZES))
    # They were there together.
    begun = [run.started_at.timestamp() for run in runs]
    assert max(begun) < min(at + run.wall_seconds for at, run in zip(begun, runs, strict=True))
    for mib, run in zip(SIZES, runs, strict=True):
        resolution = run.method.resolution_bytes
        assert run.exit.succeeded
        assert run.at_peak.anon_bytes is not None and nothing.peaks.anon_bytes is not None
        more = run.at_peak.anon_bytes - nothing.peaks.anon_bytes
        assert abs(more - mib * MIB) <= resolution, (mib, more)
        assert abs(run.peak_bytes - nothing.peak_bytes - mib * MIB) <= 2 * resolution, (mib, run)
    assert len({run.method.group for run in runs}) == len(SIZES)


def test_many_short_ones_from_threads() -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda n: cmemrun.measure(["sh", "-c", f"exit {n}"]), range(64)))
    assert [run.exit.status for run in runs] == list(range(64))


def test_locks_that_others_hold_do_not_matter() -> None:
    """What is held at the fork stays held in the child for ever, if that wants it."""
    lock, stop = threading.Lock(), threading.Event()
    # Not pytest's own handler, which keeps every record: a fork copies all of that.
    logger = logging.getLogger("nobody")
    logger.propagate = False

    def hold() -> None:
        with lock, open(os.devnull, "w", buffering=1 << 20) as sink:
            logger.addHandler(logging.StreamHandler(sink))
            while not stop.is_set():
                # The buffer's lock, the import's, the one of logging.
                print("x" * 100_000, file=sink)
                __import__("json.decoder")
                logger.warning("nothing")

    def allocate() -> None:
        while not stop.is_set():
            _ = [bytearray(size) for size in range(1000, 100_000, 1000)]

    threads = [threading.Thread(target=target) for target in (hold, allocate)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            assert cmemrun.measure(["true"], timeout=PATIENCE_SECONDS).exit.status == 0
        assert lock.locked()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        logger.handlers.clear()


def test_a_finalizer_of_the_callers_does_not_run_in_a_fork(tmp_path: Path) -> None:
    """The garbage that is there at a fork is the caller's to collect, and not its copy's."""
    path = tmp_path / "finalized"
    code = f"""
import gc, os
import cmemrun
class Shared:
    def __init__(self):
        self.itself = self
    def __del__(self):
        with open({str(path)!r}, "a") as file:
            print(os.getpid(), file=file)
def before():
    gc.collect()
    gc.disable()
    Shared()
cmemrun.measure(["true"])
gc.set_threshold(12)
os.register_at_fork(before=before, after_in_child=gc.enable, after_in_parent=gc.enable)
cmemrun.measure(["true"])
gc.collect()
print(os.getpid())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert set(path.read_text().split()) == {done.stdout.strip()}


def test_asyncio_goes_on_meanwhile(tmp_path: Path) -> None:
    """The programs begin when the loop has ticked, or never."""
    go = tmp_path / "go"
    wait = ["sh", "-c", 'until [ -e "$0" ]; do sleep 0.02; done; exec "$@"', str(go)]

    async def tick() -> None:
        for _ in range(20):
            await asyncio.sleep(0.01)
        go.touch()

    async def main() -> list[cmemrun.Run]:
        measured = (
            cmemrun.measure_async([*wait, *load("anon", str(mib))], timeout=PATIENCE_SECONDS)
            for mib in (16, 32)
        )
        ticking = asyncio.create_task(tick())
        runs = await asyncio.gather(*measured)
        await ticking
        return runs

    runs = asyncio.run(main())
    assert [run.exit.status for run in runs] == [0, 0]
    assert [run.peak_bytes // (16 * MIB) for run in runs] == [1, 2]


def test_asyncio_raises_what_measure_does() -> None:
    with pytest.raises(cmemrun.ProgramNotFound):
        asyncio.run(cmemrun.measure_async(["no-such-program"]))
    with pytest.raises(cmemrun.BadInput):
        asyncio.run(cmemrun.measure_async(["true"], refresh=-1))


@pytest.mark.parametrize("seconds", [0, 0.001, 0.01, 0.3])
def test_cancelled_it_ends_the_program(seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        task = asyncio.create_task(cmemrun.measure_async(["sleep", "100"]))
        await asyncio.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Already now, and not some time later.
        assert not groups_of(os.getpid()) and not psutil.Process().children()

    asyncio.run(main())
    gc.collect()
    assert not caplog.records


def test_a_time_limit_of_asyncio() -> None:
    async def main() -> None:
        async with asyncio.timeout(0.2):
            await cmemrun.measure_async(["sleep", "100"])

    with pytest.raises(TimeoutError):
        asyncio.run(main())


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler of Ctrl-C, which it has not where a shell began it in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("after", [0.0, 0.005, 0.02, 0.3])
def test_ctrl_c_in_the_main_thread(after: float) -> None:
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        cmemrun.measure(["sleep", "1000"])
    timer.join()
    assert not groups_of(os.getpid()) and not psutil.Process().children()


def test_ctrl_c_again_and_again() -> None:
    """Whoever is impatient leaves nothing behind, either."""
    code = """
import os, signal, sys, threading, time
import cmemrun
over = threading.Event()
def press():
    while not over.wait(0.002):
        os.kill(os.getpid(), signal.SIGINT)
presser, raised = threading.Thread(target=press), 0
try:
    presser.start()
except KeyboardInterrupt:
    pass
for _ in range(20):
    try:
        cmemrun.measure(["sleep", "100"])
    except KeyboardInterrupt:
        raised += 1
signal.signal(signal.SIGINT, signal.SIG_IGN)
over.set()
presser.join()
from tests.api.conftest import groups_of
import psutil
print(raised, groups_of(os.getpid()), psutil.Process().children(), threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("20 set() [] 1\n", "")


def test_a_signal_while_it_waits_at_the_gate_is_the_programs() -> None:
    """No handler of the caller's runs in a fork, on what it shares with that."""
    reading, writing = os.pipe()
    before = signal.signal(signal.SIGUSR1, lambda *_: os.write(writing, b"!"))

    def work(waiter: Stoppable) -> cmemrun.Exit:
        program = Program(["sleep", "1000"], restore=waiter.restore)
        waiting = psutil.Process(program.pid)
        until("it waits at the gate", lambda: waiting.status() == psutil.STATUS_SLEEPING)
        os.kill(program.pid, signal.SIGUSR1)
        program.open_gate()
        while not program.poll():
            waiter.wait(program, None)
        end = program.ended(timed_out=False)
        program.abandon()
        return end

    try:
        with Job(work) as job:
            job.start()
            assert job.future.result().signal == signal.SIGUSR1
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.close(writing)
    with open(reading, "rb") as pipe:
        assert not pipe.read()


def test_the_programs_signals_are_the_callers() -> None:
    run = cmemrun.measure(["grep", "^Sig[BI]", "/proc/self/status"], capture_output=True)
    plain = subprocess.run(
        ["grep", "^Sig[BI]", "/proc/self/status"], check=False, capture_output=True, text=True
    )
    assert run.stdout == plain.stdout


@pytest.mark.parametrize("disposition", ["SIG_IGN", "lambda *_: reap()"])
def test_a_caller_that_takes_its_children_itself(disposition: str) -> None:
    code = f"""
import os, signal, sys
def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]: pass
    except ChildProcessError: pass
import cmemrun
signal.signal(signal.SIGCHLD, {disposition.replace("SIG_IGN", "signal.SIG_IGN")})
for _ in range(5):
    run = cmemrun.measure(["sh", "-c", "sleep 0.05; exit 3"])
    assert run.exit.status in (None, 3), run
    told = any("SIGCHLD" in note for note in run.method.notes)
    assert run.peak_bytes > 0 and (run.exit.status == 3 or told)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_SECONDS)


def test_kill_9_of_the_caller_leaves_nothing(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = f"""
import threading, cmemrun
def one():
    cmemrun.measure(["sh", "-c", "echo started >> {told}; sleep 100"])
for _ in range(8):
    threading.Thread(target=one).start()
"""
    with subprocess.Popen([sys.executable, "-c", code]) as caller:
        until("all run", lambda: told.exists() and told.read_text().count("started") == 8)
        assert len({os.path.basename(group) for group in groups_of(caller.pid)}) == 8
        caller.kill()
    until("the groups are gone", lambda: not groups_of(caller.pid))


@pytest.mark.parametrize("after", [0.0, 0.004, 0.008, 0.012, 0.016])
def test_kill_9_while_eight_are_being_started(after: float, tmp_path: Path) -> None:
    """The forks of one run hold none of another's pipes for long, so nobody waits for ever."""
    code = """
import os, threading, cmemrun
cmemrun.measure(["true"])
for _ in range(8):
    threading.Thread(target=cmemrun.measure, args=(["sleep", "100"],)).start()
os.write(1, b"!")
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None and caller.stdout.read(1) == b"!"
        time.sleep(after)
        caller.kill()
    until("the groups are gone", lambda: not groups_of(caller.pid))


FORKED = """
import multiprocessing, os, sys, threading, time, cmemrun
def forked():
    time.sleep(1000)
script = 'echo started > "$0"; until [ -e "$1" ]; do sleep 0.02; done'
command = ["sh", "-c", script, *sys.argv[1:]]
thread = threading.Thread(target=cmemrun.measure, args=(command,))
thread.start()
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
child = multiprocessing.get_context("fork").Process(target=forked)
child.start()
print(child.pid, flush=True)
"""


def test_a_fork_of_the_callers_keeps_no_keeper(tmp_path: Path) -> None:
    """Whoever has a copy of the keeper's pipe does not keep it waiting."""
    code = f"""{FORKED}
open(sys.argv[2], "w").close()
thread.join()
import psutil
left = [one for one in psutil.Process().children() if one.pid != child.pid]
child.kill()
child.join()
sys.exit(f"left: {{left}}" if left else 0)
"""
    paths = [str(tmp_path / "told"), str(tmp_path / "over")]
    command = [sys.executable, "-W", "ignore", "-c", code, *paths]
    subprocess.run(command, check=True, timeout=PATIENCE_SECONDS, stdout=subprocess.DEVNULL)


def test_kill_9_of_a_caller_with_forks(tmp_path: Path) -> None:
    paths = [str(tmp_path / "told"), str(tmp_path / "never")]
    command = [sys.executable, "-W", "ignore", "-c", FORKED, *paths]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        forked = int(caller.stdout.readline())
        assert groups_of(caller.pid)
        caller.kill()
        caller.wait()
        try:
            until("the groups are gone", lambda: not groups_of(caller.pid))
            assert psutil.pid_exists(forked)
        finally:
            os.kill(forked, signal.SIGKILL)


def test_the_end_of_the_interpreter_waits_for_no_program(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = f"""
import threading, time, os, cmemrun
command = ["sh", "-c", "echo started > {told}; sleep 1000"]
threading.Thread(target=cmemrun.measure, args=(command,), daemon=True).start()
while not os.path.exists({str(told)!r}): time.sleep(0.01)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_SECONDS)
    until_written("started", told)
