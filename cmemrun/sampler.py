"""The thread that reads: usage alone very often, everything at each refresh and new high."""

import threading
import time
from typing import Literal

from cmemrun.backends.base import Source
from cmemrun.errors import KernelTextError
from cmemrun.kernel.process import largest
from cmemrun.log import Log
from cmemrun.model import Peaks, Sample
from cmemrun.series import Series

__all__ = ["AUTO_PROBE", "Probe", "Sampler"]

log = Log(__name__)

AUTO_PROBE: Literal["auto"] = "auto"
Probe = float | Literal["auto"] | None
"""Seconds between two looks at usage alone, ``None`` for none."""

# Left to itself the sampler looks as often as this share of one core allows.
# What a look costs is mostly the wake-up, 20 µs on a busy core and 80 µs on one
# that sleeps in a virtual machine, so no fixed interval is right for both.
_PROBE_SHARE = 0.005
_PROBE_FASTEST_SECONDS = 0.002
# While nothing changes at all; a spike of 20 ms must not fall between two looks.
_PROBE_STILL_SECONDS = 0.020
_COST_WEIGHT = 0.1

# A new high is notable, and worth a full read, from this share above the last
# one on; so a program that grows and grows costs one for every 1.6 %.
_NOTABLE_SHARE = 1 / 64
_NOTABLE_BYTES = 65536

# Usage rises before its parts do: a huge page is charged, then cleared, then
# counted as anon; and Linux 6.1 reads old sums where somebody else is adding
# them up just then (stats_flush_lock). So a high that lasts is read again: once,
# and as often as this while its parts do not add up.
_SETTLING_LOOKS = 8

# How many processes are looked at: when usage has doubled, or has settled a
# quarter above the last time, and at each refresh that finds it higher. For which
# share of one core; what was saved up may be spent at once, half of it kept for
# the refreshes. A look takes a millisecond or two here, and a hundred on a slow
# machine or where there are many or large processes.
_MOST_PROCESSES = 20
_PROCESSES_FROM_BYTES = 16 * 2**20
_PROCESSES_SHARE = 0.01
_PROCESSES_BURST_SECONDS = 0.3


