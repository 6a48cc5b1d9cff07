"""``cmemrun plot``: saved runs over time, or a search, as a picture or a page for a browser."""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Annotated, Optional

import typer

from cmemrun.commands.inputs import read_saved
from cmemrun.commands.output import open_output
from cmemrun.errors import BadInput
from cmemrun.model import Measurement
from cmemrun.report import curve, curve_page, figure, page, sheet
from cmemrun.report.fit_document import SavedFit

__all__ = ["plot"]

_NAMES = (*sheet.FORMATS, "html")
Format = Enum("Format", [(name.upper(), name) for name in _NAMES])  # type: ignore[misc]
Theme = Enum("Theme", [(name.upper(), name) for name in sheet.THEMES])  # type: ignore[misc]


def plot(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="What --json or --record has written; several runs are laid over each other,"
            " a search of fit's is drawn alone.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write it there, as its name says: .svg, .png, .pdf, .html.",
            show_default=False,
        ),
    ],
    wanted: Annotated[
        Optional[Format],  # noqa: UP045 (typer wants a type)
        typer.Option(
            "--format", "-f", help="The format, where no name says it.", show_default=False
        ),
    ] = None,
    theme: Annotated[
        Theme, typer.Option(help="For light or dark surroundings; a page has both.")
    ] = Theme.LIGHT,  # type: ignore[attr-defined]
    processes: Annotated[
        bool,
        typer.Option("--processes", help="A line for each of the largest processes of one run."),
    ] = False,
) -> int:
    """Draw saved runs over time, or a search, as a picture or a page.

    Of a search it is the time of its runs by their limits.

    \b
    Examples:
      cmemrun --json run.json -- make -j2
      cmemrun plot run.json -o peak.svg
      cmemrun plot before.json after.json -o both.html
      cmemrun fit --json fit.json -- ./myapp
      cmemrun plot fit.json -o fit.svg
    """
    name = wanted.value if wanted else _format_of(output)
    written = open_output("--output", output)
    read = [read_saved(path) for path in paths]
    found = _search_of(read)
    saved = [one for one in read if not isinstance(one, SavedFit)]
    runs = [run for measurements in saved for one in measurements for run in one.runs]
    # It tells of its caches, which are nobody's concern.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if found is not None and processes:
        raise BadInput("a search has no processes to draw", hint="leave --processes out")
    drawn: str | bytes
    with _leaving_no_caches(), _outside():
        if found is not None and name == "html":
            drawn = curve_page.render(found)
        elif found is not None:
            drawn = curve.render(found, name, theme=theme.value)
        elif name == "html":
            drawn = page.render(runs, processes=processes)
        else:
            drawn = figure.render(runs, name, theme=theme.value, processes=processes)
    written.write(drawn)
    return 0


@contextmanager
def _outside() -> Iterator[None]:
    """Not in our directory, whose matplotlibrc, a stranger's maybe, matplotlib would load first."""
    here = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        os.chdir("/")
        yield
    finally:
        os.fchdir(here)
        os.close(here)


@contextmanager
def _leaving_no_caches() -> Iterator[None]:
    """Remove the directory that matplotlib makes where it may write to none of the user's.

    It names it in the environment, and leaves its end to an exit handler, which the
    command does not come to (``__main__``).
    """
    before = os.environ.get("MPLCONFIGDIR")
    try:
        yield
    finally:
        made = os.environ.get("MPLCONFIGDIR")
        if made is not None and made != before:
            shutil.rmtree(made, ignore_errors=True)


def _search_of(read: Sequence[list[Measurement] | SavedFit]) -> SavedFit | None:
    """The one search that is to be drawn, if it is not runs."""
    found = [one for one in read if isinstance(one, SavedFit)]
    if found and len(found) < len(read):
        raise BadInput(
            "a search and a run do not fit into one picture", hint="plot each for itself"
        )
    if len(found) > 1:
        raise BadInput(
            f"the curves of {len(found)} searches do not fit into one picture",
            hint="plot each for itself",
        )
    return found[0] if found else None


def _format_of(path: str) -> str:
    suffix = os.path.splitext(path)[1].lower().removeprefix(".")
    if suffix not in _NAMES:
        *others, last = (f".{name}" for name in _NAMES)
        raise BadInput(
            f"--output: {path!r} does not end in {', '.join(others)} or {last}",
            hint="name the format: --format svg",
        )
    return suffix
