"""What the parts of a sample cost, by pyperf, in the time of the thread that takes it:

python -m scripts.costs.parts --append FILE.json [PYPERF OPTION…]
"""

import contextlib
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pyperf

from cmemrun.backends import choose
from cmemrun.backends.base import Group
from cmemrun.backends.surrounding import Surrounding
from cmemrun.census import Census, Occasion
from cmemrun.keeper import Keeper
from cmemrun.kernel.hierarchy import detect
from cmemrun.series import Series
from scripts.costs.measuring import PROGRAMS

SETTLING = "CMEMRUN_SETTLING_SECONDS"
"""The variable that says how long to wait before anything is measured.

Who has just been forked still runs, a thousand for tenths of a second, and what they
are charged meanwhile the kernel has to add up for whoever reads (as in test_crowd).
"""


@contextlib.contextmanager
def _group(processes: int) -> Iterator[Group]:
    """A group with so many processes that wait."""
    with Keeper() as keeper, contextlib.ExitStack() as stack:
        hierarchy = detect()
        idle = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-S", "-E", PROGRAMS, "idle", str(processes), "1000"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
        group = choose(hierarchy, idle.pid, keeper, Surrounding(hierarchy))
        stack.callback(group.remove)
        stack.callback(group.close)
        stack.callback(group.kill)
        group.attach(idle.pid)
        # Those that it forks only now are in the group with it.
        assert idle.stdin is not None and idle.stdout is not None
        idle.stdin.close()
        idle.stdout.readline()
        time.sleep(float(os.environ.get(SETTLING, "3")))
        yield group


def _usage(group: Group) -> Callable[[], object]:
    return group.usage


def _everything(group: Group) -> Callable[[], object]:
    return lambda: group.take(0.0).understand()


def _keeping(group: Group) -> Callable[[], object]:
    sample, series = group.take(0.0).understand(), Series()
    return lambda: series.add(sample)


def _processes(group: Group) -> Callable[[], object]:
    sample = group.take(1.0).understand()

    def look() -> object:
        # A new one each time, as one that has looked saves its time for later.
        census = Census(group, track=True, mappings=False)
        return census.look(sample, Occasion.REFRESH, near_peak=True, notable_bytes=0)

    return look


PARTS = {
    "usage alone": (_usage, 1),
    "everything": (_everything, 1),
    "everything, of 100 processes": (_everything, 100),
    "everything, of 1000 processes": (_everything, 1000),
    "keeping a sample": (_keeping, 1),
    "the processes, of 1": (_processes, 1),
    "the processes, of 100": (_processes, 100),
    "the processes, of 1000": (_processes, 1000),
}
"""What is measured, and how many processes there are meanwhile."""


def _seconds(loops: int, *, part: str, groups: "_Groups") -> float:
    prepare, processes = PARTS[part]
    do = prepare(groups.of(processes))
    # Not the clock's time: of two processors others may take one at any moment.
    started = time.thread_time()
    for _ in range(loops):
        do()
    return time.thread_time() - started


class _Groups(contextlib.ExitStack):
    """Those that were made, kept for all that one of pyperf's processes measures."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, Group] = {}

    def of(self, processes: int) -> Group:
        if processes not in self._made:
            self._made[processes] = self.enter_context(_group(processes))
        return self._made[processes]


def main() -> None:
    runner = pyperf.Runner()
    with _Groups() as groups:
        for part in PARTS:
            runner.bench_time_func(part, functools.partial(_seconds, part=part, groups=groups))


if __name__ == "__main__":
    main()
