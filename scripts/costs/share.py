"""How much of one core ``cmemrun`` uses while a program waits, by interval and processes."""

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from scripts.costs.measuring import CMEMRUN, PROGRAMS, Effort, Table

DEFAULT = "500ms"
REFRESHES = ("1s", DEFAULT, "100ms", "10ms", "1ms")
CROWDS = (1, 100, 1000)
_SETTLING_SECONDS = 3.0
_ROUNDS = 5

# As our own thread waits; nothing but its end is to be heard of in between.
WAKING = """
import threading
lock = threading.Lock()
lock.acquire()
while True:
    lock.acquire(timeout=0.01)
"""


def share_of_a_core(effort: Effort) -> Table:
    """The median of looks of five seconds, in turn, each by the scheduler's own count."""
    looks: dict[str, dict[int, list[float]]] = {
        refresh: {crowd: [] for crowd in CROWDS} for refresh in REFRESHES
    }
    waking: list[float] = []
    for _ in range(effort.times(_ROUNDS)):
        for crowd in CROWDS:
            for refresh in REFRESHES:
                with measured(refresh, effort.processes(crowd)) as run:
                    time.sleep(effort.seconds(_SETTLING_SECONDS))
                    looks[refresh][crowd].append(used(run, effort.seconds(5.0)))
        with subprocess.Popen([sys.executable, "-S", "-E", "-c", WAKING]) as run:
            time.sleep(effort.seconds(1.0))
            waking.append(used(psutil.Process(run.pid), effort.seconds(5.0)))
            run.kill()
    figures = {
        refresh: {crowd: statistics.median(shares) for crowd, shares in by_crowd.items()}
        for refresh, by_crowd in looks.items()
    }
    rows = [
        (
            f"{refresh}{' (the default)' if refresh == DEFAULT else ''}",
            *(f"{figures[refresh][crowd]:.2%}" for crowd in CROWDS),
        )
        for refresh in REFRESHES
    ]
    rows.append(("Python that only wakes up each 10ms", f"{statistics.median(waking):.2%}", "", ""))
    columns = ("`--refresh`", *(f"{crowd} process{'es' * (crowd > 1)}" for crowd in CROWDS))
    return Table("Of one core, while the program waits", columns, tuple(rows), figures)


@contextlib.contextmanager
def measured(refresh: str, processes: int) -> Iterator[psutil.Process]:
    """cmemrun with so many processes in the group, from when they are all there."""
    idle = [sys.executable, "-S", "-E", PROGRAMS, "idle", str(processes), "1000"]
    command = [CMEMRUN, "--quiet", "--refresh", refresh, "--", *idle]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        try:
            run.stdout.readline()
            yield psutil.Process(run.pid)
        finally:
            run.terminate()


def used(process: psutil.Process, for_seconds: float) -> float:
    started, before = time.monotonic(), _run_seconds(process.pid)
    time.sleep(for_seconds)
    return (_run_seconds(process.pid) - before) / (time.monotonic() - started)


def _run_seconds(pid: int) -> float:
    """Of all threads, in nanoseconds as the scheduler has them: times() has ticks of 10 ms."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9
