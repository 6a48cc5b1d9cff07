"""Days of a run in a minute: the real sampler and series, with a clock and a group made up here.

Of 30 days there is a sample each 30 s, and with the long counts (``CMEMRUN_TEST_LONG=1``) one
each 0.5 s as well, which is the default.
"""

import os
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import psutil
import pytest

from cmemrun.backends.base import Taken
from cmemrun.model import Events, Limits, Sample
from cmemrun.sampler import AUTO_PROBE, Probe, Sampler, Sampling
from tests.clock import Clock, simulated

pytestmark = pytest.mark.slow

LONG = bool(os.environ.get("CMEMRUN_TEST_LONG"))
MIB = 2**20
HOUR = 3600.0


class Timed(Clock):
    """One that notes the real time at each tenth of a run."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.real_seconds: list[float] = []
        self._part = seconds / 10
        self.end_at(seconds)

    def acquire(self, *, timeout: float = 0.0) -> bool:
        is_over = super().acquire(timeout=timeout)
        if self.elapsed() >= self._part * len(self.real_seconds):
            self.real_seconds.append(time.thread_time())
        return is_over


class Breathing:
    """A source that goes up and down by the hour, with a spike of 30 ms somewhere."""

    name, where = "made up", "/nowhere"
    resolution_bytes, slowest_probe_seconds = 0, 0.010

    def __init__(self, clock: Clock, spike_at: float) -> None:
        self.notes: list[str] = []
        self._clock, self._spike_at = clock, spike_at

    def usage(self) -> int:
        now = self._clock.elapsed()
        if self._spike_at <= now < self._spike_at + 0.030:
            return 900 * MIB
        return 100 * MIB + int(abs(now % HOUR - HOUR / 2)) * 65536

    def take(self, elapsed_seconds: float) -> Taken:
        usage = self.usage()
        sample = Sample(elapsed_seconds, usage, anon_bytes=usage, events=Events(oom_kill=0))
        return Taken(elapsed_seconds, usage, lambda: sample)

    def composition(self) -> None:
        return None

    def members(self) -> set[int]:
        return set()

    def root_in(self, path: str) -> str | None:
        return None

    def has_seen(self, pid: int) -> bool:
        return False

    def has_strangers(self) -> bool:
        return False

    def cpu_time(self) -> None:
        return None

    def limits(self) -> Limits:
        return Limits()

    def peak(self) -> int | None:
        return None

    def close(self) -> None:
        pass


class Simulated(NamedTuple):
    """How long, and how often it is looked."""

    hours: float
    refresh_seconds: float
    probe: Probe


CASES = {
    "an hour as by default": Simulated(1, 0.5, AUTO_PROBE),
    "24 hours at the default refresh": Simulated(24, 0.5, None),
    "30 days, a sample each 30 s": Simulated(30 * 24, 30.0, None),
}
if LONG:
    CASES |= {
        "24 hours as by default": Simulated(24, 0.5, AUTO_PROBE),
        "30 days at the default refresh": Simulated(30 * 24, 0.5, None),
    }


@pytest.mark.parametrize("name", CASES)
def test_a_long_run(name: str, record_property: Callable[[str, object], None]) -> None:
    hours, refresh, probe = CASES[name]
    clock = Timed(hours * HOUR)
    source = Breathing(clock, spike_at=hours * HOUR / 2 + 0.011)
    sampler = Sampler(source, Sampling(refresh_seconds=refresh, probe=probe))
    memory = psutil.Process().memory_info
    with simulated(sampler, clock):
        sampler._sample(0.0)
        before = memory().rss
        sampler._run()
        grown = memory().rss - before
    assert sampler.failure is None
    full, series = int(hours * HOUR / refresh), sampler.series
    assert full <= series.count <= full + 2000
    if probe is not None:
        assert sampler.probe_count > hours * HOUR / 0.021
        # What no refresh meets, a look in between does.
        assert sampler.highest_usage_bytes == 900 * MIB
    kept = series.samples()
    assert len(kept) <= 2 * 1024 + 1
    times = [sample.elapsed_seconds for sample in kept]
    assert times == sorted(times) and times[-1] > hours * HOUR - 2 * refresh
    tenths = [late - early for early, late in pairwise(clock.real_seconds)]
    print(f"{name}: {series.count} samples, {sampler.probe_count} looks, {grown / MIB:.1f} MiB")
    # All that is kept is there after the first minutes; the rest costs nothing more.
    assert grown < 4 * MIB
    # Others are busy on the machine as well; what is slower with each sample is much slower.
    assert min(tenths[-3:]) < 3 * min(tenths[:3])
    record_property("faults", 1)
