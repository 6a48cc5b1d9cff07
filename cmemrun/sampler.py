"""The thread that reads: usage alone very often, everything at each refresh and new high."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from cmemrun.backends.base import Source, Taken
from cmemrun.census import Census, Occasion
from cmemrun.errors import start_thread
from cmemrun.log import Log
from cmemrun.model import Process, Sample
from cmemrun.series import Series, is_at_peak, is_near, notable

__all__ = ["AUTO_PROBE", "Probe", "Sampler", "Sampling"]

log = Log(__name__)

AUTO_PROBE: Literal["auto"] = "auto"
Probe = float | Literal["auto"] | None
"""Seconds between two looks at usage alone, ``None`` for none."""

# Left to itself the sampler looks as often as this share of one core allows.
# What a look costs is mostly the wake-up, 20 µs on a busy core and 80 µs on one
# that sleeps in a virtual machine, so no fixed interval is right for both.
_PROBE_SHARE = 0.005
_PROBE_FASTEST_SECONDS = 0.002
# While nothing changes at all: a spike of 20 ms seldom falls between two looks, of which
# each is late by what waking up takes (here 1 to 2 % did of those that had no slopes).
_PROBE_STILL_SECONDS = 0.020
_LOOKS_PER_COST = 8
_COST_WEIGHT = 0.5

# Usage rises before its parts do: a huge page is charged, then cleared, then
# counted as anon; and Linux 6.1 reads old sums where somebody else is adding
# them up just then (stats_flush_lock). So a high that lasts is read again: once,
# and as often as this while its parts do not add up.
_SETTLING_LOOKS = 8

# What was read at a short refresh is understood some at once, which costs a quarter
# as much; but for what is new, or where somebody waits for it.
_LATER_SECONDS = 0.25
_LATER_SAMPLES = 32


class Sampling(NamedTuple):
    """What is looked at, and how often.

    ``probe``: seconds between two looks at usage alone, ``"auto"`` to let the sampler
    choose, ``None`` for none. ``track_processes``: see who is there at each refresh,
    and not at the peak only; ``keep_processes``: and have that in the series, too, not
    tell it only. ``mappings``: the largest processes also by what they have mapped.
    """

    refresh_seconds: float = 0.5
    probe: Probe = AUTO_PROBE
    track_processes: bool = False
    keep_processes: bool = True
    mappings: bool = False


class Sampler:
    """Reads a source on a thread of its own until it is told to stop."""

    def __init__(
        self,
        source: Source,
        sampling: Sampling,
        listeners: Sequence[Callable[[Sample], None]] = (),
    ) -> None:
        """``listeners`` are told every full sample, in our thread, and must not keep it waiting.

        One with a composition is the best that is known of the peak until then.
        """
        self._source = source
        probe = sampling.probe
        self._refresh_seconds = sampling.refresh_seconds
        self._adaptive = probe == AUTO_PROBE
        self.probe_seconds = _PROBE_FASTEST_SECONDS if isinstance(probe, str) else probe
        self._look_seconds = 0.0
        self._moving_seconds, self._still_seconds = _PROBE_FASTEST_SECONDS, _PROBE_STILL_SECONDS
        self._keep_processes = sampling.track_processes and sampling.keep_processes
        self._listeners = listeners
        self._may_wait = (
            sampling.refresh_seconds < _LATER_SECONDS
            and not listeners
            and not sampling.track_processes
        )
        self._taken: list[Taken] = []
        self._thread = threading.Thread(target=self._run, name="cmemrun-sampler", daemon=True)
        # A lock is the cheapest thing to wait for with a time limit: held until
        # stop() releases it.
        self._stopping = threading.Lock()
        self._started = 0.0
        self._notable_bytes = 0
        self._usage_bytes = -1
        self._settling_looks = 0
        self.series = Series()
        self.census = Census(source, track=sampling.track_processes, mappings=sampling.mappings)
        self.probe_count = 0
        self.highest_usage_bytes = 0
        self.at_peak: Sample | None = None
        self.before_kill: tuple[float | None, tuple[Process, ...]] | None = None
        """When somebody was seen last, and who, before the first OOM kill was counted."""
        self.failure: Exception | None = None

    def start(self, *, at_gate: bool) -> None:
        """Take the first full sample and go on in the background.

        ``at_gate``: there is no program yet, and nobody in the group worth to be seen.
        """
        self._stopping.acquire()
        self._started = time.monotonic()
        self._sample(0.0, None if at_gate else Occasion.REFRESH)
        start_thread(self._thread)

    def elapsed(self) -> float:
        """Seconds since the start, on the monotonic clock."""
        return time.monotonic() - self._started

    def stop(self) -> None:
        """End the thread; harmless where it has ended already or was never started."""
        if self._thread.is_alive():
            self._stopping.release()
            self._thread.join()
        try:
            self._understand()
        except Exception as error:
            self._fail(error)

    def final(self) -> None:
        """Take the last full sample, in the caller's thread, after ``stop``."""
        if self.failure is None:
            try:
                self._sample(self.elapsed())
            except Exception as error:
                self._fail(error)

    def _run(self) -> None:
        refresh, next_full = self._refresh_seconds, self._refresh_seconds
        try:
            while self._watch(next_full):
                now = self.elapsed()
                self._refresh(now)
                # On the grid, without catching up: after a suspend there is nothing
                # to be read of what was missed.
                next_full += max(1, -(-(now - next_full) // refresh)) * refresh
        except Exception as error:
            self._fail(error)

    def _watch(self, until: float) -> bool:
        """Look at usage alone until it is time for more; ``False`` when told to stop.

        A processor that has slept in between has forgotten all of this, so a look costs
        what it calls: little is called, and what it costs is asked for once in a while.
        """
        monotonic, wait_for = time.monotonic, self._stopping.acquire
        until += self._started
        looks, spent = 0, time.thread_time()
        is_time = False
        while not is_time:
            wait = until - monotonic()
            if self.probe_seconds is not None and self.probe_seconds < wait:
                wait = self.probe_seconds
            if wait_for(timeout=wait if wait > 0 else 0.0):
                return False
            now = monotonic()
            is_time = now >= until
            if not is_time:
                is_still = self._probe(now - self._started)
                looks += 1
                if self._adaptive:
                    self.probe_seconds = self._still_seconds if is_still else self._moving_seconds
            if self._adaptive and (looks == _LOOKS_PER_COST or (is_time and looks)):
                before, spent = spent, time.thread_time()
                self._weigh((spent - before) / looks)
                looks = 0
        return True

    def _weigh(self, look_seconds: float) -> None:
        """Look as often as the share allows, now that this is what a look costs."""
        self._look_seconds += _COST_WEIGHT * (look_seconds - self._look_seconds)
        interval = max(self._look_seconds / _PROBE_SHARE, _PROBE_FASTEST_SECONDS)
        self._moving_seconds = min(interval, self._source.slowest_probe_seconds)
        self._still_seconds = max(self._moving_seconds, _PROBE_STILL_SECONDS)

    def _probe(self, now: float) -> bool:
        """Look at usage; whether all is as it was at the last look, and nothing to be awaited."""
        usage = self._source.usage()
        self.probe_count += 1
        if usage == self._usage_bytes and not self._settling_looks:
            return True
        self._usage_bytes = usage
        self.highest_usage_bytes = max(self.highest_usage_bytes, usage)
        if usage >= self._notable_bytes:
            self._sample(now, Occasion.RISING)
            self._settling_looks = _SETTLING_LOOKS
        elif self._settling_looks:
            self._settling_looks -= 1
            self._sample(now, Occasion.SETTLED)
            if self.at_peak is None or not self._is_unexplained(self.at_peak):
                self._settling_looks = 0
        return False

    def _refresh(self, now: float) -> None:
        """Read everything, to be understood later unless usage makes a new high."""
        taken = self._source.take(now)
        if (
            self._may_wait
            and taken.usage_bytes < self._notable_bytes
            and len(self._taken) < _LATER_SAMPLES
            and now - (self._taken or [taken])[0].elapsed_seconds < _LATER_SECONDS
        ):
            self._taken.append(taken)
            return
        self._understand()
        self._keep(taken.understand(), Occasion.REFRESH)

    def _understand(self) -> None:
        """Keep what was taken until now; who was there then is not to be seen any more."""
        taken, self._taken = self._taken, []
        for one in taken:
            self._keep(one.understand(), None)

    def _sample(self, now: float, occasion: Occasion | None = Occasion.REFRESH) -> None:
        taken = self._source.take(now)
        self._understand()
        self._keep(taken.understand(), occasion)

    def _keep(self, sample: Sample, occasion: Occasion | None) -> None:
        """``occasion`` is what it was taken for just now, ``None`` where nobody is to be seen."""
        usage = sample.usage_bytes
        self.highest_usage_bytes = max(self.highest_usage_bytes, usage)
        self._notable_bytes = max(self._notable_bytes, usage + notable(usage))
        if sample.events.oom_kill and self.before_kill is None:
            self.before_kill = self.census.last
        described = self._described_at_peak(sample)
        composition = None
        if described is not None and self._tells_more(described, occasion):
            before = self.at_peak
            self.at_peak = described if before is None else described.with_processes_of(before)
            composition = described.composition
        told = sample
        if occasion is not None:
            told = self._with_processes(sample, occasion, near_peak=described is not None)
        self.series.add(told if self._keep_processes else sample)
        if composition is not None:
            told = told._replace(composition=composition)
        for tell in self._listeners:
            tell(told)

    def _described_at_peak(self, sample: Sample) -> Sample | None:
        """The sample with what lies inside it, where it is of the peak."""
        peak = self.at_peak
        if peak is not None and not is_near(sample, peak):
            return None
        described = sample._replace(composition=self._source.composition())
        if peak is None or is_at_peak(described, peak, self._source.resolution_bytes):
            return described
        return None

    def _tells_more(self, sample: Sample, occasion: Occasion | None) -> bool:
        """Whether a sample of the peak is better than what we have of it."""
        peak = self.at_peak
        if peak is None or sample.usage_bytes >= peak.usage_bytes:
            return True
        # A settled one may be lower: the kernel has given back what it charged in advance.
        is_better = sample.unexplained_bytes <= peak.unexplained_bytes
        return occasion is Occasion.SETTLED and is_better

    def _with_processes(self, sample: Sample, occasion: Occasion, *, near_peak: bool) -> Sample:
        """See who makes up the peak, where it is time for that; the sample, with them."""
        peak = self.at_peak
        # Its parts first, which are read again in a moment: a look takes longer.
        is_early = occasion is Occasion.RISING and self._is_unexplained(sample)
        if peak is None or is_early:
            return sample
        found = self.census.look(
            sample, occasion, near_peak=near_peak, notable_bytes=notable(sample.usage_bytes)
        )
        if not found:
            return sample
        told = sample._replace(processes=found, processes_elapsed_seconds=sample.elapsed_seconds)
        if near_peak:
            self.at_peak = peak.with_processes_of(told)
        return told

    def _is_unexplained(self, sample: Sample) -> bool:
        most = max(notable(sample.usage_bytes), self._source.resolution_bytes)
        return sample.unexplained_bytes > most

    def _fail(self, error: Exception) -> None:
        # The group is gone or speaks in riddles, or we have a defect: what was read
        # before stays true, and the report says where it ends.
        log.debug("sampling ended error=%r", error)
        self.failure = error
