"""Options that repeat a run, vary it, and compare it: of ``run``, and in a budget file."""

from typing import Annotated

from cmemrun.commands.arguments import Option
from cmemrun.commands.options import values

__all__ = [
    "Against",
    "Cleanup",
    "Cold",
    "Exports",
    "FailOn",
    "ParameterList",
    "ParameterScan",
    "ParameterStep",
    "Prepare",
    "Runs",
    "SaveBaseline",
    "Warmup",
]

_PANEL = "Repeats and comparisons"

Runs = Annotated[
    int | None,
    Option(
        ("--runs",),
        "Run it so often, each time in a group of its own, and say what is typical.",
        _PANEL,
        metavar="N",
        parse=values.times,
    ),
]
Warmup = Annotated[
    int | None,
    Option(
        ("--warmup",),
        "Run it so often before, without counting those.",
        _PANEL,
        metavar="N",
        parse=values.times,
    ),
]
Prepare = Annotated[
    tuple[str, ...] | None,
    Option(
        ("--prepare",),
        "Before every run do this, split as words, without a shell.",
        _PANEL,
        metavar="COMMAND",
        parse=values.words,
    ),
]
Cleanup = Annotated[
    tuple[str, ...] | None,
    Option(
        ("--cleanup",),
        "After all runs of a command do this, likewise.",
        _PANEL,
        metavar="COMMAND",
        parse=values.words,
    ),
]
Cold = Annotated[
    bool,
    Option(
        ("--cold",),
        "Drop the page cache of the whole machine before every run (root).",
        _PANEL,
        default=False,
    ),
]
ParameterList = Annotated[
    tuple[tuple[str, ...], ...],
    Option(
        ("--parameter-list", "-L"),
        "Run it with {VAR} replaced by each of the VALUES: -L size 10MiB,20MiB.",
        _PANEL,
        metavar="VAR VALUES",
        repeated=True,
        words=2,
    ),
]
ParameterScan = Annotated[
    tuple[tuple[str, ...], ...],
    Option(
        ("--parameter-scan", "-P"),
        "Run it with {VAR} replaced by each number from MIN to MAX.",
        _PANEL,
        metavar="VAR MIN MAX",
        repeated=True,
        words=3,
    ),
]
ParameterStep = Annotated[
    str | None,
    Option(
        ("--parameter-step-size", "-D"),
        "The step between those numbers.  [default: 1]",
        _PANEL,
        metavar="DELTA",
    ),
]
SaveBaseline = Annotated[
    str | None,
    Option(
        ("--save-baseline",),
        "Keep what was measured as .cmemrun/NAME.json, to be compared with.",
        _PANEL,
        metavar="NAME",
    ),
]
Against = Annotated[
    str | None,
    Option(
        ("--against",),
        "Compare with a baseline, a file of --json, or one in git: main:base.json.",
        _PANEL,
        metavar="NAME|FILE|REV:FILE",
    ),
]
FailOn = Annotated[
    tuple[tuple[str, float], ...],
    Option(
        ("--fail-on",),
        "Budget: exit with 123 where the peak has grown by more; anon=10% for others.",
        _PANEL,
        metavar="[METRIC=]PERCENT",
        parse=values.growth,
        repeated=True,
    ),
]
Exports = Annotated[
    tuple[tuple[str, str], ...],
    Option(
        ("--export",),
        "Write it as something else reads it, too: --export junit=report.xml.",
        "Output",
        metavar="FORMAT=FILE",
        parse=values.export,
        repeated=True,
    ),
]
