"""``cmemrun [run] [OPTIONS] [--] PROGRAM [ARG]...``: measure one program."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from cmemrun import units
from cmemrun.commands.console import colour, log_everything, say, show
from cmemrun.commands.options import Linger, RunOptions
from cmemrun.errors import BadInput, CmemrunError
from cmemrun.identity import acting_as
from cmemrun.launcher import original_environment
from cmemrun.model import Limits, Run
from cmemrun.runner import Settings, measure
from cmemrun.signals import Foreground, end_interrupted

if TYPE_CHECKING:
    from cmemrun.commands.output import Output
    from cmemrun.commands.recorder import Recorder

__all__ = ["run"]

_BUDGET_BROKEN = 123


def run(command: list[str], options: RunOptions) -> int:
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
    if options.debug:
        log_everything()

    with contextlib.ExitStack() as stack:
        # First, as it makes its file: what names the same one is then seen to.
        recorder = _recorder(options)
        if recorder:
            stack.callback(recorder.close)
        document, report = _outputs(options)
        _refuse_shared(
            ("--json", options.json, document),
            ("--output", options.output, report),
            ("--record", options.record, recorder),
        )
        return _measure(command, options, document, report, recorder)


def _measure(
    command: list[str],
    options: RunOptions,
    document: "Output | None",
    report: "Output | None",
    recorder: "Recorder | None",
) -> int:
    settings = Settings(
        refresh_seconds=options.refresh,
        probe=options.probe,
        limits=Limits(max_bytes=options.limit, oom_group=options.oom_group),
        timeout_seconds=options.timeout,
        grace_seconds=options.grace,
        linger=options.linger is Linger.WAIT,
        parent=options.parent,
        backend=options.backend.value,
        require=options.require.value if options.require else None,
        user=options.user,
        track_processes=options.processes,
        mappings=options.smaps,
    )
    # While the sampler is at work a signal would else wait 5 ms for its turn.
    sys.setswitchinterval(0.0005)
    with Foreground() as waiter:
        measured = measure(
            command,
            settings,
            waiter=waiter,
            environment=original_environment(),
            meanwhile=lambda: _load_what_comes_later(document=document is not None),
            observers=[recorder] if recorder else [],
        )
    if options.max_peak is not None:
        from cmemrun.analysis.budget import judge_peak

        measured = measured._replace(budgets=(judge_peak(measured, options.max_peak),))
    status = _publish(measured, document, report, recorder, options)
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


def _refuse_shared(*outputs: "tuple[str, str | None, Output | Recorder | None]") -> None:
    """Raise ``BadInput`` where two of these options name the same file."""
    owners: dict[object, tuple[str, str | None]] = {}
    for option, path, output in outputs:
        if output is not None and output.identity is not None:
            owner, named = owners.setdefault(output.identity, (option, path))
            if owner != option:
                raise BadInput(
                    f"{owner} and {option} both name {named!r}", hint="give each a file of its own"
                )


def _outputs(options: RunOptions) -> "tuple[Output | None, Output | None]":
    """What the document and the report go to, tried with the rights of their owner."""
    if options.json is None and options.output is None:
        return None, None
    # Not as that user, who may not be able to read where we are installed.
    from cmemrun.commands.output import open_output

    with acting_as(options.user):
        return (
            open_output("--json", options.json) if options.json is not None else None,
            open_output("--output", options.output) if options.output is not None else None,
        )


def _recorder(options: RunOptions) -> "Recorder | None":
    if options.record is None:
        return None
    from cmemrun.commands.output import open_stream
    from cmemrun.commands.recorder import Recorder

    with acting_as(options.user):
        return Recorder(open_stream("--record", options.record))


def _load_what_comes_later(*, document: bool) -> None:
    import datetime  # noqa: F401 (for the Run)

    import cmemrun.report.terminal

    units.format_size(2**20)
    if document:
        import cmemrun.report.document  # noqa: F401


def _publish(
    run: Run,
    document: "Output | None",
    report: "Output | None",
    recorder: "Recorder | None",
    options: RunOptions,
) -> int:
    """Write what was asked for, the document first; one that fails takes no other with it."""
    from cmemrun.report import terminal

    status = run.exit.status or 0
    writes: list[Callable[[], None]] = []
    if document:
        from cmemrun.report.document import render as render_document

        writes.append(partial(document.write, render_document(run)))
    if recorder:
        writes.append(partial(recorder.end, run))
    if report:
        writes.append(partial(report.write, terminal.render(run, colour=False)))
    for write in writes:
        try:
            with acting_as(options.user):
                write()
        except CmemrunError as error:
            say(error.message, hint=error.hint)
            status = status or error.exit_status
    if not report and not options.quiet:
        show(terminal.render(run, colour=colour()))
    broken = [budget for budget in run.budgets if not budget.passed]
    for budget in broken:
        say(terminal.budget_line(budget))
    return status or (_BUDGET_BROKEN if broken else 0)
