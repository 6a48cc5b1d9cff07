"""From recorded runs to what to write into a manifest, each number with its rule."""

import math
from collections.abc import Iterator, Sequence
from statistics import quantiles
from typing import NamedTuple

from cmemrun.model import Run
from cmemrun.units import format_size

__all__ = ["Recommendation", "Rule", "limit_touched", "recommend"]

_MIB = 2**20

# robusta-dev/krr strategies/simple.py: memory_buffer_percentage, and over an OOM kill.
_KRR_MARGIN, _KRR_OOM_MARGIN = 1.15, 1.25
# autoscaler/vertical-pod-autoscaler: target-memory-percentile, recommendation-margin-fraction,
# oom-bump-up-ratio, oom-min-bump-up-bytes.
_VPA_PERCENTILE, _VPA_MARGIN = 90, 1.15
_VPA_OOM_RATIO, _VPA_OOM_BYTES = 1.2, 100 * _MIB
_GUIDES_LEAST, _GUIDES_MOST = 1.25, 1.5

_FEW_RUNS = 3
_MOSTLY_SHARE = 0.5
_SPREAD_SHARE = 0.2
_LATE_SHARE = 0.95
_STALLED_SHARE = 0.05


class Rule(NamedTuple):
    """What one tool or guide makes of the runs."""

    name: str
    request_bytes: int
    limit_bytes: int
    formula: str
    source: str


class Recommendation(NamedTuple):
    """``request_bytes`` and ``limit_bytes`` are of a Guaranteed pod, and equal.

    ``burstable_request_bytes`` with ``burstable_limit_bytes`` is the other way to
    have it. ``need_bytes`` is what it is all made from.
    """

    need_bytes: int
    request_bytes: int
    limit_bytes: int
    burstable_request_bytes: int
    burstable_limit_bytes: int
    rules: tuple[Rule, ...]
    warnings: tuple[str, ...]


def recommend(runs: Sequence[Run]) -> Recommendation:
    """Requests and limits for the program of these runs, one at least.

    From the highest working set: page cache that can be dropped at once needs no
    room. A run that touched its limit says only that more than that is needed, so
    nothing at or below such a limit is recommended.
    """
    needs = sorted(_need(run) for run in runs)
    need = needs[-1]
    touched = max((limit for run in runs if (limit := limit_touched(run))), default=0)
    killed = any(run.oom.verdict != "none" and run.oom.limit == "own" for run in runs)
    krr = _at_least(need * _KRR_MARGIN, touched * _KRR_OOM_MARGIN)
    percentile = _percentile(needs, _VPA_PERCENTILE)
    bumped = max(touched * _VPA_OOM_RATIO, touched + _VPA_OOM_BYTES) if touched else 0
    vpa = _at_least(percentile * _VPA_MARGIN, bumped)
    least = _at_least(need * _GUIDES_LEAST, touched * _GUIDES_LEAST)
    most = _at_least(need * _GUIDES_MOST, touched * _GUIDES_MOST)
    rules = [
        Rule(
            "KRR",
            krr,
            krr,
            "highest working set + 15 %"
            + (f", and {_KRR_OOM_MARGIN:g} x the limit that was touched" if touched else ""),
            "robusta-dev/krr strategies/simple.py",
        ),
        Rule(
            "VPA",
            vpa,
            vpa,
            f"{_VPA_PERCENTILE}th percentile of the runs + 15 %"
            + (", and over a limit that was touched 20 % or 100 MiB" if touched else ""),
            "kubernetes/autoscaler vertical-pod-autoscaler/pkg/recommender",
        ),
        Rule(
            "guides",
            _at_least(need, touched),
            most,
            "limit 1.25 to 1.5 x the highest working set",
            "container guides; here 1.5",
        ),
    ]
    return Recommendation(
        need_bytes=need,
        request_bytes=krr,
        limit_bytes=krr,
        burstable_request_bytes=_at_least(_percentile(needs, 50) * _KRR_MARGIN, 0),
        burstable_limit_bytes=max(least, krr),
        rules=tuple(rules),
        warnings=tuple(_warnings(runs, needs, killed=killed)),
    )


def limit_touched(run: Run) -> int | None:
    """The run's own limit in bytes, where it ran into that; ``None`` else."""
    limit = run.limits.max_bytes
    if not isinstance(limit, int):
        return None
    hit = bool(run.events.max) or run.peak_bytes >= limit - run.method.resolution_bytes
    return limit if hit else None


def _need(run: Run) -> int:
    """The highest working set; the peak where that was not seen."""
    seen = run.peaks.working_set_bytes
    # Between two looks it may have been higher than any sample, the peak says by how much.
    unseen = max(0, run.peak_bytes - run.at_peak.usage_bytes)
    return run.peak_bytes if seen is None else min(run.peak_bytes, seen + unseen)


def _warnings(runs: Sequence[Run], needs: Sequence[int], *, killed: bool) -> Iterator[str]:
    if len(runs) < _FEW_RUNS:
        many = "one run" if len(runs) == 1 else f"{len(runs)} runs"
        yield f"{many}: what varies between runs is not known; measure {_FEW_RUNS} and more"
    if any(run.method.lower_bound for run in runs):
        yield "the peak was sampled: a short higher one may have been missed"
    if any(run.method.backend == "proc" for run in runs):
        yield "measured without a group: page cache and kernel memory are left out"
    touched = max((limit for run in runs if (limit := limit_touched(run))), default=None)
    if touched is not None:
        yield (
            f"saturated: a run touched its limit of {format_size(touched)}, so its peak says"
            " nothing of what it needs; measure without a limit"
        )
    if killed:
        yield "the OOM killer struck at the limit: what is recommended is a guess above it"
    if any(_is_mostly_cache(run) for run in runs):
        yield (
            "the peak is mostly page cache, which shrinks under a limit, for the price of"
            " reading again; see how much by a run with the limit"
        )
    if any(_is_late(run) for run in runs):
        yield "usage was highest at the very end: it may grow on (a leak?); measure for longer"
    if needs[-1] - needs[0] > needs[-1] * _SPREAD_SHARE:
        least, most = format_size(needs[0]), format_size(needs[-1])
        yield f"the runs differ by more than a fifth: {least} to {most}"
    if any(run.exit.status for run in runs):
        yield "a run failed: it may have ended before it needed most"
    if any(run.method.attached for run in runs):
        yield "a group was watched for a while only: what came before is not known"
    if any(_is_stalled(run) for run in runs):
        yield "a run stalled waiting for memory: it needs more than it had"


def _is_mostly_cache(run: Run) -> bool:
    peak = run.at_peak
    cache = (peak.file_bytes or 0) - (peak.shmem_bytes or 0)
    return cache > peak.usage_bytes * _MOSTLY_SHARE


def _is_late(run: Run) -> bool:
    if len(run.samples) < 10:
        return False
    half = [one for one in run.samples if one.elapsed_seconds < run.wall_seconds / 2]
    before = max((one.usage_bytes for one in half), default=0)
    late = run.at_peak.elapsed_seconds > run.wall_seconds * _LATE_SHARE
    return late and run.at_peak.usage_bytes > before * _KRR_MARGIN


def _is_stalled(run: Run) -> bool:
    if run.pressure is None:
        return False
    return run.pressure.some_seconds > run.wall_seconds * _STALLED_SHARE


def _percentile(values: Sequence[int], percent: int) -> float:
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def _at_least(*sizes: float) -> int:
    """The largest, in whole MiB and rounded up."""
    return math.ceil(max(sizes) / _MIB) * _MIB
