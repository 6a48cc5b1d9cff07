"""A search as one page for a browser."""

import math

from cmemrun.analysis.search import Outcome, Trial
from cmemrun.report import curve, words
from cmemrun.report.fit_document import SavedFit
from cmemrun.report.markup import framed, listed, marked, picture, shown, table
from cmemrun.report.text import command_line
from cmemrun.units import format_duration

__all__ = ["render"]

_MOST_CHARACTERS = 2000
_COLUMNS = ("limit", "outcome", "time", "stalled", "peak")


def render(found: SavedFit) -> str:
    """A search as HTML; ``BadInput`` without matplotlib."""
    title = shown(command_line(found.command, _MOST_CHARACTERS))
    by_limit = sorted(found.fit.trials, key=_limit, reverse=True)
    return framed(
        title,
        [
            f"<h1><code>{title}</code></h1>",
            f'<p class="dim">searched in {len(by_limit)} run{"s"[: len(by_limit) > 1]}</p>',
            _answers(found),
            picture(
                lambda theme: curve.render(found, "svg", theme=theme),
                "Time by memory limit; the numbers are in the table",
            ),
            "<h2>Runs</h2>",
            table(_COLUMNS, map(_row, by_limit)),
        ],
    )


def _answers(found: SavedFit) -> str:
    fit = found.fit
    slower = "no slower"
    if found.slowdown is not None:
        slower = f"at most {found.slowdown * 100:.6g} % slower"
    rows = [
        (name, f"<strong>{words.size(size)}</strong>, {meaning}" if size is not None else "n/a")
        for name, size, meaning in (
            ("cliff", fit.cliff_bytes, "the smallest limit it succeeds with"),
            ("knee", fit.knee_bytes, f"the smallest with which it is {slower}"),
        )
    ]
    unlimited = fit.unlimited
    took = f"{format_duration(unlimited.wall_seconds)}, peak {words.size(unlimited.peak_bytes)}"
    rows.append(("without a limit", took))
    rows += [("search", marked(shown(told), False)) for told in curve.state(found)]
    rows += [("warning", shown(warning)) for warning in found.warnings]
    return listed(rows)


def _row(trial: Trial) -> tuple[str, ...]:
    return (
        "none" if trial.limit_bytes is None else words.size(trial.limit_bytes),
        marked(trial.outcome.value.replace("-", " "), trial.outcome is Outcome.OK),
        format_duration(trial.wall_seconds),
        words.duration(trial.stall_seconds),
        words.size(trial.peak_bytes),
    )


def _limit(trial: Trial) -> float:
    return math.inf if trial.limit_bytes is None else trial.limit_bytes
