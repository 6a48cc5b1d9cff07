"""Runs over time as a picture: for a report, a ticket, what CI keeps of a job.

First a run becomes a chart, plain values and words; then that is drawn. matplotlib
is loaded by what draws only, and without pyplot, which would be state of the whole
process. What it draws depends on the runs alone: not on a matplotlibrc, not on the
machine's fonts, not on the time.

The colours are those of Okabe and Ito, which people see apart who do not see all
colours (https://jfly.uni-koeln.de/color/), darker where light lines lie on them.
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from cmemrun.errors import BadInput
from cmemrun.model import Process, Run, Sample
from cmemrun.report.text import command_line, printable
from cmemrun.units import format_duration, format_size

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "THEMES", "draw", "render", "thinned"]

FORMATS = ("svg", "png", "pdf")

Point = tuple[float, int | None]
"""Seconds since the start and bytes, ``None`` where nobody knows."""


class Theme(NamedTuple):
    """What is drawn in which colour."""

    background: str
    text: str
    dim: str
    grid: str
    alarm: str
    stall: str
    parts: Mapping[str, str]
    lines: tuple[str, ...]


THEMES = {
    "light": Theme(
        background="#ffffff",
        text="#1b1f24",
        dim="#59636e",
        grid="#e3e6e9",
        alarm="#c24e00",
        stall="#a34f80",
        parts={"anon": "#56b4e9", "file": "#e69f00", "kernel": "#009e73", "sockets": "#cc79a7"},
        lines=(
            "#0072b2", "#d55e00", "#009e73", "#b0588a", "#b57d00", "#3a9bd6", "#1b1f24", "#8a8f98",
        ),
    ),
    "dark": Theme(
        background="#14171c",
        text="#e8eaed",
        dim="#a0a8b2",
        grid="#2c323a",
        alarm="#ff8a3d",
        stall="#dd93bb",
        parts={"anon": "#0072b2", "file": "#a87400", "kernel": "#00805d", "sockets": "#a15f84"},
        lines=(
            "#56b4e9", "#f07c2e", "#1fc796", "#dd93bb", "#e69f00", "#f0e442", "#e8eaed", "#8a929c",
        ),
    ),
}  # fmt: skip

# As many as a screen has across the picture, about: finer is seen by nobody.
_PIXELS = 800
_STRIP_PIXELS = 300
# A limit this many times as high as what was used would leave that flat.
_HIGHEST_LEVEL = 2.0
_MOST_PROCESSES = 8
_MOST_NAMED = 12
_PARTS = {
    "anon": "anon_bytes",
    "file": "file_bytes",
    "kernel": "kernel_bytes",
    "sockets": "sock_bytes",
}
_STYLES = ("-", "--", ":")


class _Line(NamedTuple):
    points: list[Point]
    label: str
    colour: int | None
    """Of the theme's lines; ``None`` for that of its text."""
    style: str = "-"
    width: float = 1.4
    peak: tuple[float, int] | None = None
    """Where it has its mark."""


class _Level(NamedTuple):
    bytes: int
    label: str
    alarm: bool = True
    style: str = "-"


class _Chart(NamedTuple):
    """What is to be drawn; times are seconds since the start."""

    title: str
    subtitle: str
    span_seconds: float
    lines: list[_Line]
    levels: list[_Level]
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


def render(
    runs: Sequence[Run], name: str, *, theme: str = "light", processes: bool = False
) -> bytes:
    """One run, or several over each other, as a file of the format ``name``.

    Raises ``BadInput`` without matplotlib, and as ``draw`` does.
    """
    with _settings():
        figure = draw(runs, theme=theme, processes=processes)
        file = io.BytesIO()
        title = figure.texts[0].get_text()
        metadata: dict[str, dict[str, str | None]] = {
            "svg": {"Title": title, "Creator": "cmemrun", "Date": None},
            "png": {"Title": title, "Software": "cmemrun"},
            "pdf": {"Title": title, "Creator": "cmemrun", "CreationDate": None},
        }
        figure.savefig(file, format=name, dpi=160, metadata=metadata[name])
    return file.getvalue()


