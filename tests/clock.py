"""Time that is made up, so that what a sampler does when is the same on a machine that stalls."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cmemrun import sampler as sampling
from cmemrun.sampler import Sampler

__all__ = ["LATE_SECONDS", "Clock", "Slow", "simulated"]

LATE_SECONDS = 0.0001
"""As on a real machine, a wake-up comes a little late."""


class Clock:
    """Time that passes only while somebody waits; stands for the module and for the lock."""

    def __init__(self) -> None:
        self._started = self.now = 1000.0
        self._end = float("inf")

    def elapsed(self) -> float:
        return self.now - self._started

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return time.thread_time()

    def end_at(self, seconds: float) -> None:
        """Have whoever waits be told to stop when so much has elapsed."""
        self._end = self._started + seconds

    def acquire(self, *, timeout: float = 0.0) -> bool:
        """Wait; whether it is over."""
        self.now += timeout + LATE_SECONDS
        return self.now >= self._end


class Slow:
    """Time that passes only by sleeping, a minute each time; a group is busy for some of them."""

    def __init__(self, busy: Path, sleeps: int) -> None:
        self._now = 0.0
        self._left = sleeps
        self._busy = busy

    def monotonic(self) -> float:
        return self._now

    def sleep(self, _: float) -> None:
        self._now += 60
        self._left -= 1
        if self._left == 0:
            self._busy.unlink()


@contextmanager
def simulated(sampler: Sampler, clock: Clock) -> Iterator[None]:
    """Have the sampler, which was not started, wait by a clock, for ``_run`` in this thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "time", clock)
        patch.setattr(sampler, "_stopping", clock)
        patch.setattr(sampler, "_started", clock.now)
        yield
