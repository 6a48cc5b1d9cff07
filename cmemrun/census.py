"""Who is in the group: looked at when it is worth it, within a share of one core."""

import time
from enum import Enum

from cmemrun.backends.base import Source
from cmemrun.kernel.bpf import maps_of
from cmemrun.kernel.process import largest
from cmemrun.model import BpfMap, Process, Sample

__all__ = ["Census", "Occasion"]

# For which share of one core; what was saved up may be spent at once, half of it
# kept for the refreshes. A look takes a millisecond or two on a fast machine, and
# a hundred on a slow one or where there are many or large processes.
_SHARE = 0.01
_BURST_SECONDS = 0.3
# What somebody asked for may cost more.
_MAPPINGS_FACTOR = 4

_MOST_PROCESSES = 20
_MOST_MAPS = 1000
# Descriptors are looked through for maps with the processes, and else this often:
# at every refresh of 10 ms that alone would take the whole share.
_MAPS_SECONDS = 0.5
_FROM_BYTES = 16 * 2**20


class Occasion(Enum):
    """What a sample was taken for."""

    REFRESH = "refresh"
    RISING = "rising"
    """Usage had made a new high."""
    SETTLED = "settled"
    """That high was seen again."""


class Census:
    """Looks at the processes when usage has doubled, or has settled a quarter above the
    last look, and at each refresh that finds it higher; at every refresh if they are tracked.
    """

    def __init__(self, source: Source, *, track: bool, mappings: bool) -> None:
        """``mappings``: also by what is mapped, which takes the kernel a longer walk."""
        self._source = source
        self._track = track
        self._mappings = mappings
        if mappings or track:
            # Else the first look would load it, and have spent its time on that.
            import psutil  # noqa: F401
        factor = _MAPPINGS_FACTOR if mappings else 1
        self._share, self._burst_seconds = _SHARE * factor, _BURST_SECONDS * factor
        self._saved_seconds = self._burst_seconds
        self._saved_until = 0.0
        self._usage_bytes = 0
        self.last: tuple[float | None, tuple[Process, ...]] = (None, ())
        """Who was there when we looked last, and when that was."""
        self._next_maps_seconds = 0.0
        self.bpf_maps: dict[int, BpfMap] = {}

    def look(
        self, sample: Sample, occasion: Occasion, *, near_peak: bool, notable_bytes: int
    ) -> tuple[Process, ...]:
        """The processes, the largest first; empty where it is not worth it or no time is left.

        ``notable_bytes`` is how much more than at the last look is worth another.
        """
        now = sample.elapsed_seconds
        self._saved_seconds += (now - self._saved_until) * self._share
        self._saved_seconds = min(self._saved_seconds, self._burst_seconds)
        self._saved_until = now
        refresh = occasion is Occasion.REFRESH
        tracked = self._track and refresh
        worth = tracked or (
            near_peak and self._is_worth(sample.usage_bytes, occasion, notable_bytes)
        )
        # Maps may come without a rise: what is kept for each CPU is in no group's usage.
        maps_are_due = refresh and now >= self._next_maps_seconds
        left = self._saved_seconds - (0.0 if refresh else self._burst_seconds / 2)
        if left <= 0 or not (worth or maps_are_due):
            return ()
        self._next_maps_seconds = now + _MAPS_SECONDS
        started = time.thread_time()
        found: tuple[Process, ...] = ()
        if worth:
            found = largest(self._source.members(), _MOST_PROCESSES, mappings=self._mappings)
            if found:
                self.last = now, found
            if found and near_peak:
                self._usage_bytes = sample.usage_bytes
        self._look_at_maps()
        self._saved_seconds -= time.thread_time() - started
        return found

    def _is_worth(self, usage: int, occasion: Occasion, notable_bytes: int) -> bool:
        before = self._usage_bytes
        if occasion is Occasion.RISING:
            return usage >= max(2 * before, _FROM_BYTES)
        if occasion is Occasion.SETTLED:
            return not before or usage >= max(before + before // 4, _FROM_BYTES)
        return usage >= before + notable_bytes

    def _look_at_maps(self) -> None:
        known = self.bpf_maps
        _, known_processes = self.last
        for process in known_processes:
            for one in maps_of(process.pid):
                if one.id in known or len(known) < _MOST_MAPS:
                    known[one.id] = max(known.get(one.id, one), one, key=_size)


def _size(one: BpfMap) -> int:
    return one.memlock_bytes
