"""Several runs of a command, and two sets of them, as a person reads them."""

import io
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmemrun.analysis.budget import budgets_of
from cmemrun.analysis.comparison import Comparison, Difference
from cmemrun.analysis.metrics import METRICS, Kind
from cmemrun.analysis.statistics import Spread, Statistics, summarize
from cmemrun.model import Measurement, Run
from cmemrun.report import words
from cmemrun.report.text import command_line, for_people, printable, shortened

__all__ = ["render", "render_comparison"]

# Of a log, or a file.
_WIDTH = 110
_NARROWEST, _ROOMY = 80, 95
_LABEL_WIDTH = 13
_VERDICTS = {"same": "dim", "better": "green", "worse": "bold red", "unclear": "yellow"}


def render(measurements: Sequence[Measurement], *, colour: bool, width: int | None = None) -> str:
    """A table for each, ending in a newline; ``colour`` only for a terminal, whose ``width`` it is.

    ``None`` where it is for none.
    """
    width = width or _WIDTH
    parts = [Group(*_measurement(one, width)) for one in measurements]
    return _rendered(parts, colour, width)


def render_comparison(
    base: Measurement,
    new: Measurement,
    comparison: Comparison,
    *,
    colour: bool,
    width: int | None = None,
) -> str:
    """What has become of each metric, likewise."""
    width = width or _WIDTH
    return _rendered([Group(*_comparison(base, new, comparison, width))], colour, width)


def _rendered(parts: Sequence[RenderableType], colour: bool, width: int) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=max(width, _NARROWEST), highlight=False, force_terminal=colour
    )
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(part)
    # Rich fills its cells up with spaces.
    return for_people("".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines()))


def _measurement(measurement: Measurement, width: int) -> Iterator[RenderableType]:
    runs = measurement.runs
    yield from _subject("cmemrun", measurement)
    statistics = summarize(runs)
    yield _row("runs", Text(_counted(statistics, runs)))
    yield from _left_out(statistics)
    yield Text()
    yield _spreads(statistics, width)
    notes = [*_notes(statistics)]
    budgets = budgets_of(measurement)
    if budgets or notes:
        yield Text()
    for budget in budgets:
        style = "green" if budget.passed else "bold red"
        yield _row("budget", Text(printable(words.budget(budget)), style))
    for note in notes:
        yield _row("note", Text(note))


def _subject(label: str, measurement: Measurement) -> Iterator[RenderableType]:
    command = command_line(measurement.runs[0].command)
    yield _row(label, Text(shortened(printable(measurement.name)), "bold"))
    if shortened(measurement.name) != command:
        yield _row("", Text(command))


def _counted(statistics: Statistics, runs: Sequence[Run]) -> str:
    without = len(statistics.left_out)
    told = f"{len(runs) - without} of {len(runs)}, without" if without else str(len(runs))
    return told if without else f"{told}, peaks by {words.peak_source(runs[0])}"


def _left_out(statistics: Statistics) -> Iterator[RenderableType]:
    for one in statistics.left_out:
        yield _row("", Text(f"run {one.run + 1}: {one.reason}", "yellow"))


def _spreads(statistics: Statistics, width: int) -> Table:
    table = _table(width, "", "median", "95 % interval", "lowest", "highest", "spread")
    for spread in statistics.metrics:
        if not spread.maximum:
            continue
        tell = METRICS[spread.metric].kind.tell
        between = "" if spread.interval is None else _between(spread.metric, spread.interval)
        table.add_row(
            spread.metric.replace("_", " "),
            Text(tell(spread.median), "bold"),
            between,
            tell(spread.minimum),
            tell(spread.maximum),
            Text(tell(spread.spread), "" if spread.is_beyond_resolution else "dim"),
        )
    return table


def _notes(statistics: Statistics) -> Iterator[str]:
    for spread in statistics.metrics:
        if spread.outliers:
            runs = ", ".join(str(run + 1) for run in spread.outliers)
            yield f"{spread.metric}: far from the others is run {runs}"
    peak = _of("peak", statistics)
    if peak is not None and peak.runs > 1 and not peak.is_beyond_resolution:
        finest = Kind.BYTES.tell(peak.resolution)
        yield f"the peaks lie closer together than the kernel's counting can tell ({finest})"


def _of(metric: str, statistics: Statistics) -> Spread | None:
    return next((one for one in statistics.metrics if one.metric == metric), None)


def _comparison(
    base: Measurement, new: Measurement, found: Comparison, width: int
) -> Iterator[RenderableType]:
    for label, side, statistics in (("base", base, found.base), ("new", new, found.new)):
        yield from _subject(label, side)
        count, without = len(side.runs), len(statistics.left_out)
        counted = f"{count - without} of {count} runs" if without else f"{count} runs"
        yield _row("", Text(counted if count > 1 else "1 run"))
        yield from _left_out(statistics)
    yield Text()
    table = _table(width, "", "base", "new", "difference", "", "95 % interval")
    table.add_column("verdict", no_wrap=True)
    for one in found.differences:
        if not one.base and not one.new:
            continue
        tell = METRICS[one.metric].kind.tell
        table.add_row(
            one.metric.replace("_", " "),
            tell(one.base),
            tell(one.new),
            _signed(one),
            "" if one.share is None else format(one.share, "+.1%"),
            "" if one.interval is None else _between(one.metric, one.interval),
            Text(one.verdict, _VERDICTS[one.verdict]),
        )
    yield table
    reasons = dict.fromkeys(one.reason for one in found.differences if one.reason)
    if reasons:
        yield Text()
    for reason in reasons:
        of = ", ".join(one.metric for one in found.differences if one.reason == reason)
        yield _row("unclear", Text(f"{of}: {reason}"))


def _signed(one: Difference) -> str:
    told = METRICS[one.metric].kind.tell(one.difference)
    return f"+{told}" if one.difference > 0 else told


def _between(metric: str, interval: tuple[float, float]) -> str:
    low, high = map(METRICS[metric].kind.tell, interval)
    number, _, unit = low.partition(" ")
    return f"{number if unit and high.endswith(f' {unit}') else low} to {high}"


def _table(width: int, first: str, *others: str) -> Table:
    apart = 2 if width >= _ROOMY else 1
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, apart, 0, 0))
    table.add_column(first, no_wrap=True, min_width=_LABEL_WIDTH - apart)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _row(label: str, text: Text) -> Table:
    row = Table.grid()
    row.add_column(width=_LABEL_WIDTH, style="dim", no_wrap=True)
    row.add_column()
    row.add_row(label, text)
    return row
