"""What a run uses now, as rows for the bottom of a terminal; nothing here writes to one.

Every number has a fixed place and width, so that nothing moves but what changes.
"""

import io
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from cmemrun.model import Process, Run, Sample
from cmemrun.report.text import command_line, printable
from cmemrun.units import format_duration, format_size

__all__ = ["LEAST_COLUMNS", "LEAST_LINES", "View", "render", "rows_of"]

LEAST_COLUMNS = 40
LEAST_LINES = 12

_PROCESSES_FROM_LINES = ((40, 5), (20, 3), (LEAST_LINES, 1))
_OTHER_ROWS = 4

# Eyes do not follow longer lines, and what is written at once stays below 4 KiB.
_WIDEST = 160
_LONGEST_BAR = 50
_SHORTEST_BAR = 8
_LABEL_WIDTH = 8
_SIZE_WIDTH = 10  # 1023.9 MiB
_DURATION_WIDTH = 7  # 59.99 s

_LEVELS = "▁▂▃▄▅▆▇█"
# The finest that a column of the history is of; then twice that, and so on.
_FINEST_SECONDS = 0.1

_DIM = "dim"
# Parts differ by shade, too, for those who see no colours.
_ANON, _FILE, _REST, _FREE = ("█", "green"), ("▓", "blue"), ("▒", "magenta"), ("░", _DIM)
_MUCH, _TOO_MUCH = 0.75, 0.9


class View(NamedTuple):
    """All that is to be seen at a moment."""

    run: Run
    """As it was known before it started."""
    sample: Sample
    """The latest, with the processes last seen."""
    history: Sequence[Sample]
    """In order of time; the highest is among them."""
    elapsed_seconds: float


def rows_of(lines: int, columns: int) -> int:
    """How many rows a terminal of that size has for us; 0 where it is too small."""
    if columns < LEAST_COLUMNS:
        return 0
    return next((_OTHER_ROWS + many for least, many in _PROCESSES_FROM_LINES if lines >= least), 0)


def render(view: View, *, rows: int, columns: int, colour: bool) -> list[str]:
    """That many rows of text, each narrower than the terminal, with its colours where wanted."""
    # A row as wide as the terminal leaves it about to wrap.
    width = min(columns - 1, _WIDEST)
    lines = [_rule(view, columns - 1), _usage(view, width), _parts(view, width)]
    lines.append(_history(view, width))
    lines.extend(_processes(view.sample.processes, rows - _OTHER_ROWS))
    for line in lines:
        line.truncate(columns - 1, overflow="ellipsis")
    console = _console(columns, colour)
    with console.capture() as captured:
        # All at once, which takes half the time.
        console.print(Text("\n").join(lines), no_wrap=True, overflow="crop", crop=True)
    return captured.get().split("\n")[:rows]


@lru_cache(maxsize=1)
def _console(columns: int, colour: bool) -> Console:
    return Console(
        file=io.StringIO(),
        width=columns,
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
        highlight=False,
    )


def _rule(view: View, width: int) -> Text:
    """What sets us apart from the program's output, and how long it has run."""
    told = [("cmemrun", "bold")]
    if view.run.method.backend == "proc":
        told.append(("no group: a lower bound", "yellow"))
    if kills := view.sample.events.oom_kill:
        told.append((f"{kills} OOM kill{'s' if kills > 1 else ''}", "bold red"))
    time = f" {timedelta(seconds=int(view.elapsed_seconds))} ──"
    line = Text()
    for text, style in told:
        line.append("── ", _DIM).append(text, style).append(" ")
    line.append("─" * (width - cell_len(line.plain) - len(time)), _DIM)
    return line.append(time, _DIM)


def _usage(view: View, width: int) -> Text:
    """Usage beside its limit, or beside its peak where it has none."""
    usage, limit = view.sample.usage_bytes, view.run.limits.max_bytes
    peak = max((one.usage_bytes for one in view.history), default=usage)
    limited = isinstance(limit, int)
    whole = limit if isinstance(limit, int) else peak
    share = usage / whole if whole else 0.0
    line = _label("usage").append(_size(usage), "bold").append("  ")
    percent = f"{100 * share:3.0f} %"
    told = f" of {'limit' if limited else 'peak '} {_size(whole)}"
    more = f"   peak {_size(peak)}" if limited else ""
    left = width - cell_len(line.plain) - 2
    if left - len(percent + told + more) < _SHORTEST_BAR:
        more = ""
    if left - len(percent + told) < _SHORTEST_BAR:
        told = f" of {_size(whole)}"
    bar = min(left - len(percent + told + more), _LONGEST_BAR)
    if bar >= _SHORTEST_BAR:
        line.append_text(_bar(view.sample, whole, bar)).append("  ")
    return line.append(percent, _alarm(share) if limited else "").append(told + more)


