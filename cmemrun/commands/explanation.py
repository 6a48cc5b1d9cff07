"""``--explain``: which file would get which value, by which rule; nothing is run."""

import io
import json
import shutil

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cmemrun.commands.console import colour, print_out, say
from cmemrun.commands.output import open_output
from cmemrun.commands.profiles import Profile
from cmemrun.report.text import printable, unicode_text

__all__ = ["explain"]


def explain(profile: Profile, json_path: str | None) -> int:
    """Print the settings as a table, or write them to ``json_path`` as a list."""
    for warning in profile.warnings:
        say(warning)
    if json_path is None:
        print_out(_table(profile))
        return 0
    told = [
        {name: unicode_text(value) for name, value in setting._asdict().items()}
        for setting in profile.settings
    ]
    open_output("--json", json_path).write(json.dumps(told, indent=1) + "\n")
    return 0


def _table(profile: Profile) -> str:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("file", "value"):
        table.add_column(name, no_wrap=True)
    table.add_column("rule, and its source", overflow="fold")
    for setting in profile.settings:
        file, value, rule, source = map(printable, setting)
        table.add_row(file, Text(value, "bold"), Text.assemble(rule, "\n", (source, "dim")))
    shown = io.StringIO()
    width = max(60, shutil.get_terminal_size().columns)
    Console(file=shown, width=width, highlight=False, force_terminal=colour(1)).print(table)
    return "".join(f"{line.rstrip()}\n" for line in shown.getvalue().splitlines())
