"""``cmemrun report``: the report of a run that was saved, on any machine."""

from enum import Enum
from typing import Annotated

import typer

from cmemrun.commands.console import colour, print_out
from cmemrun.commands.inputs import read_run
from cmemrun.report import FORMATS, render, terminal

__all__ = ["report"]

Format = Enum("Format", [("TEXT", "text"), *((name.upper(), name) for name in FORMATS)])  # type: ignore[misc]


def report(
    path: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="What --json or --record has written; - is standard input.",
            show_default=False,
        ),
    ],
    wanted: Annotated[
        Format, typer.Option("--format", "-f", help="The report, or what other programs read.")
    ] = Format.TEXT,  # type: ignore[attr-defined]
) -> int:
    """Print the report of a saved run, or the run in another format.

    A record whose end is missing, because the machine crashed for instance, is
    read as far as it goes.

    \b
    Examples:
      cmemrun --json run.json -- make -j2
      cmemrun report run.json
      cmemrun report --format csv run.json > samples.csv
    """
    run = read_run(path)
    name = wanted.value
    print_out(terminal.render(run, colour=colour(1)) if name == "text" else render(run, name))
    return 0
