"""What a picture of runs over time shows: plain values and words, before anything is drawn."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import NamedTuple

from cmemrun.analysis.metrics import METRICS
from cmemrun.errors import BadInput
from cmemrun.model import Process, Run, Sample
from cmemrun.report import words
from cmemrun.report.text import command_line, printable
from cmemrun.units import format_duration, format_size

__all__ = [
    "MOST_NAMED",
    "PIXELS",
    "Chart",
    "Level",
    "Line",
    "Point",
    "of_processes",
    "of_run",
    "of_runs",
    "thinned",
]

Point = tuple[float, int | None]
"""Seconds since the start and bytes, ``None`` where nobody knows."""


# As many as a screen has across the picture, about: finer is seen by nobody.
PIXELS = 800
_STRIP_PIXELS = 300
_MOST_PROCESSES = 8
MOST_NAMED = 12
_MOST_DOTS = 150
_PARTS = {
    "anon": "anon_bytes",
    "file": "file_bytes",
    "kernel": "kernel_bytes",
    "sockets": "sock_bytes",
}


class Line(NamedTuple):
    points: list[Point]
    label: str
    end: str = ""
    """Of the label; never shortened."""
    number: int | None = None
    """Decides its colour and its dashes; ``None`` for the colour of text."""
    dashed: bool = False
    dotted_at_points: bool = False
    highest: tuple[float, int] | None = None
    peak_bytes: int = 0
    """Where it has a mark: above its highest point, where that was not seen as high."""
    kills: Sequence[tuple[float, int]] = ()
    """When processes of it were OOM-killed, and how high it was then."""


class Level(NamedTuple):
    bytes: int
    label: str
    alarm: bool = True
    dashed: bool = False


class Chart(NamedTuple):
    """What is to be drawn; times are seconds since the start."""

    title: str
    subtitle: str
    span_seconds: float
    lines: list[Line]
    levels: list[Level]
    parts: Mapping[str, list[Point]] = {}
    """Upper edges by the name of the part, the lowest first."""
    highest: tuple[float, int] | None = None
    kills: Sequence[float] = ()
    stalls: Sequence[float] = ()
    """Shares of equal parts of the span, 0 to 1."""
    stalled_seconds: float = 0.0
    blind_from: float | None = None
    """From when on nobody looked."""
    more: str = ""
    """What the legend leaves out."""


def of_run(run: Run) -> Chart:
    samples = _in_order(run)
    chart = _frame(run, samples)
    lines = [_line(chart, samples, "usage", "usage_bytes")]
    if any(sample.working_set_bytes is not None for sample in samples):
        lines.append(_line(chart, samples, "working set", "working_set_bytes", dashed=True))
    return chart._replace(lines=lines, parts=_stack(samples, chart.span_seconds))


def of_processes(run: Run) -> Chart:
    samples = _in_order(run)
    looks = [sample for sample in samples if sample.processes]
    if not looks:
        raise BadInput("no processes were recorded", hint="run with --processes")
    chart = _frame(run, samples)
    seen: dict[int, list[Process]] = {}
    for look in looks:
        for process in look.processes:
            seen.setdefault(process.pid, []).append(process)
    by_size = sorted(seen.values(), key=lambda one: _highest(one)[1], reverse=True)
    lines = [_line(chart, samples, "usage of the group", "usage_bytes")]
    for number, one in enumerate(by_size[:_MOST_PROCESSES]):
        kind, size = _highest(one)
        # By its last name: before, it may have been the shell that became it.
        pid, name = one[-1].pid, command_line(one[-1].command) or printable(one[-1].name)
        lines.append(
            Line(
                thinned([_of_one(look, pid, kind) for look in looks], chart.span_seconds),
                f"{pid} {name}",
                f", {kind.removesuffix('_bytes').upper()} {format_size(size)}",
                number,
                dotted_at_points=len(one) <= _MOST_DOTS,
            )
        )
    more = len(by_size) - _MOST_PROCESSES
    end = _looked_at(looks[-1])
    return chart._replace(
        lines=lines,
        more=f"and {more} smaller" if more > 0 else "",
        blind_from=end if end < chart.span_seconds * 0.95 else None,
    )


def _of_one(look: Sample, pid: int, kind: str) -> Point:
    found = next((process for process in look.processes if process.pid == pid), None)
    return _looked_at(look), getattr(found, kind, None)


def _looked_at(look: Sample) -> float:
    seconds = look.processes_elapsed_seconds
    return look.elapsed_seconds if seconds is None else seconds


def _highest(one: Sequence[Process]) -> tuple[str, int]:
    """What is known of a process, PSS or else RSS, and how much it was at most."""
    known = [process.pss_bytes for process in one if process.pss_bytes is not None]
    if known:
        return "pss_bytes", max(known)
    return "rss_bytes", max(process.rss_bytes for process in one)


def of_runs(runs: Sequence[Run]) -> Chart:
    span = max(_span(run, run.samples) for run in runs)
    lines = []
    for number, run in enumerate(runs):
        samples = _in_order(run)
        points: list[Point] = [(sample.elapsed_seconds, sample.usage_bytes) for sample in samples]
        lines.append(
            Line(
                thinned(points, span),
                f"{number + 1}  {_command(run)}",
                f", {_peak(run)}{_waited(run)}",
                number,
                highest=_top(samples) or (run.at_peak.elapsed_seconds, run.peak_bytes),
                peak_bytes=run.peak_bytes,
                kills=[(at, _usage(run, samples, at)) for at in _kills(run, samples)],
            )
        )
    first, *others = runs
    levels = [one for one in _allowed(first) if all(one in _allowed(run) for run in others)]
    origin = [one for one in _origin(first) if all(one in _origin(run) for run in others)]
    same = all(run.command == first.command for run in others)
    more = len(runs) - MOST_NAMED
    return Chart(
        title=_command(first) if same else f"Memory usage of {len(runs)} runs",
        subtitle=" · ".join([f"{len(runs)} runs", *origin] if same else origin),
        span_seconds=span,
        lines=lines,
        levels=levels,
        more=f"and {more} more" if more > 0 else "",
    )


def _frame(run: Run, samples: Sequence[Sample]) -> Chart:
    """What is around the lines, whatever they are."""
    span = _span(run, samples)
    return Chart(
        title=_command(run),
        subtitle=" · ".join([*_origin(run), *_method(run)]),
        span_seconds=span,
        lines=[],
        levels=[Level(run.peak_bytes, _peak(run), alarm=False), *_allowed(run)],
        highest=_top(samples),
        kills=_kills(run, samples),
        stalls=_stalls(samples, span),
        stalled_seconds=_stalled_seconds(run),
    )


def _in_order(run: Run) -> list[Sample]:
    # A stranger's document may have them in any order.
    return sorted(run.samples, key=lambda sample: sample.elapsed_seconds)


def _span(run: Run, samples: Sequence[Sample]) -> float:
    return max(1e-4, run.wall_seconds, *(sample.elapsed_seconds for sample in samples))


def _top(samples: Sequence[Sample]) -> tuple[float, int] | None:
    """When usage was highest, of what was sampled, and how high."""
    if not samples:
        return None
    top = max(samples, key=lambda sample: sample.usage_bytes)
    return top.elapsed_seconds, top.usage_bytes


def _line(
    chart: Chart, samples: Sequence[Sample], label: str, name: str, *, dashed: bool = False
) -> Line:
    points = [(sample.elapsed_seconds, getattr(sample, name)) for sample in samples]
    return Line(thinned(points, chart.span_seconds), label, dashed=dashed)


def _stack(samples: Sequence[Sample], span_seconds: float) -> dict[str, list[Point]]:
    """Upper edges of the parts, each on those below; a part that nobody knows is left out."""
    edges = {}
    below: list[int | None] = [0] * len(samples)
    for label, name in _PARTS.items():
        sizes = [getattr(sample, name) for sample in samples]
        if any(sizes):
            below = [
                None if size is None or under is None else under + size
                for size, under in zip(sizes, below, strict=True)
            ]
            times = (sample.elapsed_seconds for sample in samples)
            edges[label] = thinned(list(zip(times, below, strict=True)), span_seconds)
    return edges


def _kills(run: Run, samples: Sequence[Sample]) -> list[float]:
    """When the kernel had counted an OOM kill more, none nearer to another than can be seen."""
    if run.events.oom_kill == 0:  # what was counted around us was of others
        return []
    looks = [*samples, run.at_exit]
    counts = [(look.elapsed_seconds, look.events.oom_kill) for look in looks]
    if run.events.oom_kill is not None:
        counts.append((looks[-1].elapsed_seconds, run.events.oom_kill))
    # A group that was there before may have counted some before.
    before = None if run.method.attached else 0
    kills: list[float] = []
    for seconds, count in counts:
        if count is None:
            continue
        if before is not None and count > before:
            near = kills and seconds - kills[-1] < _span(run, samples) / 200
            if not near:
                kills.append(seconds)
        before = count
    return kills


def _usage(run: Run, samples: Sequence[Sample], seconds: float) -> int:
    """What was used then, as far as somebody had looked."""
    seen = bisect_right(samples, seconds, key=lambda sample: sample.elapsed_seconds)
    return samples[seen - 1].usage_bytes if seen else run.peak_bytes


def _stalls(samples: Sequence[Sample], span_seconds: float) -> list[float]:
    """The share of time that somebody waited for memory, for equal parts of the span."""
    lost, width = [0.0] * _STRIP_PIXELS, span_seconds / _STRIP_PIXELS
    known = [(one.elapsed_seconds, one.pressure.some_seconds) for one in samples if one.pressure]
    for (begin, before), (end, after) in pairwise(known):
        grown = after - before
        if grown <= 0:
            continue
        # The kernel adds it up late at times: then it was lost earlier than in between.
        since = max(0.0, min(begin, end - grown))
        first = max(0, int(since / width))
        last = min(_STRIP_PIXELS - 1, int(end / width))
        for index in range(first, last + 1):
            inside = min(end, (index + 1) * width) - max(since, index * width)
            lost[index] += grown * max(0.0, inside) / max(end - since, 1e-9)
    return [min(1.0, one / width) for one in lost] if any(lost) else []


def _allowed(run: Run) -> list[Level]:
    levels = []
    if isinstance(run.limits.max_bytes, int):
        levels.append(Level(run.limits.max_bytes, f"limit {format_size(run.limits.max_bytes)}"))
    for budget in run.budgets:
        metric = METRICS.get(budget.metric)
        # What is no part of what is drawn has no height in it.
        if metric is not None and metric.part_of_usage:
            name = "" if metric.name == "peak" else f" {metric.name.replace('_', ' ')}"
            allowed = round(budget.allowed)
            levels.append(Level(allowed, f"budget{name} {format_size(allowed)}", dashed=True))
    return levels


def _peak(run: Run) -> str:
    return f"peak {'≥ ' if run.method.lower_bound else ''}{format_size(run.peak_bytes)}"


def _stalled_seconds(run: Run) -> float:
    return run.pressure.some_seconds if run.pressure else 0.0


def _waited(run: Run) -> str:
    seconds = _stalled_seconds(run)
    return f", stalled {format_duration(seconds)}" if seconds > 0 else ""


def _command(run: Run) -> str:
    return command_line(run.command) or printable(run.method.group)


def _origin(run: Run) -> list[str]:
    kernel = run.environment.kernel
    return [printable(run.method.backend), f"Linux {printable(kernel)}"]


def _method(run: Run) -> list[str]:
    kept, taken = len(run.samples), run.method.sample_count
    told = [f"{kept} of {taken} samples" if kept < taken else words.counted(kept, "sample")]
    if run.method.lower_bound:
        told.append("a LOWER BOUND")
    return told


def thinned(points: Sequence[Point], span_seconds: float) -> list[Point]:
    """What is seen of many points: the lowest and the highest of each pixel.

    A pixel in which nothing is known is a gap.
    """
    seen: list[Point] = []
    for _, inside in groupby(points, lambda point: int(point[0] / span_seconds * PIXELS)):
        first, *others = inside
        known = [point for point in (first, *others) if point[1] is not None]
        if known:
            seen += sorted({min(known, key=_bytes), max(known, key=_bytes)})
        else:
            seen.append(first)
    return seen


_bytes = itemgetter(1)
