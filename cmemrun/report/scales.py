"""Sizes and times along an axis: from where to where, and where the ticks are."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cmemrun.report.sheet import unit_of
from cmemrun.units import format_size

__all__ = ["Scale", "of_sizes", "of_times"]

# From so many times on that the largest is of the smallest, the others would be in a corner.
_LOG_SIZES, _LOG_TIMES = 16, 25

# What is nearer to each other than this share shall look near to each other.
_LEAST_SPAN = 0.2

# Of the width: so that what is outside of all sizes can be seen, and a name has a place.
_PAD_LEFT, _PAD_RIGHT = 0.09, 0.06
_HEADROOM = 1.14

_MOST_TICKS = 9
_ROUND_TIMES = [
    (number * seconds, f"{number} {unit}")
    for seconds, unit, numbers in (
        (1e-6, "µs", (1, 10, 100)),
        (1e-3, "ms", (1, 10, 100)),
        (1.0, "s", (1, 10)),
        (60.0, "min", (1, 10)),
        (3600.0, "h", (1, 10)),
        (86400.0, "d", (1, 10, 100, 1000, 10_000)),
    )
    for number in numbers
]


class Scale(NamedTuple):
    """What an axis shows."""

    low: float
    high: float
    is_log: bool
    ticks: dict[float, str]
    label: str

    def across(self, value: float) -> float:
        """Where something is between the ends, 0 to 1."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def of_sizes(sizes: Sequence[int]) -> Scale:
    """All the sizes, with ticks that are round in binary."""
    least, most = max(1, min(sizes)), max(1, *sizes)
    if most > least * _LOG_SIZES:
        powers = math.log2(most / least)
        low = max(1.0, least / 2 ** (powers * _PAD_LEFT))
        high = most * 2 ** (powers * _PAD_RIGHT)
        first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
        step = (last - first) // _MOST_TICKS + 1
        ticks = {2.0**power: _short(2**power) for power in range(first, last + 1, step)}
        return Scale(low, high, True, ticks, "memory limit (log scale)")
    span = max(most - least, most * _LEAST_SPAN)
    high = most + span * _PAD_RIGHT
    low = max(0.0, min(least - span * _PAD_LEFT, high * (1 - _LEAST_SPAN)))
    step = 1
    while (high - low) / step > _MOST_TICKS:
        step *= 2
    # In the unit of the steps: 1.02 and 1.03 GiB look the same in any larger one.
    unit = 1024 ** int(math.log2(step * 2) // 10)
    places = range(math.ceil(low / step) * step, int(high) + 1, step)
    ticks = {float(size): f"{size / unit:.10g}" for size in places}
    return Scale(low, high, False, ticks, f"memory limit, {format_size(unit).split()[1]}")


def of_times(times: Sequence[float], usual: float) -> Scale:
    """All the times, in seconds, from 0 if ``usual`` can be told from that."""
    most = max(1e-6, *times)
    if most > max(1e-6, usual) * _LOG_TIMES:
        low = max(1e-6, min(times)) / 1.6
        high = most * (most / low) ** (_HEADROOM - 1)
        seen = [tick for tick in _ROUND_TIMES if low <= tick[0] <= high]
        ticks = dict(seen[:: len(seen) // _MOST_TICKS + 1])
        return Scale(low, high, True, ticks, "wall time (log scale)")
    unit_seconds, unit = unit_of(most)
    high = most * _HEADROOM
    step = _round_step(high / unit_seconds)
    ticks = {
        index * step * unit_seconds: f"{index * step:.10g}"
        for index in range(int(high / unit_seconds / step) + 1)
    }
    return Scale(0.0, high, False, ticks, f"wall time, {unit}")


def _round_step(top: float) -> float:
    """1, 2 or 5 of a power of ten, for a few ticks up to ``top``."""
    power = 10.0 ** math.floor(math.log10(top / 5))
    return next(step * power for step in (1, 2, 5, 10) if top / (step * power) <= 6)


def _short(size_bytes: int) -> str:
    return format_size(size_bytes).replace(".0 ", " ")
