"""``cmemrun plot``: saved runs over time, as a picture or a page for a browser."""

import logging
import os
from enum import Enum
from typing import Annotated, Optional

import typer

from cmemrun.commands.inputs import read_run
from cmemrun.commands.output import open_output
from cmemrun.errors import BadInput
from cmemrun.report import figure, page

__all__ = ["plot"]

_NAMES = (*figure.FORMATS, "html")
Format = Enum("Format", [(name.upper(), name) for name in _NAMES])  # type: ignore[misc]
Theme = Enum("Theme", [(name.upper(), name) for name in figure.THEMES])  # type: ignore[misc]


def plot(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="What --json or --record has written; several runs are laid over each other.",
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
    """Draw saved runs over time, or make a page about them.

    \b
    Examples:
      cmemrun --json run.json -- make -j2
      cmemrun plot run.json -o peak.svg
      cmemrun plot before.json after.json -o both.html
    """
    name = wanted.value if wanted else _format_of(output)
    written = open_output("--output", output)
    runs = [read_run(path) for path in paths]
    # It tells of its caches, which are nobody's concern.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if name == "html":
        written.write(page.render(runs, processes=processes))
    else:
        written.write(figure.render(runs, name, theme=theme.value, processes=processes))
    return 0


def _format_of(path: str) -> str:
    suffix = os.path.splitext(path)[1].lower().removeprefix(".")
    if suffix not in _NAMES:
        *others, last = (f".{name}" for name in _NAMES)
        raise BadInput(
            f"--output: {path!r} does not end in {', '.join(others)} or {last}",
            hint="name the format: --format svg",
        )
    return suffix
