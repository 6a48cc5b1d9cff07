"""``cmemrun report``: what was saved, told again on any machine, to people and to programs."""

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Optional

import typer

from cmemrun.commands.console import colour, print_out, width
from cmemrun.commands.inputs import read_measurements
from cmemrun.errors import BadInput
from cmemrun.model import Measurement
from cmemrun.report import FORMATS, render, summary, terminal
from cmemrun.report.measurements import merged

__all__ = ["report"]

Format = Enum("Format", [("TEXT", "text"), *((name.upper(), name) for name in FORMATS)])  # type: ignore[misc]


def report(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="What --json or --record has written; - is standard input. Those of the same"
            " command are taken together.",
            show_default=False,
        ),
    ],
    wanted: Annotated[
        Optional[Format],  # noqa: UP045 (typer wants a type)
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help=f"{', '.join(one.value for one in Format)}.  [default: text]",
            show_default=False,
        ),
    ] = None,
    gateway: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--push",
            metavar="URL",
            help="Send it to a Prometheus Pushgateway, and print nothing but a --format.",
            show_default=False,
        ),
    ] = None,
    job: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--job",
            metavar="NAME",
            help="What the Pushgateway knows it as, and replaces.  [default: cmemrun]",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Print the report of saved runs, or the runs in another format.

    A record whose end is missing, because the machine crashed for instance, is
    read as far as it goes.

    \b
    Examples:
      cmemrun --json run.json -- make -j2
      cmemrun report run.json
      cmemrun report --format csv run.json > samples.csv
      cmemrun report --format github-summary run.json >> "$GITHUB_STEP_SUMMARY"
      cmemrun report --push http://localhost:9091 --job nightly run.json
    """
    if job is not None and gateway is None:
        raise BadInput("--job is for --push", hint="add --push URL")
    if job == "":
        raise BadInput("--job names nothing", hint="write --job nightly")
    measurements = merged([one for path in paths for one in read_measurements(path)])
    if wanted is not None or gateway is None:
        print_out(_text(measurements, "text" if wanted is None else wanted.value))
    if gateway is not None:
        from cmemrun.commands.push import push

        push(measurements, gateway, "cmemrun" if job is None else job)
    return 0


def _text(measurements: Sequence[Measurement], name: str) -> str:
    if name != "text":
        return render(measurements, name)
    if len(measurements) == 1 and len(measurements[0].runs) == 1:
        return terminal.render(measurements[0].runs[0], colour=colour(1), width=width(1))
    return summary.render(measurements, colour=colour(1), width=width(1))
