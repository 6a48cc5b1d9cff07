"""What measuring costs, as ratios in one run: here alone, guests are no place for it."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from cmemrun.backends import choose
from cmemrun.backends.surrounding import Surrounding
from cmemrun.keeper import Keeper
from cmemrun.kernel.hierarchy import detect
from cmemrun.sampler import Sampler, Sampling
from tests.conftest import CMEMRUN, groups

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
        mine, other = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"cmemrun {mine * 1000:.0f} ms, runexec {other * 1000:.0f} ms, {mine / other:.2f}")
        return mine / other

    assert quietest(ratio, below=0.5) < 0.5


def test_a_full_sample_costs_less_than_60_microseconds() -> None:
    with Keeper() as keeper:
        group = choose(detect(), 0, keeper, Surrounding(detect()))
        times = []
        for _ in range(20):
            started = time.perf_counter()
            for _ in range(100):
                group.read(0.0)
            times.append((time.perf_counter() - started) / 100)
        group.close()
        assert group.remove()
    print(f"one full sample: {statistics.median(times) * 1e6:.1f} µs")
    assert statistics.median(times) < 60e-6


@pytest.mark.slow
def test_less_than_one_percent_of_a_core_at_the_defaults() -> None:
    before = groups()
    with subprocess.Popen([CMEMRUN, "-q", "sleep", "100"]) as run:
        process = psutil.Process(run.pid)
        while not groups() - before:
            time.sleep(0.05)
        time.sleep(1.0)

        def spent() -> float:
            times = process.cpu_times()
            return times.user + times.system

        def share() -> float:
            start, used = time.monotonic(), spent()
            time.sleep(10)
            found = (spent() - used) / (time.monotonic() - start)
            print(f"of a core: {found:.2%}")
            return found

        least = quietest(share, below=0.01)
        run.terminate()
    # A wake-up costs three times as much while others are busy on the machine.
    assert least < (0.01 if os.environ.get("CMEMRUN_TEST_LONG") else 0.02)


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

        def read(self, elapsed_seconds: float) -> object:
            from cmemrun.model import Sample

            self.reads += 1
            return Sample(elapsed_seconds, self.reads % 1000, anon_bytes=self.reads)

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
    sampler.start()
    time.sleep(3)
    early = psutil.Process().memory_info().rss
    time.sleep(6)
    late = psutil.Process().memory_info().rss
    sampler.stop()
    assert sampler.series.count > 4000
    assert late - early < 2 * 2**20
