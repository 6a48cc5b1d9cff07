"""Several runs of a command as numbers: what is typical, how far they lie apart."""

import random
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cmemrun.analysis.metrics import METRICS, Kind, Metric
from cmemrun.model import Run

__all__ = [
    "FEWEST",
    "LeftOut",
    "Spread",
    "Statistics",
    "bootstrap",
    "counted",
    "resolution",
    "summarize",
]

CONFIDENCE = 0.95
"""Of every interval."""

FEWEST = 3
"""Runs; fewer say nothing of how far others would lie apart."""

_RESAMPLES = 2000

# The modified z-score from which on a value is an outlier (Iglewicz and Hoaglin, How to
# Detect and Handle Outliers, 1993).
_OUTLYING, _MAD_TO_SIGMA = 3.5, 1.4826


class LeftOut(NamedTuple):
    """A run that is in no number, as something threw it off."""

    run: int
    """Counted from 0."""
    reason: str


class Spread(NamedTuple):
    """One metric of several runs, in its unit."""

    metric: str
    runs: int
    minimum: float
    median: float
    maximum: float
    interval: tuple[float, float] | None
    """Where the median of other such runs would be, by bootstrap; ``None`` for fewer than three."""
    outliers: tuple[int, ...]
    """Runs far from the others, counted from 0; they are in the numbers."""
    resolution: float
    """What two runs may differ by without any difference between them."""

    @property
    def spread(self) -> float:
        """How far the runs lie apart."""
        return self.maximum - self.minimum

    @property
    def is_beyond_resolution(self) -> bool:
        """Whether that is more than the kernel's counting explains."""
        return self.spread > self.resolution


class Statistics(NamedTuple):
    """What some runs have in common."""

    metrics: tuple[Spread, ...]
    """Those that every counted run has."""
    left_out: tuple[LeftOut, ...]
    status: int | None
    """What the program exits with in those that count."""


def summarize(runs: Sequence[Run]) -> Statistics:
    """The numbers of some runs, without those that were thrown off."""
    kept, left_out = counted(runs)
    spreads = []
    for metric in METRICS.values():
        values = [metric.of_run(runs[index]) for index in kept]
        told = [value for value in values if value is not None]
        if told and len(told) == len(values):
            spreads.append(_spread(metric, kept, told, [runs[index] for index in kept]))
    return Statistics(tuple(spreads), left_out, runs[kept[0]].exit.status if kept else None)


def counted(runs: Sequence[Run]) -> tuple[list[int], tuple[LeftOut, ...]]:
    """The runs that count, by their numbers, and those that were thrown off."""
    usual = _usual(runs)
    reasons = {index: _thrown_off(run, usual) for index, run in enumerate(runs)}
    left_out = tuple(LeftOut(index, why) for index, why in reasons.items() if why)
    return [index for index, why in reasons.items() if not why], left_out


def _usual(runs: Sequence[Run]) -> int | None:
    """The status of most; success where as many succeed as end with another."""
    statuses = Counter(run.exit.status for run in runs)
    return max(statuses, key=lambda one: (statuses[one], one == 0), default=None)


def _thrown_off(run: Run, usual: int | None) -> str | None:
    if run.oom.verdict not in ("none", "sigkill-not-oom"):
        return "the OOM killer struck"
    if run.exit.timed_out:
        return "it ran out of time"
    if run.exit.status != usual:
        return f"its status is {run.exit.status}, and that of most is {usual}"
    return None


def _spread(
    metric: Metric, kept: Sequence[int], values: Sequence[float], runs: Sequence[Run]
) -> Spread:
    finest = resolution(metric, runs)
    return Spread(
        metric=metric.name,
        runs=len(values),
        minimum=min(values),
        median=statistics.median(values),
        maximum=max(values),
        interval=bootstrap(lambda sample: sample(values)) if len(values) >= FEWEST else None,
        outliers=tuple(kept[index] for index in _outliers(values, finest)),
        resolution=finest,
    )


def resolution(metric: Metric, runs: Sequence[Run]) -> float:
    """What values of a metric may differ by because of how the kernel counts."""
    if metric.kind is Kind.BYTES:
        return max((run.method.resolution_bytes for run in runs), default=0)
    return 0.0


def bootstrap(
    statistic: Callable[[Callable[[Sequence[float]], float]], float],
) -> tuple[float, float]:
    """The percentile interval of something computed from medians of resampled values.

    ``statistic`` is given what makes a median of a resample of some values. The
    same values always give the same interval.
    """
    chance = random.Random(0)  # noqa: S311 (nothing is kept secret with it)

    def median(values: Sequence[float]) -> float:
        return statistics.median(chance.choices(values, k=len(values)))

    found = sorted(statistic(median) for _ in range(_RESAMPLES))
    outside = round(_RESAMPLES * (1 - CONFIDENCE) / 2)
    return found[outside], found[-1 - outside]


def _outliers(values: Sequence[float], finest: float) -> list[int]:
    middle = statistics.median(values)
    # Values that lie closer together than can be told are not told apart.
    usual = max(statistics.median(abs(value - middle) for value in values), finest / 2)
    if len(values) < FEWEST or not usual:
        return []
    far = _OUTLYING * _MAD_TO_SIGMA * usual
    return [index for index, value in enumerate(values) if abs(value - middle) > far]
