"""The curve of a search, drawn: how long a program took with which limit, and what follows."""

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from cmemrun.analysis.search import Outcome, Trial
from cmemrun.report.fit_document import SavedFit
from cmemrun.report.fitting import Font
from cmemrun.report.scales import Scale, of_sizes, of_times
from cmemrun.report.sheet import (
    DASHES,
    LARGE,
    PLOT_WIDTH,
    ROW,
    SMALL,
    THEMES,
    Sheet,
    Theme,
    saved,
    settings,
)
from cmemrun.report.text import command_line
from cmemrun.units import format_duration, format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "render", "state"]

# Inches.
_PLOT_HEIGHT, _PANEL_HEIGHT, _PANEL_GAP = 3.7, 0.75, 0.22

# An allowed time so many times as high as any that was taken would leave those flat.
_HIGHEST_ALLOWED = 2.0

_WORDS = {outcome: outcome.value.replace("-", " ") for outcome in Outcome}
_SHAPES = {Outcome.OK: "o", Outcome.KILLED: "X", Outcome.FAILED: "s", Outcome.TIMED_OUT: "^"}


class _Mark(NamedTuple):
    """A size that stands upright in the plot, with its name above."""

    bytes: int
    label: str
    colour: str
    dashes: Any
    weight: str = "bold"


def render(found: SavedFit, name: str, *, theme: str = "light") -> bytes:
    """A search as a file of the format ``name``; ``BadInput`` without matplotlib."""
    with settings():
        return saved(draw(found, theme=theme), name)


def draw(found: SavedFit, *, theme: str = "light") -> "Figure":
    """The picture that ``render`` writes."""
    with settings():
        return _Curve(found, THEMES[theme]).figure


def state(found: SavedFit) -> list[str]:
    """What keeps a search from being the answer, if anything does."""
    fit = found.fit
    if fit.unlimited.outcome is not Outcome.OK:
        told = _WORDS[fit.unlimited.outcome]
        return [f"it does not succeed without a limit, either ({told})"]
    words = [] if fit.is_complete else ["INCOMPLETE: the search was ended before it was over"]
    missing = [
        name
        for name, size in (("cliff", fit.cliff_bytes), ("knee", fit.knee_bytes))
        if size is None
    ]
    return words + ([f"no {' and no '.join(missing)} found"] if missing else [])