class Sampler:
    """Reads a source on a thread of its own until it is told to stop."""

    def __init__(self, source: Source, *, refresh_seconds: float, probe: Probe) -> None:
        self._source = source
        self._refresh_seconds = refresh_seconds
        self._adaptive = probe == AUTO_PROBE
        self.probe_seconds = _PROBE_FASTEST_SECONDS if isinstance(probe, str) else probe
        self._series = Series()
        self._thread = threading.Thread(target=self._run, name="cmemrun-sampler", daemon=True)
        # A lock is the cheapest thing to wait for with a time limit: held until
        # stop() releases it.
        self._stopping = threading.Lock()
        self._started = 0.0
        self._notable_bytes = 0
        self._usage_bytes = -1
        self._settling_looks = 0
        self._saved_seconds = _PROCESSES_BURST_SECONDS
        self._saved_until = 0.0
        self._processes_usage_bytes = 0
        self.sample_count = 0
        self.probe_count = 0
        self.highest_usage_bytes = 0
        self.at_peak: Sample | None = None
        self.last: Sample | None = None
        self.peaks = Peaks()
        self.failure: Exception | None = None

    def start(self) -> None:
        """Take the first full sample and go on in the background."""
        self._stopping.acquire()
        self._started = time.monotonic()
        self._sample(0.0)
        self._thread.start()

    def elapsed(self) -> float:
        """Seconds since the start, on the monotonic clock."""
        return time.monotonic() - self._started

    def stop(self) -> None:
        """End the thread; harmless where it has ended already or was never started."""
        if self._thread.is_alive():
            self._stopping.release()
            self._thread.join()

    def final(self) -> None:
        """Take the last full sample, in the caller's thread, after ``stop``."""
        if self.failure is None:
            try:
                self._sample(self.elapsed())
            except (OSError, KernelTextError) as error:
                self._fail(error)

    def samples(self) -> tuple[Sample, ...]:
        """What was kept of the series."""
        return self._series.samples()

    def _run(self) -> None:
        refresh, next_full, cost = self._refresh_seconds, self._refresh_seconds, 0.0
        spent = time.thread_time()
        try:
            while True:
                now = self.elapsed()
                wait = next_full - now
                if self.probe_seconds is not None:
                    wait = min(wait, self.probe_seconds)
                if self._stopping.acquire(timeout=max(0.0, wait)):
                    return
                now = self.elapsed()
                if now >= next_full:
                    self._sample(now)
                    # On the grid, without catching up: after a suspend there
                    # is nothing to be read of what was missed.
                    next_full += max(1, -(-(now - next_full) // refresh)) * refresh
                elif self.probe_seconds is not None:
                    still = self._probe(now)
                    if self._adaptive:
                        before, spent = spent, time.thread_time()
                        cost += _COST_WEIGHT * (spent - before - cost)
                        slowest = self._source.slowest_probe_seconds
                        interval = min(max(cost / _PROBE_SHARE, _PROBE_FASTEST_SECONDS), slowest)
                        self.probe_seconds = max(interval, _PROBE_STILL_SECONDS if still else 0)
        except (OSError, KernelTextError) as error:
            self._fail(error)

    def _probe(self, now: float) -> bool:
        """Look at usage; whether all is as it was at the last look, and nothing to be awaited."""
        usage = self._source.usage()
        self.probe_count += 1
        before, self._usage_bytes = self._usage_bytes, usage
        self.highest_usage_bytes = max(self.highest_usage_bytes, usage)
        if usage >= self._notable_bytes:
            self._sample(now)
            self._settling_looks = _SETTLING_LOOKS
        elif self._settling_looks:
            self._settling_looks -= 1
            self._sample(now, settled=True)
            if self.at_peak is None or not self._is_unexplained(self.at_peak):
                self._settling_looks = 0
        return usage == before and not self._settling_looks

    def _sample(self, now: float, *, settled: bool = False) -> None:
        sample = self._source.read(now)
        usage = sample.usage_bytes
        self.sample_count += 1
        self.last = sample
        self.highest_usage_bytes = max(self.highest_usage_bytes, usage)
        rising = usage >= self._notable_bytes
        if self.at_peak is None or usage >= self.at_peak.usage_bytes:
            self.at_peak = self._described(sample)
            self._notable_bytes = usage + _notable(usage)
        elif (
            settled
            and usage >= self.at_peak.usage_bytes - _notable(usage)
            and sample.unexplained_bytes <= self.at_peak.unexplained_bytes
        ):
            # The better one, although the kernel may have given back what it
            # had charged in advance.
            self.at_peak = self._described(sample)
        self._look_at_processes(sample, rising=rising, settled=settled)
        self.peaks = _higher(self.peaks, sample)
        self._series.add(sample)

    def _described(self, sample: Sample) -> Sample:
        """A new sample at the peak with what lies inside it; the processes are those known."""
        before = self.at_peak
        sample = sample._replace(composition=self._source.composition())
        if before is None:
            return sample
        return sample._replace(
            processes=before.processes,
            processes_elapsed_seconds=before.processes_elapsed_seconds,
        )

    def _look_at_processes(self, sample: Sample, *, rising: bool, settled: bool) -> None:
        """Where it is worth it and there is time, see who makes up the peak."""
        now, usage, peak = sample.elapsed_seconds, sample.usage_bytes, self.at_peak
        # At the gate there is no program yet.
        if now == 0 or peak is None or usage < peak.usage_bytes - _notable(peak.usage_bytes):
            return
        self._saved_seconds += (now - self._saved_until) * _PROCESSES_SHARE
        self._saved_seconds = min(self._saved_seconds, _PROCESSES_BURST_SECONDS)
        self._saved_until = now
        before, reserve_seconds = self._processes_usage_bytes, _PROCESSES_BURST_SECONDS / 2
        if rising:
            worth = usage >= max(2 * before, _PROCESSES_FROM_BYTES)
        elif settled:
            worth = not before or usage >= max(before + before // 4, _PROCESSES_FROM_BYTES)
        else:
            worth, reserve_seconds = usage >= before + _notable(usage), 0.0
        if not worth or self._saved_seconds <= reserve_seconds:
            return
        started = time.thread_time()
        found = largest(self._source.members(), _MOST_PROCESSES)
        self._saved_seconds -= time.thread_time() - started
        if found:
            self._processes_usage_bytes = usage
            self.at_peak = peak._replace(processes=found, processes_elapsed_seconds=now)

    def _is_unexplained(self, sample: Sample) -> bool:
        most = max(_notable(sample.usage_bytes), self._source.resolution_bytes)
        return sample.unexplained_bytes > most

    def _fail(self, error: Exception) -> None:
        # The group is gone or speaks in riddles: what was read before stays true.
        log.debug("sampling ended error=%r", error)
        self.failure = error


def _notable(usage_bytes: int) -> int:
    return max(int(usage_bytes * _NOTABLE_SHARE), _NOTABLE_BYTES)


def _higher(peaks: Peaks, sample: Sample) -> Peaks:
    new = Peaks(
        working_set_bytes=_max(peaks.working_set_bytes, sample.working_set_bytes),
        anon_bytes=_max(peaks.anon_bytes, sample.anon_bytes),
        file_bytes=_max(peaks.file_bytes, sample.file_bytes),
        kernel_bytes=_max(peaks.kernel_bytes, sample.kernel_bytes),
        swap_bytes=_max(peaks.swap_bytes, sample.swap_bytes),
        tasks=_max(peaks.tasks, sample.tasks),
    )
    return peaks if new == peaks else new


def _max(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)
