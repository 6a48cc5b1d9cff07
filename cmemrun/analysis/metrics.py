"""What of a run can be asserted and compared: a name, where it stands, how exact it is."""

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from cmemrun.errors import BadInput
from cmemrun.model import Run, Sample
from cmemrun.units import format_duration, format_size, parse_duration, parse_size

__all__ = ["METRICS", "Kind", "Metric", "find_metric", "missing"]


class Kind(Enum):
    """What a metric is counted in."""

    BYTES = "bytes"
    SECONDS = "seconds"
    COUNT = "count"

    def parse(self, text: str) -> float:
        """A value as people write it; ``BadInput`` where it is none."""
        if self is Kind.BYTES:
            return parse_size(text)
        if self is Kind.SECONDS:
            return parse_duration(text)
        if not text.isdecimal() or not text.isascii() or len(text) > 9:
            raise BadInput(f"{text!r} is no count", hint="write 0, or 12")
        return int(text)

    def tell(self, value: float) -> str:
        """The value for people to read, with its sign."""
        sign, size = "-" if value < 0 else "", abs(value)
        if self is Kind.BYTES:
            return sign + format_size(round(size))
        return sign + (format_duration(size) if self is Kind.SECONDS else f"{size:g}")


class Metric(NamedTuple):
    """One quantity of a run."""

    name: str
    """In an assertion."""
    field: str
    """In a document, with its unit."""
    kind: Kind
    of_run: Callable[[Run], float | None]
    of_sample: Callable[[Sample], Any]
    """What of a group's first sample is ``None`` where this is not offered."""
    certainty: Callable[[Run], str]
    """``exact``, ``sampled`` (the highest of the samples) or ``lower-bound``."""
    part_of_usage: bool = False
    """So that it is never above the peak."""

    def at_most(self, run: Run) -> float | None:
        """What it was not above, for certain; ``None`` where nobody knows."""
        if self.certainty(run) == "exact":
            return self.of_run(run)
        if not self.part_of_usage:
            return None
        return run.upper_bound_bytes if run.method.lower_bound else run.peak_bytes


def _exact(run: Run) -> str:
    return "exact"


def _as_the_peak(run: Run) -> str:
    return "lower-bound" if run.method.lower_bound else "exact"


def _as_the_samples(run: Run) -> str:
    # Without a group even a sample leaves something out.
    return "lower-bound" if run.method.backend == "proc" else "sampled"


def _always(sample: Sample) -> Any:
    return True


def _size(name: str) -> Metric:
    """The highest of a part of usage in any sample."""
    field = f"{name}_bytes"
    return Metric(
        name,
        f"peak_{field}",
        Kind.BYTES,
        lambda run: getattr(run.peaks, field),
        lambda sample: getattr(sample, field),
        _as_the_samples,
        part_of_usage=name != "swap",
    )


def _stalled(run: Run) -> float | None:
    return None if run.pressure is None else run.pressure.some_seconds


def _cpu(run: Run) -> float | None:
    if run.cpu_user_seconds is None or run.cpu_system_seconds is None:
        return None
    return run.cpu_user_seconds + run.cpu_system_seconds


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "peak",
            "peak_bytes",
            Kind.BYTES,
            lambda run: run.peak_bytes,
            _always,
            _as_the_peak,
            part_of_usage=True,
        ),
        *map(_size, ("working_set", "anon", "file", "kernel", "swap")),
        Metric(
            "tasks",
            "peak_tasks",
            Kind.COUNT,
            lambda run: run.peaks.tasks,
            lambda sample: sample.tasks,
            _as_the_samples,
        ),
        Metric(
            "stall",
            "stall_seconds",
            Kind.SECONDS,
            _stalled,
            lambda sample: sample.pressure,
            _exact,
        ),
        Metric("wall", "wall_seconds", Kind.SECONDS, lambda run: run.wall_seconds, _always, _exact),
        Metric("cpu", "cpu_seconds", Kind.SECONDS, _cpu, _always, _exact),
        Metric(
            "oom_kill",
            "oom_kill",
            Kind.COUNT,
            lambda run: run.events.oom_kill,
            lambda sample: sample.events.oom_kill,
            _exact,
        ),
    )
}
"""By name, in the order they are shown."""


def find_metric(name: str) -> Metric:
    """The metric of this name; ``BadInput`` with those that there are."""
    if name not in METRICS:
        raise BadInput(f"{name!r} is nothing we measure", hint=f"one of {', '.join(METRICS)}")
    return METRICS[name]


def missing(names: tuple[str, ...], sample: Sample) -> list[str]:
    """Those of some metrics that a group, as its first sample shows, does not offer."""
    return [name for name in names if METRICS[name].of_sample(sample) is None]
