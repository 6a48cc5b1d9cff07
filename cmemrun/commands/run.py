"""``cmemrun [run] [OPTIONS] [--] PROGRAM [ARG]...``: measure one program."""

import importlib
import os
import signal
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any

import typer

from cmemrun import __version__, units
from cmemrun.commands.console import colour, log_everything, say, show
from cmemrun.commands.output import Output, open_output
from cmemrun.errors import BadInput, CmemrunError
from cmemrun.launcher import original_environment
from cmemrun.model import Limits, Run
from cmemrun.report import terminal
from cmemrun.runner import Settings, measure
from cmemrun.sampler import AUTO_PROBE, Probe
from cmemrun.signals import Foreground, end_interrupted

__all__ = ["run"]

_BUDGET_BROKEN = 123


class Linger(Enum):
    """What happens to processes that outlive the main one."""

    END = "end"
    WAIT = "wait"


class Backend(Enum):
    """The ways to measure, as they are asked for."""

    AUTO = "auto"
    SYSTEMD = "systemd"
    V2 = "v2"
    V1 = "v1"
    PROC = "proc"


class Require(Enum):
    """What a measurement must be worth at least."""

    CGROUP = "cgroup"
    EXACT = "exact"


def _parser(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser whose refusals reach the user with the option's name."""

    def parse_option(text: str) -> Any:
        try:
            return parse(text)
        except BadInput as error:
            raise typer.BadParameter(f"{error.message}; {error.hint}") from error

    return parse_option


def _at_least(seconds: float, text: str, least: float) -> float:
    if seconds < least:
        raise BadInput(
            f"{text!r} is less than {units.format_duration(least)}",
            hint=f"write {units.DURATION_EXAMPLES}",
        )
    return seconds


def _refresh(text: str) -> float:
    return _at_least(units.parse_duration(text), text, 0.001)


def _probe(text: str) -> Probe:
    if text == "auto":
        return AUTO_PROBE
    return None if text == "off" else _refresh(text)


def _positive_size(text: str) -> int:
    size = units.parse_size(text)
    if size < 1:
        raise BadInput(f"{text!r} leaves nothing", hint=f"write {units.SIZE_EXAMPLES}")
    return size


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cmemrun {__version__}")
        raise typer.Exit


def _option(*names: str, panel: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def run(
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="PROGRAM [ARG]...",
            help="What to run, with its own arguments.",
            show_default=False,
        ),
    ],
    refresh: Annotated[
        Any,
        _option(
            "--refresh",
            panel="Measuring",
            parser=_parser(_refresh),
            metavar="DURATION",
            help="Time between two full samples: 400ms, 1.5s, 1m30s.",
        ),
    ] = "500ms",
    probe: Annotated[
        Any,
        _option(
            "--probe",
            panel="Measuring",
            parser=_parser(_probe),
            metavar="auto|off|DURATION",
            help="Time between two looks at usage alone, so that no short peak is missed.",
        ),
    ] = "auto",
    limit: Annotated[
        Any,
        _option(
            "--limit",
            panel="Limits and budgets",
            parser=_parser(_positive_size),
            metavar="SIZE",
            help="Let the kernel enforce this limit (memory.max): 512Mi, 512MB, bytes.",
            show_default=False,
        ),
    ] = None,
    oom_group: Annotated[
        bool,
        _option(
            "--oom-group/--no-oom-group",
            panel="Limits and budgets",
            help="When the limit kills, kill the whole group (v2 only).",
        ),
    ] = False,
    max_peak: Annotated[
        Any,
        _option(
            "--max-peak",
            panel="Limits and budgets",
            parser=_parser(_positive_size),
            metavar="SIZE",
            help="Budget: exit with 123 where the program succeeded and the peak was higher.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        Any,
        _option(
            "--timeout",
            panel="Time",
            parser=_parser(_refresh),
            metavar="DURATION",
            help="Ask the program to end after this time (SIGTERM); exit with 124.",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[
        Any,
        _option(
            "--grace",
            panel="Time",
            parser=_parser(units.parse_duration),
            metavar="DURATION",
            help="Time from there to killing the whole group.",
        ),
    ] = "5s",
    linger: Annotated[
        Linger,
        _option(
            "--linger",
            panel="Time",
            help="What outlives the main process is ended, or waited for.",
        ),
    ] = Linger.END,
    output: Annotated[
        str | None,
        _option(
            "-o",
            "--output",
            panel="Output",
            metavar="FILE",
            help="Write the report there, - for standard output.  [default: standard error]",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        str | None,
        _option(
            "--json",
            panel="Output",
            metavar="FILE",
            help="Write everything measured as JSON, - for standard output.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, _option("--quiet", "-q", panel="Output", help="No report.")] = False,
    debug: Annotated[
        bool, _option("--debug", panel="Output", help="Log what is tried, on standard error.")
    ] = False,
    parent: Annotated[
        str | None,
        _option(
            "--parent",
            panel="Measuring",
            metavar="GROUP",
            help="Work below this group: /sys/fs/cgroup/mine, or /mine.",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[
        Backend,
        _option(
            "--backend",
            panel="Measuring",
            help="Measure in this way only; proc watches the processes without any group.",
        ),
    ] = Backend.AUTO,
    require: Annotated[
        Require | None,
        _option(
            "--require",
            panel="Measuring",
            help="Refuse to measure without a group, or without the kernel's own peak.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool,
        _option(
            "--version",
            panel="Output",
            callback=_show_version,
            is_eager=True,
            help="Show the version and exit.",
            show_default=False,
        ),
    ] = False,
) -> int:
    """Run PROGRAM in a memory cgroup of its own and report what it really used.

    The report goes to standard error, so the program's output stays its own; the
    exit status is the program's, 128+N where a signal ended it, 123 for a broken
    budget, 124 for the time limit, 125 where cmemrun itself failed.

    \b
    Examples:
      cmemrun ./myapp --flag
      cmemrun --refresh 100ms --json run.json -- make -j2
      cmemrun --limit 512Mi --max-peak 400Mi -- python3 job.py
    """
    del version
    if debug:
        log_everything()

    document = open_output("--json", json) if json is not None else None
    report = open_output("--output", output) if output is not None else None
    if document and report and document.identity == report.identity is not None:
        raise BadInput(
            f"--json and --output both name {json!r}", hint="give each a file of its own"
        )
    settings = Settings(
        refresh_seconds=refresh,
        probe=probe,
        limits=Limits(max_bytes=limit, oom_group=oom_group),
        timeout_seconds=timeout,
        grace_seconds=grace,
        linger=linger is Linger.WAIT,
        parent=parent,
        backend=backend.value,
        require=require.value if require else None,
    )
    with Foreground() as waiter:
        measured = measure(
            command,
            settings,
            waiter=waiter,
            environment=original_environment(),
            meanwhile=lambda: _load_what_comes_later(document=document is not None),
        )
    if max_peak is not None:
        from cmemrun.analysis.budget import judge_peak

        measured = measured._replace(budgets=(judge_peak(measured, max_peak),))
    status = _publish(measured, document, report, quiet=quiet)
    # Whoever presses Ctrl-C in a loop of a shell means the loop; the shell ends
    # it when it sees us end by the signal, which to it has the same status.
    # Without a shell (we lead the session) nobody looks.
    if (
        measured.exit.signal == signal.SIGINT
        and waiter.interrupted_by_terminal
        and os.getsid(0) != os.getpid()
    ):
        end_interrupted()
    return status


def _load_what_comes_later(*, document: bool) -> None:
    units.format_size(2**20)
    if document:
        importlib.import_module("cmemrun.report.document")


def _publish(run: Run, document: Output | None, report: Output | None, *, quiet: bool) -> int:
    """Write what was asked for, the document first; one that fails takes no other with it."""
    status = run.exit.status
    texts: list[tuple[Output, str]] = []
    if document:
        from cmemrun.report.document import render as render_document

        texts.append((document, render_document(run)))
    if report:
        texts.append((report, terminal.render(run, colour=False)))
    for output, text in texts:
        try:
            output.write(text)
        except CmemrunError as error:
            say(error.message, hint=error.hint)
            status = status or error.exit_status
    if not report and not quiet:
        show(terminal.render(run, colour=colour()))
    broken = [budget for budget in run.budgets if not budget.passed]
    for budget in broken:
        say(terminal.budget_line(budget))
    return status or (_BUDGET_BROKEN if broken else 0)
