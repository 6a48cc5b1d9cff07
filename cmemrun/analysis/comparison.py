"""Two sets of runs: is there a difference, and is it more than chance?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cmemrun.analysis.metrics import METRICS, Kind, Metric
from cmemrun.analysis.statistics import FEWEST, Spread, Statistics, bootstrap, counted, summarize
from cmemrun.errors import NotOffered
from cmemrun.model import Budget, Run

__all__ = ["Comparison", "Difference", "compare", "judge_growth"]

# Two times that differ by less are the same to whoever asks: a hundredth, or a millisecond.
_SAME_SHARE, _SAME_SECONDS = 0.01, 0.001

_DOUBT = ("exact", "sampled", "lower-bound")

NOT_COMPARABLE = "not comparable"


class Difference(NamedTuple):
    """One metric of two sets, in its unit; more is worse in all of them.

    ``verdict`` is ``same`` (the difference is, for certain, within what cannot be
    told apart), ``better``, ``worse``, or ``unclear``, with the ``reason``.
    """

    metric: str
    base: float
    """The median."""
    new: float
    interval: tuple[float, float] | None
    """Of the difference, by bootstrap; ``None`` for fewer than three runs of either."""
    verdict: str
    certainty: str
    """Of a single value of the new runs, as a budget has it."""
    reason: str | None = None

    @property
    def difference(self) -> float:
        """By how much the median has grown."""
        return self.new - self.base

    @property
    def share(self) -> float | None:
        """That, of the base; ``None`` where that is 0."""
        return self.difference / self.base if self.base else None

    def judge(self, share: float) -> Budget:
        """Growth by no more than a share, as a budget of the new runs.

        Measured is what the metric has grown to at least, so that chance breaks
        nothing: the lower end of the interval, with too few runs the median.
        """
        low, high = self.interval or (self.difference, self.difference)
        if self.verdict == "same":
            low, high = min(low, 0.0), min(high, 0.0)
        allowed = self.base * (1 + share)
        return Budget(
            metric=self.metric,
            allowed=allowed,
            measured=self.base + low,
            certainty=self.certainty if self.interval is None else "lower-bound",
            proven=self.base + high <= allowed,
        )


class Comparison(NamedTuple):
    """What has become of the metrics that both sets have."""

    differences: tuple[Difference, ...]
    base: Statistics
    new: Statistics


def judge_growth(comparison: Comparison, allowed: Mapping[str, float]) -> tuple[Budget, ...]:
    """How much some metrics may have grown, by their shares; ``NotOffered`` where none can tell."""
    found = {one.metric: one for one in comparison.differences}
    for metric in allowed:
        reason = found[metric].reason if metric in found else "not both have it"
        if metric not in found or (reason or "").startswith(NOT_COMPARABLE):
            raise NotOffered(
                f"the growth of {metric} cannot be judged: {reason}",
                hint="measure both in the same way",
            )
    return tuple(found[metric].judge(share) for metric, share in allowed.items())


def compare(base: Sequence[Run], new: Sequence[Run]) -> Comparison:
    """New runs against those of before; what was thrown off in either is left out."""
    before, after = summarize(base), summarize(new)
    spreads = {spread.metric: spread for spread in after.metrics}
    kept = [[runs[index] for index in counted(runs)[0]] for runs in (base, new)]
    ways = {_way(run) for run in (*base, *new)}
    statuses = {before.status, after.status}
    differences = []
    for spread in before.metrics:
        if other := spreads.get(spread.metric):
            metric = METRICS[spread.metric]
            interval = _interval(metric, *kept)
            verdict, reason = _verdict(metric, spread, other, interval)
            if len(ways) > 1 and metric.kind is Kind.BYTES:
                verdict = "unclear"
                reason = f"{NOT_COMPARABLE}: measured as {' and as '.join(sorted(ways))}"
            if len(statuses) > 1:
                verdict = "unclear"
                reason = f"{NOT_COMPARABLE}: one ends with {before.status}, one with {after.status}"
            differences.append(
                Difference(
                    metric=spread.metric,
                    base=spread.median,
                    new=other.median,
                    interval=interval,
                    verdict=verdict,
                    certainty=max((metric.certainty(run) for run in new), key=_DOUBT.index),
                    reason=reason,
                )
            )
    return Comparison(tuple(differences), before, after)


def _way(run: Run) -> str:
    """What makes sizes of two runs comparable."""
    if run.method.backend == "proc":
        return "memory of the processes, without a group"
    return "the kernel's peak" if run.method.peak_source == "kernel" else "the highest sample"


def _interval(
    metric: Metric, base: Sequence[Run], new: Sequence[Run]
) -> tuple[float, float] | None:
    """Of what the median has grown by, of runs that count; ``None`` where they are too few."""
    before, after = (
        [value for run in runs if (value := metric.of_run(run)) is not None] for runs in (base, new)
    )
    if min(len(before), len(after)) < FEWEST:
        return None
    return bootstrap(lambda median: median(after) - median(before))


def _verdict(
    metric: Metric, before: Spread, after: Spread, interval: tuple[float, float] | None
) -> tuple[str, str | None]:
    same = max(before.resolution, after.resolution)
    if metric.kind is Kind.SECONDS:
        same = max(before.median * _SAME_SHARE, _SAME_SECONDS)
    difference = after.median - before.median
    low, high = interval or (difference, difference)
    if -same <= low and high <= same:
        return "same", None
    if interval is None:
        return "unclear", "too few runs to tell a difference from chance"
    if low > same:
        return "worse", None
    if high < -same:
        return "better", None
    return "unclear", "the runs lie too far apart"
