"""``cmemrun fit --squeeze``: what a program that runs on needs, without ever killing it."""

import contextlib
import json
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from cmemrun.analysis.squeeze import QUIET_SECONDS, Squeeze, conclude
from cmemrun.commands.console import show
from cmemrun.commands.options.fit import FitOptions
from cmemrun.commands.output import open_output
from cmemrun.commands.silence import silenced
from cmemrun.commands.tables import rendered, table
from cmemrun.launcher import original_environment
from cmemrun.model import Limits, Run
from cmemrun.report.text import command_line, unicode_text
from cmemrun.runner import Settings, measure
from cmemrun.sampler import Sampling
from cmemrun.signals import Foreground
from cmemrun.squeezer import Squeezer
from cmemrun.units import format_duration, format_size

__all__ = ["squeeze"]

SCHEMA = 1

_LOOK_SECONDS = 0.5
_MOST_ROWS = 16


def squeeze(command: Sequence[str], options: FitOptions) -> int:
    """Run the program once and take from it what it does not miss; 1 where nothing was found."""
    document = None if options.json is None else open_output("--json", options.json)
    squeezer = Squeezer()
    with silenced(), Foreground() as waiter, contextlib.closing(squeezer):
        run = measure(
            command,
            Settings(
                sampling=Sampling(refresh_seconds=_LOOK_SECONDS),
                # As a container has it, and as the other way to search does.
                limits=Limits(swap_max_bytes=0),
                strict_limits=False,
                timeout_seconds=options.max_time,
                grace_seconds=1.0,
                needs=("anon", "stall"),
            ),
            waiter=waiter,
            environment=original_environment(),
            observers=[squeezer],
        )
    found = conclude(squeezer.steering.steps)
    warnings = _warnings(found, run)
    if not options.quiet:
        show(_report(command, found, squeezer.way, warnings))
    if document:
        told = {
            "schema": SCHEMA,
            "command": [unicode_text(word) for word in command],
            **found._asdict(),
            "by": squeezer.way,
            "steps": [step._asdict() for step in found.steps],
            "warnings": warnings,
        }
        document.write(json.dumps(told, indent=1, allow_nan=False) + "\n")
    return 0 if found.held_bytes is not None else 1


def _warnings(found: Squeeze, run: Run) -> list[str]:
    told = ["anon and shared memory stay, as there is no swap: only files are squeezed out"]
    if found.held_bytes is None:
        told.append(
            "it ended, or grew, before it was quiet for"
            f" {format_duration(QUIET_SECONDS)}: have it run for longer"
        )
    elif not found.was_pressed:
        told.append("it missed nothing that was taken, so it may need even less")
    if run.events.oom_kill:
        told.append("somebody in it was killed by the OOM killer")
    return told


def _report(command: Sequence[str], found: Squeeze, way: str, warnings: Sequence[str]) -> str:
    parts = [Text.assemble(("fit      ", "dim"), (command_line(command), "bold")), Text()]
    quiet = format_duration(QUIET_SECONDS)
    for name, size, meaning in (
        ("held", found.held_bytes, f"the lowest usage that stayed quiet for {quiet}"),
        ("kept", found.kept_bytes, "the most there was of anon, shared memory and kernel"),
        ("highest", found.highest_bytes, f"the highest usage; squeezed by {way}"),
    ):
        told = "not found" if size is None else format_size(size)
        parts.append(Text.assemble((f"{name:<9}", "dim"), (f"{told:>12}", "bold"), f"   {meaning}"))
    notes = [Text.assemble(("note     ", "yellow"), warning) for warning in warnings]
    return rendered(*parts, Text(), _table(found), Text(), *notes, fd=2)


def _table(found: Squeeze) -> Table:
    """What was done, look by look, thinned."""
    columns = ("after", "usage", "taken", "read again", "stalled")
    made = table(*columns, right=columns)
    every = -(-len(found.steps) // _MOST_ROWS)
    for step in found.steps[::every]:
        made.add_row(
            format_duration(step.elapsed_seconds),
            format_size(step.usage_bytes),
            format_size(step.asked_bytes) if step.asked_bytes else "",
            format_size(step.refault_bytes) if step.refault_bytes else "",
            format_duration(step.stall_seconds),
        )
    return made