def draw(runs: Sequence[Run], *, theme: str = "light", processes: bool = False) -> "Figure":
    """The picture that ``render`` writes.

    ``processes`` is a line for each of the largest processes, of one run. Raises
    ``BadInput`` where they were not recorded, and where there are several runs.
    """
    if not processes:
        chart = _one(runs[0]) if len(runs) == 1 else _several(runs)
    elif len(runs) == 1:
        chart = _of_processes(runs[0])
    else:
        raise BadInput(
            f"the processes of {len(runs)} runs do not fit into one picture",
            hint="plot one run with --processes",
        )
    with _settings():
        return _Drawing(chart, THEMES[theme]).figure


def thinned(points: Sequence[Point], span_seconds: float) -> list[Point]:
    """What is seen of many points: the lowest and the highest of each pixel.

    A pixel in which nothing is known is a gap.
    """
    seen: list[Point] = []
    for _, inside in groupby(points, lambda point: int(point[0] / span_seconds * _PIXELS)):
        first, *others = inside
        known = [point for point in (first, *others) if point[1] is not None]
        if known:
            seen += sorted({min(known, key=_bytes), max(known, key=_bytes)})
        else:
            seen.append(first)
    return seen


_bytes = itemgetter(1)


# From here on runs become charts.


def _one(run: Run) -> _Chart:
    samples = _in_order(run)
    chart = _frame(run, samples)
    lines = [_line(chart, samples, "usage", "usage_bytes", None)]
    if any(sample.working_set_bytes is not None for sample in samples):
        lines.append(
            _line(chart, samples, "working set", "working_set_bytes", None, (0, (2, 1.5)))
        )
    return chart._replace(lines=lines, parts=_stack(samples, chart.span_seconds))


def _of_processes(run: Run) -> _Chart:
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
    lines = [_line(chart, samples, "usage of the group", "usage_bytes", None)]
    for number, one in enumerate(by_size[:_MOST_PROCESSES]):
        kind, highest = _highest(one)
        points = []
        for look in looks:
            found = next((each for each in look.processes if each.pid == one[0].pid), None)
            when = look.processes_elapsed_seconds
            seconds = look.elapsed_seconds if when is None else when
            points.append((seconds, getattr(found, kind, None)))
        last = one[-1]
        name = command_line(last.command, 120) or printable(last.name)
        label = f"{last.pid} {name}"
        size = f"{kind[:3].upper()} {format_size(highest)}"
        lines.append(
            _Line(thinned(points, chart.span_seconds), f"{label}\0, {size}", number, width=1.8)
        )
    more = len(by_size) - _MOST_PROCESSES
    end = points[-1][0]
    return chart._replace(
        lines=lines,
        more=f"and {more} smaller ones" if more > 0 else "",
        blind_from=end if end < chart.span_seconds * 0.95 else None,
    )


def _highest(one: Sequence[Process]) -> tuple[str, int]:
    """What is known of a process, PSS or else RSS, and how much it was at most."""
    known = [process.pss_bytes for process in one if process.pss_bytes is not None]
    if known:
        return "pss_bytes", max(known)
    return "rss_bytes", max(process.rss_bytes for process in one)


