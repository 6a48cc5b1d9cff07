"""Charts of runs over time, drawn: for a report, a ticket, what CI keeps of a job."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
from cmemrun.report.sheet import (
    DASHES,
    FORMATS,
    LARGE,
    ROW,
    SMALL,
    THEMES,
    Sheet,
    Theme,
    saved,
    settings,
    unit_of,
)
from cmemrun.units import format_duration, format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "THEMES", "draw", "render"]

# Of a level that lies above the plot.
_ABOVE = " ↑"
# A limit this many times as high as what was used would leave that flat.
_HIGHEST_LEVEL = 2.0

# A moment of one of several runs, above the mark of its peak, where it often lies.
_KILL: dict[str, Any] = {"marker": "X", "markersize": 9, "markeredgewidth": 1, "zorder": 7}

# Inches.
_PLOT_HEIGHT, _STRIP_HEIGHT, _STRIP_GAP = 3.7, 0.3, 0.2


def render(
    runs: Sequence[Run], name: str, *, theme: str = "light", processes: bool = False
) -> bytes:
    """One run, or several over each other, as a file of the format ``name``.

    Raises ``BadInput`` without matplotlib, and as ``draw`` does.
    """
    with settings():
        return saved(draw(runs, theme=theme, processes=processes), name)


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
    with settings():
        return _Drawing(chart, THEMES[theme]).figure


class _Drawing(Sheet):
    def __init__(self, chart: Chart, theme: Theme) -> None:
        self.chart = chart
        self.unit_seconds, self.unit = unit_of(chart.span_seconds)
        self.in_rows = not chart.parts and len(chart.lines) > 1
        self.kills = any(line.kills for line in chart.lines)
        rows = 1
        if self.in_rows:
            rows = min(len(chart.lines), MOST_NAMED) + bool(chart.more) + self.kills
        strip = _STRIP_HEIGHT + _STRIP_GAP if chart.stalls else 0.0
        # From the top: title, subtitle, legend, a row for marks, the plot, its ticks.
        above = 0.74 + rows * ROW + (0.34 if chart.kills else 0.14)
        height = above + _PLOT_HEIGHT + strip + 0.55
        super().__init__(theme, height, chart.title, chart.subtitle)
        bottom = height - above - _PLOT_HEIGHT
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

        names = [f"{level.label}{_ABOVE}" for level in self.chart.levels]
        axes = self.add_axes(bottom, height, right=self.room_for(names))
        axes.set_xlim(0, self._time(self.chart.span_seconds))
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))
        return axes

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
            colour, dashes = self.theme.text, DASHES[line.dashed]
            if line.number is not None:
                colour = self.theme.lines[line.number % len(self.theme.lines)]
                dashes = DASHES[line.number // len(self.theme.lines) % len(DASHES)]
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
            for seconds, size in line.kills:
                self._dot(seconds, size, colour, **_KILL)
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
            self.write(self.axes, str(line.number + 1), at, (5, 4), colour, weight="bold")

    def _highest(self, seconds: float, size: int) -> None:
        """The highest sample; in words where the peak, which has no moment, was well above it."""
        self._dot(seconds, size, self.theme.text)
        peak = self.chart.levels[0].bytes
        if size < peak * 0.98:
            left = seconds > self.chart.span_seconds * 0.7
            self.write(
                self.axes,
                f"highest sample {format_size(size)}",
                (self._time(seconds), size),
                (-9 if left else 9, -2),
                self.theme.text,
                ha="right" if left else "left",
                va="top",
                bbox=self._veil(),
            )

    def _dot(self, seconds: float, size: int, colour: str, **more: Any) -> None:
        how: dict[str, Any] = {"marker": "o", "markersize": 6, "markeredgewidth": 1.2, "zorder": 6}
        self.axes.plot(
            [self._time(seconds)],
            [size],
            color=colour,
            markeredgecolor=self.theme.background,
            clip_on=False,
            **how | more,
        )

    def _veil(self) -> dict[str, Any]:
        """What is put between words and the lines that they lie on."""
        return {"facecolor": self.theme.background, "alpha": 0.75, "linewidth": 0, "pad": 1}

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
                    linestyle=DASHES[level.dashed],
                    linewidth=1.3 if level.alarm else 0.7,
                    zorder=5 if level.alarm else 3,
                )
            else:
                label += _ABOVE
            places.append((min(level.bytes, self.top) / self.top, label, colour))
        self.write_at_the_right(self.axes, places)

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
            self.write(
                self.axes,
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
        # Up to the end, and not in the middle: what is short has no room for both halves.
        self.axes.text(
            end * 0.995,
            self.top * 0.02,
            "processes not looked at",
            ha="right",
            color=self.theme.dim,
            fontsize=SMALL,
            bbox=self._veil(),
            zorder=5,
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
        self.write_at_the_right(axes, [(0.5, told, self.theme.stall)])

    def _legend(self) -> None:
        if len(self.entries) < 2:
            return
        from matplotlib.lines import Line2D

        if self.in_rows:
            del self.entries[MOST_NAMED:]
        if self.chart.more:
            self.entries.append((Line2D([], [], linestyle="none"), self.chart.more, ""))
        if self.kills:
            colours: dict[str, Any] = {
                "color": self.theme.text,
                "markeredgecolor": self.theme.background,
            }
            sign = Line2D([], [], linestyle="none", **colours, **_KILL)
            self.entries.append((sign, "OOM kill", ""))
        self.add_legend(in_rows=self.in_rows)

    def _empty(self) -> None:
        self.axes.text(
            0.5,
            0.5,
            "no sample was taken",
            transform=self.axes.transAxes,
            ha="center",
            color=self.theme.dim,
            fontsize=LARGE,
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
            # Some kernels' counters run below 0, to 2**64 - 1, which is no number to numpy.
            [math.nan if size is None else float(size) for _, size in points],
        )


def _tick_step(top: float) -> int:
    """A power of two that gives a few ticks, none of them at an odd fraction of a unit."""
    step = 1
    while top / step > 6:
        step *= 2
    unit: int = 1024 ** int(math.log2(max(top, 1)) // 10)
    return max(step, unit // 2)