def _bar(sample: Sample, whole_bytes: int, width: int) -> Text:
    """What usage is made of, and what is free."""
    usage = sample.usage_bytes
    # The kernel adds up the parts later than usage.
    anon = min(usage if sample.anon_bytes is None else sample.anon_bytes, usage)
    file = min(anon + (sample.file_bytes or 0), usage)
    line, filled = Text(), 0
    ends = ((anon, _ANON), (file, _FILE), (usage, _REST), (whole_bytes, _FREE))
    for end, (glyph, style) in ends:
        until = min(round(width * end / whole_bytes), width) if whole_bytes else width
        line.append(glyph * (until - filled), style)
        filled = max(filled, until)
    return line


def _parts(view: View, width: int) -> Text:
    sample = view.sample
    line = Text()
    for name, (glyph, style), size in (
        ("anon", _ANON, sample.anon_bytes),
        ("file", _FILE, sample.file_bytes),
        ("kernel", _REST, sample.kernel_bytes),
    ):
        cell = Text().append(glyph, style).append(f" {name} ", _DIM)
        if not line:
            cell.pad_right(_LABEL_WIDTH - cell_len(cell.plain))
        _append_cell(line, cell.append(_size(size)), width)
    pressure = sample.pressure
    stalled = "n/a" if pressure is None else format_duration(pressure.some_seconds)
    tasks = "n/a" if sample.tasks is None else str(sample.tasks)
    for name, text in (
        ("working set", _size(sample.working_set_bytes)),
        ("stalled", stalled.rjust(_DURATION_WIDTH)),
        ("tasks", tasks.rjust(4)),
    ):
        _append_cell(line, Text().append(f"{name} ", _DIM).append(text), width)
    return line


def _append_cell(line: Text, cell: Text, width: int) -> None:
    """Put another cell on a line, if there is room for it."""
    gap = "  " if line else ""
    if cell_len(line.plain) + len(gap) + cell_len(cell.plain) <= width:
        line.append(gap).append_text(cell)


def _history(view: View, width: int) -> Text:
    """Usage from the start to now, as the highest of each column's time.

    A column is of a fixed span, counted from the start, and twice as much once
    there are too many: so columns keep their places and heights.
    """
    columns = width - _LABEL_WIDTH
    span = _FINEST_SECONDS
    while view.elapsed_seconds >= span * columns:
        span *= 2
    heights: dict[int, int] = {}
    for one in view.history:
        column, usage = int(one.elapsed_seconds / span), one.usage_bytes
        if heights.get(column, -1) < usage:
            heights[column] = usage
    highest = max(heights.values(), default=0) or 1
    bars, height = [], 0
    for column in range(int(view.elapsed_seconds / span) + 1):
        # Where nothing was looked at, all was as before, as far as anybody knows.
        height = heights.get(column, height)
        bars.append(_LEVELS[height * (len(_LEVELS) - 1) // highest])
    return _label("history").append("".join(bars))


def _processes(processes: Sequence[Process], most: int) -> Iterator[Text]:
    """The largest, and empty rows where there are fewer."""
    by_size = sorted(processes, key=lambda process: (-_held(process), process.pid))
    for process in by_size[:most]:
        kind = "RSS" if process.pss_bytes is None else "PSS"
        # Twice the width cannot be more than the row that it is cut to.
        command = command_line(process.command, 2 * _WIDEST) or printable(process.name)
        yield (
            _label(str(process.pid))
            .append(_size(_held(process)))
            .append(f" {kind}  ", _DIM)
            .append(command)
        )
    for _ in range(most - len(by_size)):
        yield Text()


def _held(process: Process) -> int:
    return process.rss_bytes if process.pss_bytes is None else process.pss_bytes


def _alarm(share: float) -> str:
    if share >= _TOO_MUCH:
        return "bold red"
    return "yellow" if share >= _MUCH else ""


def _label(text: str) -> Text:
    return Text().append(set_cell_size(text, _LABEL_WIDTH), _DIM)


def _size(size_bytes: int | None) -> str:
    return ("n/a" if size_bytes is None else format_size(size_bytes)).rjust(_SIZE_WIDTH)
