"""Tables and lines of words as rich sets them, as text for whichever stream they are for."""

import io
import shutil

from rich.console import Console, RenderableType
from rich.table import Table

from cmemrun.commands.console import colour
from cmemrun.report.text import for_people

__all__ = ["rendered", "table"]

_NARROWEST = 60


def table(*columns: str, right: tuple[str, ...] = (), header: bool = True) -> Table:
    """Without lines; the last column takes what the others leave, and wraps."""
    made = Table(
        box=None,
        show_header=header,
        header_style="dim",
        pad_edge=False,
        padding=(0, 2 + bool(right), 0, 0),
    )
    for name in columns[:-1]:
        made.add_column(name, no_wrap=True, justify="right" if name in right else "left")
    made.add_column(
        columns[-1], overflow="fold", justify="right" if columns[-1] in right else "left"
    )
    return made


def rendered(*parts: RenderableType, fd: int = 1) -> str:
    """All of it for a standard stream, as wide as the terminal and coloured if that wants it."""
    file = io.StringIO()
    width = max(_NARROWEST, shutil.get_terminal_size().columns)
    console = Console(file=file, width=width, highlight=False, force_terminal=colour(fd))
    for part in parts:
        console.print(part)
    # Rich fills its cells up with spaces.
    return for_people("".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines()))
