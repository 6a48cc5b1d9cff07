"""What measuring costs: in CPU time, beside a yardstick that the same machine slows down as much.

Others on the machine make something slower now and then, and nothing faster: so minima are
compared, of rounds in which both took turns.
"""

import contextlib
import os
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from cmemrun.backends import choose
from cmemrun.backends.surrounding import Surrounding
from cmemrun.keeper import Keeper
from cmemrun.kernel.hierarchy import detect
from cmemrun.model import Sample
from cmemrun.report.panel import View, render
from scripts.costs.measuring import PROGRAMS
from scripts.costs.share import WAKING, measured, used
from tests.conftest import CMEMRUN
from tests.made_up import MIB
from tests.report.live import LIMITED, SAMPLE, process

pytestmark = pytest.mark.slow


def ratio(ours: Callable[[], float], yardstick: Callable[[], float], *, rounds: int) -> float:
    """How many times the yardstick's CPU seconds ours are."""
    pairs = [(ours(), yardstick()) for _ in range(rounds)]
    mine, other = min(one for one, _ in pairs), min(one for _, one in pairs)
    print(f"{mine * 1e3:.3f} ms, {other * 1e3:.3f} ms: {mine / other:.2f}")
    return mine / other


def cpu_of(*command: str) -> Callable[[], float]:
    """CPU seconds of a command and what it has waited for, started anew at each call."""
    # As users have it: modules are compiled once, and not at every start.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}

    def seconds() -> float:
        started = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        assert started.returncode == 0
        return used.ru_utime + used.ru_stime

    seconds()
    return seconds


def cpu_in_thread(work: Callable[[], object], times: int) -> Callable[[], float]:
    """CPU seconds that this thread needs for doing it so many times."""
    timer = timeit.Timer(work, timer=time.thread_time)
    return lambda: timer.timeit(times)


def test_a_launch_costs_little_more_than_the_least_program_with_typer() -> None:
    """Measured: as much. A quarter more, one library that is loaded too early, fails."""
    ours = cpu_of(CMEMRUN, "--quiet", "/bin/true")
    typer = cpu_of(sys.executable, PROGRAMS, "hello")
    assert ratio(ours, typer, rounds=12) < 1.25


def test_a_full_sample_costs_less_than_20_reads_of_memory_stat() -> None:
    """Measured: 8 times. On v1 it is 10 reads, and understanding them; opening each anew fails."""
    with Keeper() as keeper:
        group = choose(detect(), 0, keeper, Surrounding(detect()))
        stat = os.open(f"{group.where}/memory.stat", os.O_RDONLY)
        sample = cpu_in_thread(lambda: group.take(0.0).understand(), 100)
        read = cpu_in_thread(lambda: os.pread(stat, 8192, 0), 100)
        found = ratio(sample, read, rounds=20)
        os.close(stat)
        group.close()
        assert group.remove()
    assert found < 20


def test_the_live_view_is_drawn_in_the_time_python_counts_to_200_000() -> None:
    """At each refresh; measured: half of it."""
    told = tuple(process(pid, pid * MIB, "python3", "worker.py", "x" * 200) for pid in range(20))
    history = [Sample(second / 10, second * MIB) for second in range(512)]
    view = View(LIMITED, SAMPLE._replace(processes=told), history, 51.2)

    def draw() -> str:
        return "".join(render(view, rows=7, columns=160, colour=True))

    def count() -> None:
        for _ in range(200_000):
            pass

    assert len(draw().encode()) < 4096
    assert ratio(cpu_in_thread(draw, 1), cpu_in_thread(count, 1), rounds=60) < 1


@contextlib.contextmanager
def waking() -> Iterator[psutil.Process]:
    """A Python that does nothing but wake up a hundred times a second."""
    with subprocess.Popen([sys.executable, "-S", "-E", "-c", WAKING]) as run:
        try:
            yield psutil.Process(run.pid)
        finally:
            run.kill()


@pytest.mark.parametrize(("refresh", "most"), [("500ms", 2), ("10ms", 12)])
def test_share_of_a_core(refresh: str, most: float) -> None:
    """Measured: 1 and 6.5 times the yardstick's; and it does not grow with those who wait."""
    with waking() as yardstick, measured(refresh, 1) as one, measured(refresh, 500) as crowd:
        time.sleep(1)  # who has just been forked still runs

        def shares() -> list[float]:
            # All at once: whatever slows one down has slowed the others too.
            return list(pool.map(used, (yardstick, one, crowd), [1.5] * 3))

        with ThreadPoolExecutor(3) as pool:
            least = [min(found) for found in zip(*(shares() for _ in range(4)), strict=True)]
    print(refresh, [f"{share:.2%}" for share in least])
    assert least[1] < most * least[0]
    assert least[2] < 2 * least[1]


def test_nothing_heavy_is_loaded_to_launch() -> None:
    code = "import sys; import cmemrun.commands; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    for module in (
        "typer",
        "logging",
        "subprocess",
        "psutil",
        "humanize",
        "rich",
        "json",
        "pydantic",
        "importlib.metadata",
    ):
        assert module not in loaded
