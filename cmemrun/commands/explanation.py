"""``--explain``: which file would get which value, by which rule; nothing is run."""

import json

from rich.text import Text

from cmemrun.commands.console import print_out, say
from cmemrun.commands.output import open_output
from cmemrun.commands.profiles import Profile
from cmemrun.commands.tables import rendered, table
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
    made = table("file", "value", "rule, and its source")
    for setting in profile.settings:
        file, value, rule, source = map(printable, setting)
        made.add_row(file, Text(value, "bold"), Text.assemble(rule, "\n", (source, "dim")))
    return rendered(made)
