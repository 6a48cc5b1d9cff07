"""What measuring costs, as ratios in one run: here alone, guests are no place for it."""

import os
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from cmemrun.backends import choose
from cmemrun.backends.base import Taken
from cmemrun.backends.surrounding import Surrounding
from cmemrun.keeper import Keeper
from cmemrun.kernel.hierarchy import detect
from cmemrun.model import Sample
from cmemrun.report.panel import View, render
from cmemrun.sampler import Sampler, Sampling
from scripts.costs.measuring import PROGRAMS
from scripts.costs.share import measured, used
from tests.conftest import CMEMRUN
from tests.made_up import MIB
from tests.report.live import LIMITED, SAMPLE, process

RUNEXEC = str(Path(sys.executable).with_name("runexec"))


def seconds(command: list[str], cwd: Path) -> float:
    started = time.perf_counter()
    subprocess.run(
        command, check=True, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def quietest(measure: Callable[[], float], *, below: float) -> float:
    """Measure until it is below, up to four times; the least that was found.

    The machine is shared: what others do there in one half minute makes some
    programs half as slow again and others not. It never makes one faster.
    """
    least = measure()
    for _ in range(3):
        if least < below:
            break
        time.sleep(5)
        least = min(least, measure())
    return least


@pytest.mark.slow
def test_a_launch_costs_less_than_half_of_runexec(tmp_path: Path) -> None:
    ours = [CMEMRUN, "/bin/true"]
    theirs = [RUNEXEC, "--no-container", "--output", "/dev/null", "--", "/bin/true"]
    for command in (ours, theirs):
        seconds(command, tmp_path)

    def ratio() -> float:
        pairs = [(seconds(ours, tmp_path), seconds(theirs, tmp_path)) for _ in range(15)]
        mine, other = (float(statistics.median(times)) for times in zip(*pairs, strict=True))
        print(f"cmemrun {mine * 1000:.0f} ms, runexec {other * 1000:.0f} ms, {mine / other:.2f}")
        return mine / other

    assert quietest(ratio, below=0.5) < 0.5


def test_a_full_sample_costs_less_than_20_reads_of_memory_stat() -> None:
    """On v1 it is 10 reads, and understanding them; machines differ threefold in an hour."""
    with Keeper() as keeper:
        group = choose(detect(), 0, keeper, Surrounding(detect()))
        stat = os.open(f"{group.where}/memory.stat", os.O_RDONLY)
        pairs = [
            (
                timeit.timeit(lambda: group.take(0.0).understand(), number=100),
                timeit.timeit(lambda: os.pread(stat, 8192, 0), number=100),
            )
            for _ in range(20)
        ]
        os.close(stat)
        group.close()
        assert group.remove()
    sample, read = (statistics.median(times) / 100 for times in zip(*pairs, strict=True))
    print(f"one full sample: {sample * 1e6:.1f} µs, memory.stat alone {read * 1e6:.1f} µs")
    assert sample < 20 * read


def test_the_live_view_is_drawn_in_the_time_python_counts_to_200_000() -> None:
    """A millisecond or two, at each refresh; about half as long as the counting."""
    told = tuple(process(pid, pid * MIB, "python3", "worker.py", "x" * 200) for pid in range(20))
    history = [Sample(second / 10, second * MIB) for second in range(512)]
    view = View(LIMITED, SAMPLE._replace(processes=told), history, 51.2)

    def draw() -> str:
        return "".join(render(view, rows=7, columns=160, colour=True))

    def count() -> None:
        for _ in range(200_000):
            pass

    drawn, counted = (
        min(times)
        for times in zip(
            *[(timeit.timeit(draw, number=1), timeit.timeit(count, number=1)) for _ in range(60)],
            strict=True,
        )
    )
    print(f"{drawn * 1e3:.2f} ms, {drawn / counted:.2f} of it")
    assert len(draw().encode()) < 4096
    assert drawn < counted


@pytest.mark.slow
def test_a_launch_costs_at_most_25_ms_more_than_typer(tmp_path: Path) -> None:
    """More than a program of one command that typer makes."""
    ours, theirs = [CMEMRUN, "/bin/true"], [sys.executable, PROGRAMS, "hello"]
    for command in (ours, theirs):
        seconds(command, tmp_path)

    def more() -> float:
        pairs = [seconds(ours, tmp_path) - seconds(theirs, tmp_path) for _ in range(15)]
        print(f"{statistics.median(pairs) * 1000:.1f} ms more than typer's")
        return statistics.median(pairs)

    assert quietest(more, below=0.025) < 0.025


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refresh", "processes", "aim"),
    [("500ms", 1, 0.007), ("500ms", 500, 0.007), ("10ms", 1, 0.02), ("10ms", 500, 0.02)],
)
def test_share_of_a_core(refresh: str, processes: int, aim: float) -> None:
    """Also that it does not grow with the processes that wait in the group."""
    # A wake-up costs three times as much while others are busy on the machine.
    most = aim if os.environ.get("CMEMRUN_TEST_LONG") else 2.5 * aim

    def share() -> float:
        found = used(run, 5.0)
        print(f"{refresh}, {processes} processes: {found:.2%} of a core")
        return found

    with measured(refresh, processes) as run:
        time.sleep(2)
        assert quietest(share, below=most) < most


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


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path) -> None:
    """At 1 ms for some seconds, the same number of samples as an hour has at the default."""

    class Growing:
        name, where = "made up", "nowhere"
        resolution_bytes, slowest_probe_seconds = 0, 0.010
        reads = 0

        def usage(self) -> int:
            return 1

        def take(self, elapsed_seconds: float) -> Taken:
            self.reads += 1
            sample = Sample(elapsed_seconds, self.reads % 1000, anon_bytes=self.reads)
            return Taken(elapsed_seconds, sample.usage_bytes, lambda: sample)

        def composition(self) -> None:
            return None

        def members(self) -> set[int]:
            return set()

        def peak(self) -> int | None:
            return None

        def close(self) -> None:
            pass

    source: Any = Growing()
    sampler = Sampler(source, Sampling(refresh_seconds=0.001, probe=None))
    sampler.start(at_gate=True)
    time.sleep(3)
    early = psutil.Process().memory_info().rss
    time.sleep(6)
    late = psutil.Process().memory_info().rss
    sampler.stop()
    # Of 9000; as many as a slow machine wakes up for.
    assert sampler.series.count > 2000
    assert late - early < 2 * 2**20
