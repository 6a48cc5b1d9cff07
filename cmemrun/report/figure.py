"""Charts drawn: for a report, a ticket, what CI keeps of a job.

matplotlib is loaded by what draws only, and without pyplot, which would be state
of the whole process. What it draws depends on the runs alone: not on a
matplotlibrc, not on the machine's fonts, not on the time.

The colours are those of Okabe and Ito, which people see apart who do not see all
colours (https://jfly.uni-koeln.de/color/), darker where light lines lie on them.
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from cmemrun.errors import BadInput
from cmemrun.model import Run
from cmemrun.report.chart import (
    MOST_NAMED,
    PIXELS,
    Chart,
    Line,
    Point,
    of_processes,
    of_run,
    of_runs,
)
from cmemrun.report.fitting import Font, spread
from cmemrun.units import format_duration, format_size

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "THEMES", "draw", "render"]

FORMATS = ("svg", "png", "pdf")


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
        lines=("#0072b2", "#d55e00", "#009e73", "#b0588a", "#b57d00", "#3a9bd6"),
    ),
    "dark": Theme(
        background="#14171c",
        text="#e8eaed",
        dim="#a0a8b2",
        grid="#2c323a",
        alarm="#ff8a3d",
        stall="#dd93bb",
        parts={"anon": "#0072b2", "file": "#a87400", "kernel": "#00805d", "sockets": "#a15f84"},
        lines=("#56b4e9", "#f07c2e", "#1fc796", "#dd93bb", "#e69f00", "#f0e442"),
    ),
}

_DASHES: tuple[Any, ...] = ("-", (0, (2.2, 1.6)), (0, (1, 1.2)))


# A limit this many times as high as what was used would leave that flat.
_HIGHEST_LEVEL = 2.0

# Lengths are inches, sizes of type are points.
_WIDTH, _LEFT, _RIGHT, _RIGHT_BARE = 10.0, 0.95, 1.45, 0.3
_PLOT_HEIGHT, _STRIP_HEIGHT, _STRIP_GAP = 3.7, 0.3, 0.2
_ROW = 0.178
_SMALL, _NORMAL, _LARGE = 8.5, 9.0, 12.0

_TIMES = (
    (1.0, 1e-3, "milliseconds"),
    (180.0, 1.0, "seconds"),
    (3 * 3600.0, 60.0, "minutes"),
    (3 * 86400.0, 3600.0, "hours"),
    (math.inf, 86400.0, "days"),
)
"""Spans up to which a unit is taken, in seconds, and the unit's seconds and name."""


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
        chart = of_run(runs[0]) if len(runs) == 1 else of_runs(runs)
    elif len(runs) == 1:
        chart = of_processes(runs[0])
    else:
        raise BadInput(
            f"the processes of {len(runs)} runs do not fit into one picture",
            hint="plot one run with --processes",
        )
    with _settings():
        return _Drawing(chart, THEMES[theme]).figure


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
    except ValueError as error:
        raise BadInput(
            f"matplotlib refuses its own settings: {error}",
            hint="look at MPLBACKEND and at a matplotlibrc, here or in ~/.config/matplotlib",
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
            "text.hinting": "none",  # which would make some text wider than it was measured
            "svg.hashsalt": "cmemrun",
            "svg.fonttype": "path",  # the same wherever it is shown
            "pdf.fonttype": 42,  # text that can be searched
        }
    ):
        yield


