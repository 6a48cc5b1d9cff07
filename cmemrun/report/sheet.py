"""What all pictures have in common: the sheet, its colours and type, and how it becomes a file.

matplotlib is loaded by what draws only, and without pyplot, which would be state
of the whole process. What is drawn depends on the numbers alone: not on a
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
from cmemrun.report.fitting import Font, spread

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DASHES",
    "FORMATS",
    "LARGE",
    "PLOT_WIDTH",
    "ROW",
    "SMALL",
    "THEMES",
    "WIDTH",
    "Sheet",
    "Theme",
    "saved",
    "settings",
    "unit_of",
]

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

DASHES: tuple[Any, ...] = ("-", (0, (2.2, 1.6)), (0, (1, 1.2)))

# Lengths are inches, sizes of type are points.
WIDTH, _LEFT, _RIGHT, _RIGHT_BARE = 10.0, 0.95, 1.45, 0.3
PLOT_WIDTH = WIDTH - _LEFT - _RIGHT
"""Of a plot that has short names at its right."""
# Points.
_BESIDE = 6
ROW = 0.178
SMALL, _NORMAL, LARGE = 8.5, 9.0, 12.0

_TIMES = (
    (1.0, 1e-3, "milliseconds"),
    (180.0, 1.0, "seconds"),
    (3 * 3600.0, 60.0, "minutes"),
    (3 * 86400.0, 3600.0, "hours"),
    (math.inf, 86400.0, "days"),
)
"""Spans up to which a unit is taken, in seconds, and the unit's seconds and name."""


def unit_of(span_seconds: float) -> tuple[float, str]:
    """The unit that a span of time is told in: its seconds, and its name."""
    return next((seconds, name) for most, seconds, name in _TIMES if span_seconds <= most)


def saved(figure: "Figure", name: str) -> bytes:
    """A picture as a file of the format ``name``, drawn and saved in the same ``settings``."""
    file = io.BytesIO()
    title = figure.texts[0].get_text()
    metadata: dict[str, dict[str, str | None]] = {
        "svg": {"Title": title, "Creator": "cmemrun", "Date": None},
        "png": {"Title": title, "Software": "cmemrun"},
        "pdf": {"Title": title, "Creator": "cmemrun", "CreationDate": None},
    }
    figure.savefig(file, format=name, dpi=160, metadata=metadata[name])
    return file.getvalue()


@contextmanager
def settings() -> Iterator[None]:
    """matplotlib as it comes, whatever somebody's matplotlibrc says, and ``$`` is a dollar."""
    try:
        import matplotlib
    except ImportError as error:
        raise BadInput(
            f"a plot needs matplotlib, which cannot be loaded: {error}",
            hint="pip install matplotlib, or pipx inject cmemrun matplotlib",
        ) from error
    except ValueError as error:
        raise BadInput(
            f"matplotlib refuses its own settings: {error}",
            hint="look at MPLBACKEND, MATPLOTLIBRC and ~/.config/matplotlib/matplotlibrc",
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


class Sheet:
    """An empty picture with its title; ``entries`` are for the legend."""

    def __init__(self, theme: Theme, height: float, title: str, subtitle: str) -> None:
        from matplotlib.figure import Figure

        self.theme, self.height = theme, height
        self.font = Font()
        self.entries: list[tuple[Artist, str, str]] = []
        self.figure = Figure((WIDTH, height), facecolor=theme.background)
        width = (WIDTH - 0.6) * 72
        title = self.font.fitted(title, width, LARGE, weight="bold")
        subtitle = self.font.fitted(subtitle, width, _NORMAL)
        self._text(0.17, title, LARGE, theme.text, weight="bold")
        self._text(0.43, subtitle, _NORMAL, theme.dim)

    def _text(self, down: float, text: str, size: float, colour: str, **more: Any) -> None:
        self.figure.text(
            0.2 / WIDTH,
            1 - down / self.height,
            text,
            fontsize=size,
            color=colour,
            va="top",
            **more,
        )

    def room_for(self, names: Sequence[str]) -> float:
        """What ``write_at_the_right`` takes for these, in inches."""
        if not names:
            return _RIGHT_BARE
        widest = max(self.font.width(name, SMALL) for name in names)
        return max(_RIGHT, (_BESIDE + widest) / 72 + 0.1)

    def add_axes(self, bottom: float, height: float, *, right: float = _RIGHT) -> "Axes":
        """A plot as wide as the sheet, but for so much room at its right."""
        width = WIDTH - _LEFT - right
        axes = self.figure.add_axes(
            (_LEFT / WIDTH, bottom / self.height, width / WIDTH, height / self.height),
            facecolor="none",
        )
        axes.tick_params(colors=self.theme.dim, length=0, labelsize=SMALL, pad=5)
        axes.spines[:].set_visible(False)
        axes.spines["bottom"].set_visible(True)
        axes.spines["bottom"].set_color(self.theme.dim)
        return axes

    def write(
        self,
        axes: "Axes",
        text: str,
        at: tuple[float, float],
        offset: tuple[float, float],
        colour: str,
        **more: Any,
    ) -> None:
        """Some words, so many points away from a place in the plot."""
        axes.annotate(
            text,
            at,
            xytext=offset,
            textcoords="offset points",
            color=colour,
            fontsize=SMALL,
            annotation_clip=False,
            zorder=7,
            **more,
        )

    def write_at_the_right(self, axes: "Axes", places: Sequence[tuple[float, str, str]]) -> None:
        """Names beside a plot, apart from each other: of a height, 0 to 1, a text, a colour."""
        places = sorted(places, key=itemgetter(0))
        apart = SMALL * 1.45 / (axes.get_position().height * self.height * 72)
        heights = spread([place[0] for place in places], apart)
        for height, (_, text, colour) in zip(heights, places, strict=True):
            more = {"xycoords": "axes fraction", "va": "center_baseline"}
            self.write(axes, text, (1, height), (_BESIDE, 0), colour, **more)

    def add_legend(self, *, in_rows: bool = False) -> None:
        """What the entries are, below the title; in a line, or each in a row of its own."""
        width = (WIDTH - 1.0) * 72
        self.figure.legend(
            [sign for sign, _, _ in self.entries],
            [self.font.fitted(label, width, SMALL, end=end) for _, label, end in self.entries],
            loc="upper left",
            bbox_to_anchor=(0.2 / WIDTH, 1 - 0.7 / self.height),
            ncols=1 if in_rows else len(self.entries),
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.6,
            handletextpad=0.6,
            columnspacing=1.8,
            labelspacing=0.5,
            labelcolor=self.theme.text,
            fontsize=SMALL,
        )