class _Curve(Sheet):
    def __init__(self, found: SavedFit, theme: Theme) -> None:
        fit = found.fit
        self.found, self.fit = found, fit
        self.trials = [
            (trial.limit_bytes, trial) for trial in fit.trials if trial.limit_bytes is not None
        ]
        """With their limits."""
        self.sizes = self._sizes()
        self.times = self._times()
        marks = _marks(found, theme)
        rows = self._rows(marks)
        self.most_stalled = max(
            one.stall_seconds or 0.0 for one in (fit.unlimited, *(one for _, one in self.trials))
        )
        panel = _PANEL_HEIGHT + _PANEL_GAP if self.most_stalled else 0.0
        # From the top: title, subtitle, legend, names of the marks, the plot, its ticks.
        above = 0.74 + ROW + 0.12 + (max(rows) + 1) * ROW
        height = above + _PLOT_HEIGHT + panel + 0.55
        super().__init__(theme, height, command_line(found.command), self._subtitle())
        bottom = height - above - _PLOT_HEIGHT
        self.axes = lowest = self._axes(bottom, _PLOT_HEIGHT, self.times)
        self.axes.set_ylabel(self.times.label, color=theme.dim, fontsize=SMALL)
        self.axes.grid(axis="y", color=theme.grid, linewidth=0.8)
        self._points()
        self._levels()
        if panel:
            top = self.most_stalled * 1.15
            ticks = {0.0: "0", self.most_stalled: format_duration(self.most_stalled)}
            lowest = self._axes(bottom - panel, _PANEL_HEIGHT, Scale(0.0, top, False, ticks, ""))
            self._stalls(lowest)
            self.axes.tick_params(labelbottom=False)
        lowest.set_xlabel(self.sizes.label, color=theme.dim)
        for mark, row in zip(marks, rows, strict=True):
            self._mark(mark, row, lowest)
        self._below_the_cliff()
        self.add_legend()

    def _sizes(self) -> Scale:
        fit = self.fit
        found = [size for size in (fit.cliff_bytes, fit.knee_bytes) if size is not None]
        return of_sizes([fit.unlimited.peak_bytes, *found, *(limit for limit, _ in self.trials)])

    def _times(self) -> Scale:
        usual = self.fit.unlimited.wall_seconds
        times = [usual, *(trial.wall_seconds for _, trial in self.trials)]
        allowed = self._allowed()
        if allowed is not None and allowed <= max(times) * _HIGHEST_ALLOWED:
            times.append(allowed)
        return of_times(times, usual)

    def _allowed(self) -> float | None:
        if self.found.slowdown is None:
            return None
        return self.fit.unlimited.wall_seconds * (1 + self.found.slowdown)

    def _subtitle(self) -> str:
        words = state(self.found)
        count = len(self.fit.trials)
        words.append("1 run" if count == 1 else f"{count} runs without swap")
        if self.found.slowdown is not None:
            words.append(f"at most {self.found.slowdown * 100:.6g} % slower from the knee on")
        if not self.most_stalled:
            known = any(one.stall_seconds is not None for one in self.fit.trials)
            words.append("no stalls" if known else "stalls are not counted here")
        return " · ".join(words)

    def _axes(self, bottom: float, height: float, times: Scale) -> "Axes":
        from matplotlib.ticker import NullLocator

        axes = self.add_axes(bottom, height)
        for axis, scale, name in ((axes.xaxis, self.sizes, "x"), (axes.yaxis, times, "y")):
            if scale.is_log:
                axes.set(**{f"{name}scale": "log"})
            axes.set(**{f"{name}lim": (scale.low, scale.high)})
            axis.set_ticks(list(scale.ticks), labels=list(scale.ticks.values()))
            axis.set_minor_locator(NullLocator())
        axes.set_axisbelow(True)
        return axes

    def _points(self) -> None:
        """The trials, and what those that succeeded took as a rule."""
        good: dict[int, list[float]] = {}
        for limit, trial in self.trials:
            if trial.outcome is Outcome.OK:
                good.setdefault(limit, []).append(self._at(trial))
        usual = [(limit, median(times)) for limit, times in sorted(good.items())]
        colour = self.theme.lines[0]
        for outcome in Outcome:
            places = [
                (limit, self._at(one)) for limit, one in self.trials if one.outcome is outcome
            ]
            if places:
                drawn = self._scatter(self.axes, places, outcome, self._colour(outcome))
                self.entries.append((drawn, _WORDS[outcome], ""))
        if len(usual) > 1:
            (line,) = self.axes.plot(*zip(*usual, strict=True), color=colour, linewidth=1.5)
            if any(len(one) > 1 for one in good.values()):
                self.entries.insert(1, (line, "their median", ""))
        unlimited = self.fit.unlimited
        place = (unlimited.peak_bytes, self._at(unlimited))
        drawn = self._scatter(self.axes, [place], unlimited.outcome, self.theme.dim, hollow=True)
        self.entries.append((drawn, "without a limit, at its peak", ""))

    def _at(self, trial: Trial) -> float:
        return max(trial.wall_seconds, self.times.low)

    def _colour(self, outcome: Outcome) -> str:
        return self.theme.lines[0] if outcome is Outcome.OK else self.theme.alarm

    def _scatter(
        self,
        axes: "Axes",
        places: Sequence[tuple[int, float]],
        outcome: Outcome,
        colour: str,
        *,
        hollow: bool = False,
        size: float = 7.0,
    ) -> Any:
        xs, ys = zip(*places, strict=True)
        (drawn,) = axes.plot(
            [max(1, x) for x in xs],
            ys,
            linestyle="none",
            marker=_SHAPES[outcome],
            markersize=size,
            color=colour,
            markerfacecolor=self.theme.background if hollow else colour,
            markeredgecolor=colour if hollow else self.theme.background,
            markeredgewidth=size / 4.4 if hollow else 0.9,
            clip_on=False,
            zorder=6,
        )
        return drawn

    def _levels(self) -> None:
        """How long it took without a limit, and may take with one."""
        theme, usual, allowed = self.theme, self.fit.unlimited.wall_seconds, self._allowed()
        levels = [(usual, f"no limit {format_duration(usual)}", theme.dim, DASHES[2])]
        if allowed is not None:
            levels.append((allowed, f"allowed {format_duration(allowed)}", theme.text, DASHES[1]))
        places = []
        for seconds, label, colour, dashes in levels:
            at = min(max(seconds, self.times.low), self.times.high)
            if seconds <= self.times.high:
                self.axes.axhline(at, color=colour, linestyle=dashes, linewidth=1.0, zorder=3)
            arrow = " ↑" if seconds > self.times.high else ""
            places.append((self.times.across(at), label + arrow, colour))
        self.write_at_the_right(self.axes, places)

    def _stalls(self, axes: "Axes") -> None:
        """How long each waited for memory: the same trials, at the same places."""
        colour = self.theme.stall
        unlimited = self.fit.unlimited
        for size, trial in (*self.trials, (unlimited.peak_bytes, unlimited)):
            if trial.stall_seconds is not None:
                place, hollow = (max(1, size), trial.stall_seconds), trial.limit_bytes is None
                axes.vlines(place[0], 0, place[1], color=colour, linewidth=2.2, zorder=5)
                self._scatter(axes, [place], trial.outcome, colour, hollow=hollow, size=4.5)
        self.write_at_the_right(axes, [(0.5, "stalled", colour)])

    def _rows(self, marks: Sequence[_Mark]) -> list[int]:
        """How high above the plot each name is, so that none is on another or on its line."""
        font, width = Font(), PLOT_WIDTH * 72
        rows: dict[int, int] = {}
        for index in sorted(range(len(marks)), key=lambda one: marks[one].bytes, reverse=True):
            mark = marks[index]
            begin = self.sizes.across(mark.bytes) * width
            end = begin + font.width(mark.label, SMALL, mark.weight) + 14
            over = [
                row
                for other, row in rows.items()
                if self.sizes.across(marks[other].bytes) * width <= end
            ]
            rows[index] = max(over, default=-1) + 1
        return [rows[index] for index in range(len(marks))]

    def _mark(self, mark: _Mark, row: int, lowest: "Axes") -> None:
        top = 1 + (row + 0.85) * ROW / _PLOT_HEIGHT
        line = {"color": mark.colour, "linestyle": mark.dashes, "linewidth": 1.2, "zorder": 4}
        self.axes.axvline(mark.bytes, 0, top, clip_on=False, **line)
        if lowest is not self.axes:
            lowest.axvline(mark.bytes, 0, 1 + _PANEL_GAP / _PANEL_HEIGHT, clip_on=False, **line)
        self.write(
            self.axes,
            mark.label,
            (mark.bytes, top),
            (4, 0),
            mark.colour,
            xycoords=("data", "axes fraction"),
            va="top",
            weight=mark.weight,
        )

    def _below_the_cliff(self) -> None:
        """Where it fails; fainter where that is likely only, as nobody has tried."""
        failed, cliff = self.fit.low_bytes, self.fit.cliff_bytes
        if not failed:
            if not self.trials:
                self._say("it was run without a limit only")
            return
        # A cliff below what failed is a stranger's, or a program's that varies.
        ends, theme = [failed, max(failed, cliff or 0)], self.theme
        for axes in self.figure.axes:
            for end in ends:
                axes.axvspan(
                    self.sizes.low, end, color=theme.alarm, alpha=0.07, linewidth=0, zorder=1
                )
        outcomes = {trial.outcome for limit, trial in self.trials if limit <= failed}
        words = [_WORDS[one] for one in Outcome if one in outcomes and one is not Outcome.OK]
        *others, last = words or ["failed"]
        label = f"{', '.join(others)} or {last}" if others else last
        self._name_region(label, 0, failed, theme.alarm)
        if not self.fit.is_complete:
            self._name_region("not known", failed, ends[-1], theme.dim)

    def _name_region(self, label: str, begin: float, end: float, colour: str) -> None:
        """At the top of a part of the plot, upright where that is narrow, or not at all."""
        low, high = (max(0.0, self.sizes.across(max(one, self.sizes.low))) for one in (begin, end))
        room = (high - low) * PLOT_WIDTH * 72
        if room < SMALL * 2:
            return
        self.axes.text(
            (low + high) / 2,
            0.975,
            label,
            transform=self.axes.transAxes,
            rotation=0 if self.font.width(label, SMALL) + 12 < room else 90,
            ha="center",
            va="top",
            color=colour,
            fontsize=SMALL,
            zorder=5,
        )

    def _say(self, words: str) -> None:
        self.axes.text(
            0.5,
            0.3,
            words,
            transform=self.axes.transAxes,
            ha="center",
            color=self.theme.dim,
            fontsize=LARGE,
            bbox={"facecolor": self.theme.background, "linewidth": 0, "pad": 6},
            zorder=5,
        )


def _marks(found: SavedFit, theme: Theme) -> list[_Mark]:
    fit = found.fit
    cliff, knee = fit.cliff_bytes, fit.knee_bytes
    marks = []
    if cliff is not None:
        name = "cliff and knee" if cliff == knee else "cliff"
        marks.append(_Mark(cliff, f"{name} {format_size(cliff)}", theme.alarm, DASHES[0]))
    if knee is not None and knee != cliff:
        marks.append(_Mark(knee, f"knee {format_size(knee)}", theme.text, DASHES[1]))
    peak = fit.unlimited.peak_bytes
    marks.append(_Mark(peak, f"peak {format_size(peak)}", theme.dim, DASHES[2], "normal"))
    # Nothing is at 0 on an axis that may have none.
    return [mark._replace(bytes=max(1, mark.bytes)) for mark in marks]