class _Drawing:
    def __init__(self, chart: Chart, theme: Theme) -> None:
        from matplotlib.figure import Figure

        self.chart, self.theme = chart, theme
        self.font = Font()
        self.unit_seconds, self.unit = next(
            (seconds, name) for most, seconds, name in _TIMES if chart.span_seconds <= most
        )
        self.entries: list[tuple[Artist, str, str]] = []
        self.in_rows = not chart.parts and len(chart.lines) > 1
        rows = min(len(chart.lines), MOST_NAMED) + bool(chart.more) if self.in_rows else 1
        strip = _STRIP_HEIGHT + _STRIP_GAP if chart.stalls else 0.0
        # From the top: title, subtitle, legend, a row for marks, the plot, its ticks.
        above = 0.74 + rows * _ROW + (0.34 if chart.kills else 0.14)
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

        width = _WIDTH - _LEFT - (_RIGHT if self.chart.levels else _RIGHT_BARE)
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
        width = (_WIDTH - 0.6) * 72
        title = self.font.fitted(self.chart.title, width, _LARGE, weight="bold")
        subtitle = self.font.fitted(self.chart.subtitle, width, _NORMAL)
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
        sizes += [line.peak_bytes for line in chart.lines]
        sizes += [level.bytes for level in chart.levels if not level.alarm]
        used = max([0, *sizes]) or 4096
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
        for depth, (name, edge) in enumerate(reversed(list(self.chart.parts.items()))):
            colour = self.theme.parts[name]
            xs, ys = self._columns(edge)
            self.axes.fill_between(xs, ys, 0, color=colour, linewidth=0, zorder=2 + depth / 10)
        for name in self.chart.parts:
            self.entries.append((Patch(color=self.theme.parts[name], linewidth=0), name, ""))

    def _lines(self) -> None:
        for line in self.chart.lines:
            colour, dashes = self.theme.text, _DASHES[line.dashed]
            if line.number is not None:
                colour = self.theme.lines[line.number % len(self.theme.lines)]
                dashes = _DASHES[line.number // len(self.theme.lines) % len(_DASHES)]
            xs, ys = self._columns(line.points)
            (drawn,) = self.axes.plot(
                xs,
                ys,
                color=colour,
                linestyle=dashes,
                linewidth=0.6 if len(xs) > PIXELS else 1.5,
                marker="o" if line.dotted_at_points else None,
                markersize=2.6,
                solid_joinstyle="round",
                zorder=4,
            )
            self.entries.append((drawn, line.label, line.end))
            if line.highest:
                self._peak(line, line.highest, colour)
        if self.chart.highest:
            self._highest(*self.chart.highest)

    def _peak(self, line: Line, highest: tuple[float, int], colour: str) -> None:
        """The peak of one of several runs, above where it is likely to have been."""
        seconds, size = highest
        time = self._time(seconds)
        self.axes.plot([time, time], [size, line.peak_bytes], color=colour, linestyle=":", zorder=4)
        self._dot(seconds, line.peak_bytes, colour)
        if line.number is not None:
            at = (time, line.peak_bytes)
            self._write(str(line.number + 1), at, (5, 4), colour, weight="bold")

    def _highest(self, seconds: float, size: int) -> None:
        """The highest sample; in words where the peak, which has no moment, was well above it."""
        self._dot(seconds, size, self.theme.text)
        peak = self.chart.levels[0].bytes
        if size < peak * 0.98:
            left = seconds > self.chart.span_seconds * 0.7
            self._write(
                f"highest sample {format_size(size)}",
                (self._time(seconds), size),
                (-9 if left else 9, -2),
                self.theme.text,
                ha="right" if left else "left",
                va="top",
                bbox={"facecolor": self.theme.background, "alpha": 0.75, "linewidth": 0, "pad": 1},
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

    def _write(
        self,
        text: str,
        at: tuple[float, float],
        offset: tuple[float, float],
        colour: str,
        axes: "Axes | None" = None,
        **more: Any,
    ) -> None:
        """Some words, so many points away from a place in the plot."""
        (axes or self.axes).annotate(
            text,
            at,
            xytext=offset,
            textcoords="offset points",
            color=colour,
            fontsize=_SMALL,
            annotation_clip=False,
            zorder=7,
            **more,
        )

    def _at_the_right(self, axes: "Axes", height: float, text: str, colour: str) -> None:
        more = {"xycoords": "axes fraction", "va": "center_baseline"}
        self._write(text, (1, height), (6, 0), colour, axes, **more)

    def _levels(self) -> None:
        """What goes straight across, named at its right end, the names apart from each other."""
        places = []
        for level in self.chart.levels:
            colour = self.theme.alarm if level.alarm else self.theme.text
            label = level.label
            if level.bytes <= self.top:
                self.axes.axhline(
                    level.bytes,
                    color=colour,
                    linestyle=_DASHES[level.dashed],
                    linewidth=1.3 if level.alarm else 0.7,
                    zorder=5 if level.alarm else 3,
                )
            else:
                label += " ↑"
            places.append((min(level.bytes, self.top) / self.top, label, colour))
        places.sort(key=itemgetter(0))
        apart = _SMALL * 1.45 / (_PLOT_HEIGHT * 72)
        heights = spread([place[0] for place in places], apart)
        for height, (_, label, colour) in zip(heights, places, strict=True):
            self._at_the_right(self.axes, height, label, colour)

    def _kills(self) -> None:
        span, named = self.chart.span_seconds, -math.inf
        for seconds in self.chart.kills:
            time, dashes = self._time(seconds), (0, (3, 2))
            self.axes.axvline(
                time, color=self.theme.alarm, linestyle=dashes, zorder=5, clip_on=False
            )
            if seconds - named < span * 0.09:
                continue
            named = seconds
            side = "left" if seconds < span * 0.04 else "center"
            self._write(
                "OOM kill",
                (time, 1),
                (0, 4),
                self.theme.alarm,
                xycoords=("data", "axes fraction"),
                ha=side,
                weight="bold",
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
        told = f"stalled {format_duration(self.chart.stalled_seconds)}"
        self._at_the_right(axes, 0.5, told, self.theme.stall)

    def _legend(self) -> None:
        if len(self.entries) < 2:
            return
        from matplotlib.lines import Line2D

        entries = self.entries[:MOST_NAMED] if self.in_rows else self.entries
        if self.chart.more:
            entries = [*entries, (Line2D([], [], linestyle="none"), self.chart.more, "")]
        width = (_WIDTH - 1.0) * 72
        self.figure.legend(
            [sign for sign, _, _ in entries],
            [self.font.fitted(label, width, _SMALL, end=end) for _, label, end in entries],
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


def _tick_step(top: float) -> int:
    """A power of two that gives a few ticks, none of them at an odd fraction of a unit."""
    step = 1
    while top / step > 6:
        step *= 2
    unit: int = 1024 ** int(math.log2(max(top, 1)) // 10)
    return max(step, unit // 2)
