"""How costs are compared: in alternation, by medians, with the interval of their ratio."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cmemrun.analysis.statistics import bootstrap

CMEMRUN = str(Path(sys.executable).with_name("cmemrun"))
PROGRAMS = str(Path(__file__).with_name("programs.py"))


class Effort(NamedTuple):
    """How often and how long; quick shows that it works, and no more."""

    quick: bool

    def times(self, often: int) -> int:
        return 1 if self.quick else often

    def processes(self, many: int) -> int:
        return min(many, 20) if self.quick else many

    def seconds(self, long: float) -> float:
        return min(long, 0.2) if self.quick else long


class Table(NamedTuple):
    """One table of figures, as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: object
    """The same as numbers, for ``--json``."""

    def markdown(self) -> str:
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{self.title}\n\n{table}\n"


def seconds(command: Sequence[str]) -> float:
    """From before its start until after its end."""
    started = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def alternated(measures: Mapping[str, Callable[[], float]], times: int) -> dict[str, list[float]]:
    """So many values of each, in turn, after one that does not count."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for turn in range(times + 1):
        # Every other time backwards: each leaves caches and clocks to the next.
        for name in list(measures)[:: 1 if turn % 2 else -1]:
            value = measures[name]()
            if turn:
                values[name].append(value)
    return values


class Compared(NamedTuple):
    """Values beside those of what they are compared with, pair by pair."""

    median: float
    low: float
    high: float
    """The median lies between these in 95 of 100 such comparisons."""


def compared(pairs: Sequence[float]) -> Compared:
    low, high = bootstrap(lambda median: median(pairs))
    return Compared(statistics.median(pairs), low, high)