def _several(runs: Sequence[Run]) -> _Chart:
    span = max(_span(run, run.samples) for run in runs)
    lines = []
    commands = {run.command for run in runs}
    for number, run in enumerate(runs):
        samples = _in_order(run)
        points: list[Point] = [(sample.elapsed_seconds, sample.usage_bytes) for sample in samples]
        top = max(samples, key=lambda sample: sample.usage_bytes, default=run.at_peak)
        lines.append(
            _Line(
                thinned(points, span),
                f"{number + 1}  {_command(run, 120)}\0, {_peak(run)}",
                number % len(THEMES["light"].lines),
                _STYLES[number // len(THEMES["light"].lines) % len(_STYLES)],
                1.6,
                (top.elapsed_seconds, run.peak_bytes),
            )
        )
    levels = [level for level in _allowed(runs[0]) if all(level in _allowed(run) for run in runs)]
    same = len(commands) == 1
    more = len(runs) - _MOST_NAMED
    return _Chart(
        title=_command(runs[0]) if same else f"Memory usage of {len(runs)} runs",
        subtitle=" · ".join(
            ([f"{len(runs)} runs"] if same else [])
            + [word for word in _origin(runs[0]) if all(word in _origin(run) for run in runs)]
        ),
        span_seconds=span,
        lines=lines,
        levels=levels,
        more=f"and {more} more" if more > 0 else "",
    )


def _frame(run: Run, samples: Sequence[Sample]) -> _Chart:
    """What is around the lines, whatever they are."""
    span = _span(run, samples)
    top = max(samples, key=lambda sample: sample.usage_bytes, default=None)
    return _Chart(
        title=_command(run),
        subtitle=" · ".join([*_origin(run), *_method(run)]),
        span_seconds=span,
        lines=[],
        levels=[_Level(run.peak_bytes, _peak(run), alarm=False), *_allowed(run)],
        highest=(top.elapsed_seconds, top.usage_bytes) if top else None,
        kills=_kills(run, samples),
        stalls=_stalls(samples, span),
        stalled_seconds=run.pressure.some_seconds if run.pressure else 0.0,
    )


def _in_order(run: Run) -> list[Sample]:
    # A stranger's document may have them in any order.
    return sorted(run.samples, key=lambda sample: sample.elapsed_seconds)


def _span(run: Run, samples: Sequence[Sample]) -> float:
    return max(1e-4, run.wall_seconds, *(sample.elapsed_seconds for sample in samples))


def _line(
    chart: _Chart,
    samples: Sequence[Sample],
    label: str,
    name: str,
    colour: int | None,
    style: Any = "-",
) -> _Line:
    points = [(sample.elapsed_seconds, getattr(sample, name)) for sample in samples]
    return _Line(thinned(points, chart.span_seconds), label, colour, style)


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


def _stalls(samples: Sequence[Sample], span_seconds: float) -> list[float]:
    """The share of time that somebody waited for memory, for equal parts of the span."""
    lost, width = [0.0] * _STRIP_PIXELS, span_seconds / _STRIP_PIXELS
    known = [(one.elapsed_seconds, one.pressure.some_seconds) for one in samples if one.pressure]
    for (begin, before), (end, after) in pairwise(known):
        grown = after - before
        if grown <= 0:
            continue
        # The kernel adds it up late at times: then it was lost earlier than in between.
        begin = max(0.0, min(begin, end - grown))
        first = max(0, int(begin / width))
        last = min(_STRIP_PIXELS - 1, int(end / width))
        for index in range(first, last + 1):
            inside = min(end, (index + 1) * width) - max(begin, index * width)
            lost[index] += grown * max(0.0, inside) / max(end - begin, 1e-9)
    return [min(1.0, one / width) for one in lost] if any(lost) else []


def _allowed(run: Run) -> list[_Level]:
    levels = []
    if isinstance(run.limits.max_bytes, int):
        levels.append(_Level(run.limits.max_bytes, f"limit {format_size(run.limits.max_bytes)}"))
    for budget in run.budgets:
        if budget.metric == "peak":
            label = f"budget {format_size(budget.allowed)}"
            levels.append(_Level(budget.allowed, label, style="--"))
    return levels


def _peak(run: Run) -> str:
    return f"peak {'≥ ' if run.method.lower_bound else ''}{format_size(run.peak_bytes)}"


def _command(run: Run, width: int = 200) -> str:
    return command_line(run.command, width) or printable(run.method.group)


def _origin(run: Run) -> list[str]:
    kernel = run.environment.kernel
    return [printable(run.method.backend), f"Linux {printable(kernel)}"]


def _method(run: Run) -> list[str]:
    words = [f"{len(run.samples)} of {run.method.sample_count} samples"]
    if len(run.samples) == run.method.sample_count:
        words = [f"{run.method.sample_count} samples"]
    if run.method.lower_bound:
        words.append("a LOWER BOUND")
    return words


# From here on charts are drawn. Lengths are inches, sizes of type are points.

_WIDTH, _LEFT, _RIGHT = 10.0, 0.95, 1.45
_PLOT_HEIGHT, _STRIP_HEIGHT = 3.7, 0.3
_ROW = 0.21
_SMALL, _NORMAL, _LARGE = 8.5, 9.0, 12.0

_TIMES = (
    (1.0, 1e-3, "milliseconds"),
    (180.0, 1.0, "seconds"),
    (3 * 3600.0, 60.0, "minutes"),
    (3 * 86400.0, 3600.0, "hours"),
    (math.inf, 86400.0, "days"),
)
"""Spans up to which a unit is taken, in seconds, and the unit's seconds and name."""


@contextmanager
def _settings() -> Iterator[None]:
    """matplotlib as it comes, whatever somebody's matplotlibrc says, and ``$`` is a dollar."""
    try:
        import matplotlib
    except ImportError as error:
        raise BadInput(
            f"a plot needs matplotlib, which cannot be loaded: {error}",
            hint="pip install 'cmemrun[plot]'",
        ) from error
    settings = {
        name: value
        for name, value in matplotlib.rcParamsDefault.items()
        if not name.startswith("backend")
    }
    with matplotlib.rc_context(
        settings
        | {
            "text.parse_math": False,
            "font.family": ["DejaVu Sans"],  # which comes with matplotlib
            "font.size": _NORMAL,
            "svg.hashsalt": "cmemrun",
            "svg.fonttype": "path",  # the same wherever it is shown
            "pdf.fonttype": 42,  # text that can be searched
        }
    ):
        yield


class _Drawing:
    def __init__(self, chart: _Chart, theme: Theme) -> None:
        from matplotlib.figure import Figure

        self.chart, self.theme = chart, theme
        self.font = _Font()
        self.unit_seconds, self.unit = next(
            (seconds, name) for most, seconds, name in _TIMES if chart.span_seconds <= most
        )
        self.entries: list[tuple[Artist, str]] = []
        self.in_rows = not chart.parts and len(chart.lines) > 1
        rows = min(len(chart.lines), _MOST_NAMED) + bool(chart.more) if self.in_rows else 1
        strip = _STRIP_HEIGHT + 0.12 if chart.stalls else 0.0
        # From the top: title, subtitle, legend, a row for marks, the plot, its ticks.
        above = 0.74 + rows * _ROW + 0.3
        self.height = above + _PLOT_HEIGHT + strip + 0.55
        self.figure = Figure((_WIDTH, self.height), facecolor=theme.background)
        self._head()
        bottom = self.height - above - _PLOT_HEIGHT
        self.axes = self._axes(bottom, _PLOT_HEIGHT)
        self.top = self._scale()
        self._parts()
        self._lines()
        self._levels()
        self._kills()
        self._blind()
        self._legend()
        lowest = self.axes
        if chart.stalls:
            lowest = self._axes(bottom - strip, _STRIP_HEIGHT)
            self._stalls(lowest)
            self.axes.tick_params(labelbottom=False)
        lowest.set_xlabel(f"elapsed {self.unit}", color=theme.dim)
        if not any(line.points for line in chart.lines):
            self._empty()

    def _axes(self, bottom: float, height: float) -> "Axes":
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        width = _WIDTH - _LEFT - _RIGHT
        axes = self.figure.add_axes(
            (_LEFT / _WIDTH, bottom / self.height, width / _WIDTH, height / self.height),
            facecolor="none",
        )
        axes.set_xlim(0, self._time(self.chart.span_seconds))
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))
        axes.tick_params(colors=self.theme.dim, length=0, labelsize=_SMALL, pad=5)
        axes.spines[:].set_visible(False)
        axes.spines["bottom"].set_visible(True)
        axes.spines["bottom"].set_color(self.theme.dim)
        return axes

    def _head(self) -> None:
        width = (_WIDTH - 0.4) * 72
        title = self.font.fitted(self.chart.title, "", width, _LARGE, "bold")
        subtitle = self.font.fitted(self.chart.subtitle, "", width, _NORMAL)
        self._text(0.17, title, _LARGE, self.theme.text, weight="bold")
        self._text(0.43, subtitle, _NORMAL, self.theme.dim)

    def _text(self, down: float, text: str, size: float, colour: str, **more: Any) -> None:
        self.figure.text(
            0.2 / _WIDTH,
            1 - down / self.height,
            text,
            fontsize=size,
            color=colour,
            va="top",
            **more,
        )

    def _scale(self) -> float:
        """The height of the plot in bytes, with ticks at round numbers of KiB, MiB, GiB."""
        chart = self.chart
        drawn = [*(line.points for line in chart.lines), *chart.parts.values()]
        sizes = [size for points in drawn for _, size in points if size is not None]
        sizes += [line.peak[1] for line in chart.lines if line.peak]
        sizes += [level.bytes for level in chart.levels if not level.alarm]
        used = max(sizes, default=0) or 4096
        near = [
            level.bytes for level in chart.levels if used < level.bytes <= used * _HIGHEST_LEVEL
        ]
        top = max(used, *near) * 1.06 if near else used * 1.06
        step = _tick_step(top)
        ticks = [index * step for index in range(int(top / step) + 1)]
        self.axes.set_ylim(0, top)
        self.axes.set_yticks(ticks, [format_size(tick).replace(".0 ", " ") for tick in ticks])
        self.axes.grid(axis="y", color=self.theme.grid, linewidth=0.8)
        self.axes.set_axisbelow(True)
        return top

    def _parts(self) -> None:
        from matplotlib.patches import Patch

        # The highest first: what is drawn later covers what is below its own edge.
        for depth, (name, edge) in enumerate(reversed(self.chart.parts.items())):
            colour = self.theme.parts[name]
            xs, ys = self._columns(edge)
            self.axes.fill_between(xs, ys, 0, color=colour, linewidth=0, zorder=2 + depth / 10)
        for name in self.chart.parts:
            self.entries.append((Patch(color=self.theme.parts[name], linewidth=0), name))

    def _lines(self) -> None:
        for line in self.chart.lines:
            colour = self.theme.text if line.colour is None else self.theme.lines[line.colour]
            xs, ys = self._columns(line.points)
            (drawn,) = self.axes.plot(
                xs,
                ys,
                color=colour,
                linestyle=line.style,
                linewidth=line.width,
                solid_joinstyle="round",
                zorder=4,
            )
            self.entries.append((drawn, line.label))
            if line.peak:
                self._dot(*line.peak, colour)
        if self.chart.highest:
            self._highest(*self.chart.highest)

    def _highest(self, seconds: float, size: int) -> None:
        """The highest sample; in words where the peak, which has no moment, was well above it."""
        self._dot(seconds, size, self.theme.text)
        peak = self.chart.levels[0].bytes
        if size < peak * 0.98:
            left = seconds > self.chart.span_seconds * 0.7
            self.axes.annotate(
                f"highest sample {format_size(size)}",
                (self._time(seconds), size),
                xytext=(-7 if left else 7, 3),
                textcoords="offset points",
                ha="right" if left else "left",
                color=self.theme.text,
                fontsize=_SMALL,
                zorder=7,
            )

    def _dot(self, seconds: float, size: int, colour: str) -> None:
        self.axes.plot(
            [self._time(seconds)],
            [size],
            marker="o",
            markersize=6,
            color=colour,
            markeredgecolor=self.theme.background,
            markeredgewidth=1.2,
            clip_on=False,
            zorder=6,
        )

    def _levels(self) -> None:
        """What goes straight across, named at its right end, the names apart from each other."""
        places = []
        for level in self.chart.levels:
            colour = self.theme.alarm if level.alarm else self.theme.text
            label = level.label
            if level.bytes <= self.top:
                width = 1.3 if level.alarm else 0.8
                self.axes.axhline(
                    level.bytes, color=colour, linestyle=level.style, linewidth=width, zorder=5
                )
            else:
                label += " ↑"
            places.append((min(level.bytes, self.top) / self.top, label, colour))
        places.sort(key=itemgetter(0))
        apart = _SMALL * 1.45 / (_PLOT_HEIGHT * 72)
        heights = _spread([place[0] for place in places], apart)
        for height, (_, label, colour) in zip(heights, places, strict=True):
            self.axes.annotate(
                label,
                (1, height),
                xycoords="axes fraction",
                xytext=(6, 0),
                textcoords="offset points",
                va="center_baseline",
                color=colour,
                fontsize=_SMALL,
                annotation_clip=False,
            )

    def _kills(self) -> None:
        span, named = self.chart.span_seconds, -math.inf
        for seconds in self.chart.kills:
            self.axes.axvline(
                self._time(seconds), color=self.theme.alarm, linestyle=(0, (3, 2)), zorder=5
            )
            if seconds - named < span * 0.09:
                continue
            named = seconds
            side = "left" if seconds < span * 0.04 else "center"
            self.axes.annotate(
                "OOM kill",
                (self._time(seconds), 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 4),
                textcoords="offset points",
                ha=side,
                color=self.theme.alarm,
                fontsize=_SMALL,
                weight="bold",
                annotation_clip=False,
            )

    def _blind(self) -> None:
        begin = self.chart.blind_from
        if begin is None:
            return
        end = self._time(self.chart.span_seconds)
        self.axes.axvspan(self._time(begin), end, color=self.theme.grid, linewidth=0, alpha=0.5)
        self.axes.text(
            (self._time(begin) + end) / 2,
            self.top * 0.02,
            "processes not looked at",
            ha="center",
            color=self.theme.dim,
            fontsize=_SMALL,
        )

    def _stalls(self, axes: "Axes") -> None:
        """A strip below: how much of the time somebody waited for memory."""
        shares = self.chart.stalls
        edges = [self._time(self.chart.span_seconds) * i / len(shares) for i in range(len(shares))]
        axes.fill_between(
            [*edges, self._time(self.chart.span_seconds)],
            [*shares, shares[-1]],
            0,
            step="post",
            color=self.theme.stall,
            linewidth=0,
        )
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 1], ["0", "100 %"])
        axes.annotate(
            f"stalled {format_duration(self.chart.stalled_seconds)}",
            (1, 0.5),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center_baseline",
            color=self.theme.stall,
            fontsize=_SMALL,
            annotation_clip=False,
        )

    def _legend(self) -> None:
        if len(self.entries) < 2:
            return
        from matplotlib.lines import Line2D

        entries = self.entries[:_MOST_NAMED] if self.in_rows else self.entries
        if self.chart.more:
            entries = [*entries, (Line2D([], [], linestyle="none"), self.chart.more)]
        width = (_WIDTH - 1.0) * 72
        labels = []
        for _, label in entries:
            start, _, end = label.partition("\0")
            labels.append(self.font.fitted(start, end, width, _SMALL))
        self.figure.legend(
            [entry[0] for entry in entries],
            labels,
            loc="upper left",
            bbox_to_anchor=(0.2 / _WIDTH, 1 - 0.7 / self.height),
            ncols=1 if self.in_rows else len(entries),
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.6,
            handletextpad=0.6,
            columnspacing=1.8,
            labelspacing=0.5,
            labelcolor=self.theme.text,
            fontsize=_SMALL,
        )

    def _empty(self) -> None:
        self.axes.text(
            0.5,
            0.5,
            "no sample was taken",
            transform=self.axes.transAxes,
            ha="center",
            color=self.theme.dim,
            fontsize=_LARGE,
        )

    def _time(self, seconds: float) -> float:
        return seconds / self.unit_seconds

    def _columns(self, points: Sequence[Point]) -> tuple[list[float], list[float]]:
        """Points as matplotlib takes them; a single one, which has no width, gets a little."""
        if len(points) == 1:
            ((seconds, size),) = points
            half = self.chart.span_seconds / 200
            points = [(seconds - half, size), (seconds + half, size)]
        return (
            [self._time(seconds) for seconds, _ in points],
            [math.nan if size is None else size for _, size in points],
        )


