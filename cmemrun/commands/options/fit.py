"""What ``fit`` takes."""

from typing import Annotated, NamedTuple

from cmemrun.commands.arguments import Option
from cmemrun.commands.options import values
from cmemrun.commands.options.shared import Debug, JsonFile, Quiet

__all__ = ["FitOptions"]


class FitOptions(NamedTuple):
    """What ``fit`` was asked for, and on the command line the only declaration of it."""

    slowdown: Annotated[
        float,
        Option(
            ("--slowdown",),
            "How much slower than without a limit it may be, above the knee.",
            "Search",
            metavar="PERCENT",
            default="10%",
            parse=values.percent,
        ),
    ]
    confirm: Annotated[
        int,
        Option(
            ("--confirm",),
            "How often an answer must hold.",
            "Search",
            metavar="N",
            default="2",
            parse=values.times,
        ),
    ]
    max_runs: Annotated[
        int,
        Option(
            ("--max-runs",),
            "Run it no more often than this.",
            "Search",
            metavar="N",
            default="30",
            parse=values.times,
        ),
    ]
    max_time: Annotated[
        float | None,
        Option(
            ("--max-time",),
            "Begin no run after this time; with --squeeze, end it.",
            "Search",
            metavar="DURATION",
            parse=values.interval,
        ),
    ]
    check: Annotated[
        tuple[str, ...] | None,
        Option(
            ("--check",),
            "Success is what this command says, split as words, without a shell.",
            "Search",
            metavar="COMMAND",
            parse=values.words,
        ),
    ]
    resume: Annotated[
        str | None,
        Option(
            ("--resume",),
            "Take the runs of an earlier --json for known.",
            "Search",
            metavar="FILE",
        ),
    ]
    squeeze: Annotated[
        bool,
        Option(
            ("--squeeze",),
            "Run it once and take what it does not miss, for one that runs on (v2).",
            "Search",
            default=False,
        ),
    ]
    json: JsonFile
    quiet: Quiet
    debug: Debug
