"""``cmemrun report``: the report of a run that was saved, on any machine."""

import sys
from typing import Annotated

import typer

from cmemrun.commands.console import colour, write_all
from cmemrun.errors import BadInput
from cmemrun.report import document, terminal

__all__ = ["report"]


def report(
    path: Annotated[
        str,
        typer.Argument(metavar="FILE", help="What --json has written; - is standard input."),
    ],
) -> int:
    """Print the report of a saved run.

    \b
    Examples:
      cmemrun --json run.json -- make -j2
      cmemrun report run.json
    """
    try:
        if path == "-":
            text = sys.stdin.read()
        else:
            with open(path, encoding="utf-8") as file:
                text = file.read()
    except OSError as error:
        raise BadInput(f"cannot read {path!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path!r} is no text") from error
    try:
        run = document.parse(text)
    except BadInput as error:
        raise BadInput(f"{path!r}: {error.message}", hint=error.hint) from error
    write_all(1, terminal.render(run, colour=colour(1)))
    return 0