class _Font:
    """What the typeface can show, and how wide that is."""

    def __init__(self) -> None:
        from matplotlib.font_manager import FontProperties, findfont, get_font

        self._faces = [
            get_font(findfont(FontProperties(weight=weight))) for weight in ("normal", "bold")
        ]

    def fitted(
        self, text: str, end: str, width: float, size: float, weight: str = "normal"
    ) -> str:
        """A text with its end, its beginning shortened until both fit into a width in points."""
        whole = text = self._shown(text)
        end = self._shown(end)
        while text and self._width(text + end, size, weight) > width:
            # By what it is too wide, about, and so in a few steps.
            share = width / self._width(text + end, size, weight)
            whole = whole[: min(len(whole) - 1, int(len(whole) * share) + 1)]
            text = whole + "…"
        return text + end

    def _shown(self, text: str) -> str:
        """A text whose characters all have a glyph; for others their number is shown."""
        return "".join(
            char
            if all(face.get_char_index(ord(char)) for face in self._faces)
            else char.encode("unicode_escape").decode("ascii")
            for char in text
        )

    def _width(self, text: str, size: float, weight: str) -> float:
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import text_to_path

        font = FontProperties(size=size, weight=weight)
        return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def _tick_step(top: float) -> int:
    """A power of two that gives a few ticks, none of them at an odd fraction of a unit."""
    step = 1
    while top / step > 6:
        step *= 2
    unit = 1024 ** max(0, int(math.log2(max(top, 1)) // 10))
    return max(step, unit // 2)


def _spread(heights: Sequence[float], apart: float) -> list[float]:
    """Rising heights, moved as little as leaves them ``apart`` from each other."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        # A group is centred where its members would be; where two touch they are one.
        while len(groups) > 1 and _low(groups[-1], apart) - _high(groups[-2], apart) < apart:
            last = groups.pop()
            groups[-1] += last
    return [_low(group, apart) + index * apart for group in groups for index in range(len(group))]


def _low(group: Sequence[float], apart: float) -> float:
    return sum(group) / len(group) - (len(group) - 1) * apart / 2


def _high(group: Sequence[float], apart: float) -> float:
    return _low(group, apart) + (len(group) - 1) * apart
