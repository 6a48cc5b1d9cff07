"""``cmemrun fit``: the smallest limits a program lives with, found by running it."""

import contextlib
import os
import time
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from cmemrun.analysis.search import Criteria, Fit, Outcome, Trial, search
from cmemrun.commands.arguments import options_from
from cmemrun.commands.beside import run_beside
from cmemrun.commands.console import log_everything, say, show, write_all
from cmemrun.commands.inputs import read_fit
from cmemrun.commands.options.fit import FitOptions
from cmemrun.commands.output import open_output
from cmemrun.commands.silence import silenced
from cmemrun.commands.tables import rendered, table
from cmemrun.errors import BadInput
from cmemrun.launcher import original_environment
from cmemrun.model import Limits, Run
from cmemrun.report import fit_document
from cmemrun.report.text import command_line, unicode_text
from cmemrun.report.words import duration
from cmemrun.runner import Settings, measure
from cmemrun.sampler import Sampling
from cmemrun.signals import Foreground
from cmemrun.units import format_duration, format_size

__all__ = ["fit"]

# A run that thrashes may take for ever: it has this many times as long as one without a
# limit, and at least so long.
_PATIENCE_FACTOR, _PATIENCE_SECONDS = 10, 10.0

# From so much on it is worth a word that files were read which nobody is charged for.
_WORTH_BYTES = 16 * 2**20


def fit(command: list[str], options: FitOptions) -> int:
    """Search the smallest memory limit that PROGRAM lives with.

    It is run again and again, each time in a group of its own and without swap:
    first without a limit, then with limits that close in on the cliff, below which
    the OOM killer ends it or it fails, and on the knee, below which it is slowed by
    more than --slowdown for want of memory. Its output is thrown away, and it reads
    nothing. Success is exit status 0 without any OOM kill, or what --check says.
    Ctrl-C ends the search with what is known.

    With --squeeze it is run once and never killed: memory is taken from it as long
    as it does not wait for any (cgroup v2 with PSI only).

    \b
    Examples:
      cmemrun fit -- ./myapp --once
      cmemrun fit --check 'test -s out.csv' -- ./convert in.csv out.csv
      cmemrun fit --squeeze --max-time 5m -- ./server
      cmemrun fit --max-time 10m --resume fit.json --json fit.json -- ./myapp
    """
    if options.debug:
        log_everything()
    if not command:
        raise BadInput("there is no program to run", hint="cmemrun fit [OPTIONS] [--] PROGRAM …")
    if options.squeeze:
        _refuse_search(options)
        from cmemrun.commands.squeezing import squeeze

        return squeeze(command, options)
    document = None if options.json is None else open_output("--json", options.json)
    known = _known(options.resume, command)
    with silenced() as terminal, Foreground() as waiter:
        prober = _Prober(command, options, waiter, known)

        def tell(found: Fit) -> None:
            if not options.quiet:
                write_all(terminal, f"cmemrun: {_progress(found)}\n")

        found = search(
            prober.probe,
            Criteria(
                slowdown=options.slowdown, confirm=options.confirm, most_runs=options.max_runs
            ),
            on_progress=tell,
        )
    if not options.quiet:
        show(_report(command, found, prober.warnings))
    if document:
        saved = fit_document.SavedFit(
            tuple(command), found, options.slowdown, tuple(prober.warnings)
        )
        document.write(fit_document.render(saved))
    if found.unlimited.outcome is not Outcome.OK:
        say(
            "the program does not succeed without a limit, either"
            f" ({found.unlimited.outcome.value})",
            hint="see that it runs, with standard input empty, or say what success is with --check",
        )
    return 0 if found.cliff_bytes is not None else 1


def _refuse_search(options: FitOptions) -> None:
    # That a default was written out cannot be told, and does no harm.
    usual = options_from(FitOptions.__annotations__, {})
    for name in ("slowdown", "confirm", "max_runs", "check", "resume"):
        if getattr(options, name) != usual[name]:
            raise BadInput(
                f"--{name.replace('_', '-')} is for a search, and --squeeze is none",
                hint="leave it out, or --squeeze",
            )


class _Prober:
    """Runs the program under a limit and says how that went."""

    def __init__(
        self,
        command: Sequence[str],
        options: FitOptions,
        waiter: Foreground,
        known: dict[int | None, list[Trial]],
    ) -> None:
        self._command = command
        self._options = options
        self._waiter = waiter
        self._known = known
        self._deadline = None if options.max_time is None else time.monotonic() + options.max_time
        self._unlimited_seconds: float | None = None
        self.warnings: list[str] = []

    def probe(self, limit_bytes: int | None) -> Trial:
        """One trial; ``KeyboardInterrupt`` where somebody wants to end, or time is over."""
        remembered = self._known.get(limit_bytes)
        trial = remembered.pop(0) if remembered else self._try(limit_bytes)
        if limit_bytes is None:
            self._unlimited_seconds = trial.wall_seconds
        return trial

    def _try(self, limit_bytes: int | None) -> Trial:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise KeyboardInterrupt
        read_before = _bytes_read()
        run = measure(
            self._command,
            Settings(
                sampling=Sampling(refresh_seconds=0.1),
                # As a container has it: what does not fit is not swapped out.
                limits=Limits(max_bytes=limit_bytes, swap_max_bytes=0),
                strict_limits=False,
                timeout_seconds=self._patience(),
                grace_seconds=1.0,
                require="cgroup",
            ),
            waiter=self._waiter,
            environment=original_environment(),
        )
        if self._waiter.asked_to_end:
            raise KeyboardInterrupt
        if limit_bytes is None:
            self._warn(run, read_before)
        peak = run.at_peak_anon or run.at_peak
        parts = (peak.anon_bytes, peak.shmem_bytes, peak.kernel_bytes)
        return Trial(
            limit_bytes=limit_bytes,
            outcome=self._outcome(run),
            wall_seconds=run.wall_seconds,
            stall_seconds=run.pressure.some_seconds if run.pressure else None,
            peak_bytes=run.peak_bytes,
            refault_bytes=_refaults(run),
            limit_hits=run.events.max,
            kept_bytes=sum(part or 0 for part in parts) if peak.anon_bytes is not None else None,
        )

    def _patience(self) -> float | None:
        if self._unlimited_seconds is None:
            return None
        return max(_PATIENCE_SECONDS, self._unlimited_seconds * _PATIENCE_FACTOR)

    def _outcome(self, run: Run) -> Outcome:
        if run.events.oom_kill:
            return Outcome.KILLED
        if run.exit.timed_out:
            return Outcome.TIMED_OUT
        succeeded = run.exit.status == 0
        if self._options.check is not None:
            succeeded = _check(self._options.check)
        return Outcome.OK if succeeded else Outcome.FAILED

    def _warn(self, run: Run, read_before: tuple[int, int] | None) -> None:
        """Of what the run without a limit does not show."""
        read_after = _bytes_read()
        if read_before is None or read_after is None:
            return
        asked, from_disk = (
            after - before for after, before in zip(read_after, read_before, strict=True)
        )
        # What it read from a disk, or was the first to read, is charged to it.
        charged = max(from_disk, run.peaks.file_bytes or 0)
        if charged < _WORTH_BYTES <= asked:
            self.warnings.append(
                f"it read {format_size(asked)} that came from no disk and are charged to nobody"
                " here: where that was a file in the page cache already, it needs more with a"
                " cold cache to be as fast (drop it first, as root: echo 1 >"
                " /proc/sys/vm/drop_caches)"
            )


def _refaults(run: Run) -> int | None:
    told = (run.paging.workingset_refault_anon, run.paging.workingset_refault_file)
    pages = [count for count in told if count is not None]
    return sum(pages) * run.environment.page_bytes if pages else None


def _check(command: Sequence[str]) -> bool:
    return run_beside("--check", command).returncode == 0


def _bytes_read() -> tuple[int, int] | None:
    """What we and all that we have waited for have read, and how much of it from disks.

    (proc_pid_io(5); what a child has done is its parent's when it is waited for.)
    """
    with contextlib.suppress(OSError, ValueError, KeyError), open("/proc/self/io") as file:
        told = dict(line.split(":") for line in file)
        return int(told["rchar"]), int(told["read_bytes"])
    return None


def _progress(found: Fit) -> str:
    trial = found.trials[-1]
    limit = "no limit" if trial.limit_bytes is None else format_size(trial.limit_bytes)
    high = "the peak" if found.cliff_bytes is None else format_size(found.cliff_bytes)
    return (
        f"run {len(found.trials)}: {limit}, {trial.outcome.value} after"
        f" {format_duration(trial.wall_seconds)}; the cliff is between"
        f" {format_size(found.low_bytes)} and {high}"
    )


def _known(path: str | None, command: Sequence[str]) -> dict[int | None, list[Trial]]:
    """The trials of an earlier search for the same program, by their limits."""
    found: dict[int | None, list[Trial]] = {}
    if path is None:
        return found
    if not os.path.exists(path):
        say(f"--resume: there is no {path!r} yet, so the search starts anew")
        return found
    earlier = read_fit(path)
    if earlier.command != tuple(unicode_text(word) for word in command):
        raise BadInput(
            f"--resume: {path!r} is of another program",
            hint="give the program as it was then, or another file",
        )
    for trial in earlier.fit.trials:
        found.setdefault(trial.limit_bytes, []).append(trial)
    return found


def _report(command: Sequence[str], found: Fit, warnings: Sequence[str]) -> str:
    parts = [Text.assemble(("fit     ", "dim"), (command_line(command), "bold")), Text()]
    for name, size, meaning in (
        ("cliff", found.cliff_bytes, "the smallest limit it succeeds with"),
        ("knee", found.knee_bytes, "the smallest it is not slowed by"),
    ):
        told = "not found" if size is None else format_size(size)
        parts.append(Text.assemble((f"{name:<8}", "dim"), (f"{told:>12}", "bold"), f"   {meaning}"))
    parts.append(Text())
    if not found.is_complete:
        parts += [Text("the search was ended before it was over", "yellow"), Text()]
    notes = [Text.assemble(("warning  ", "yellow"), warning) for warning in warnings]
    return rendered(*parts, _table(found), *([Text()] if notes else []), *notes, fd=2)


def _table(found: Fit) -> Table:
    """The curve: from the largest limit to the smallest."""
    numbers = ("limit", "time", "stalled", "peak")
    made = table("limit", "", "time", "stalled", "peak", right=numbers)
    infinite = float("inf")
    for trial in sorted(
        found.trials,
        key=lambda one: infinite if one.limit_bytes is None else one.limit_bytes,
        reverse=True,
    ):
        good = trial.outcome is Outcome.OK
        made.add_row(
            "none" if trial.limit_bytes is None else format_size(trial.limit_bytes),
            Text(trial.outcome.value, "green" if good else "red"),
            format_duration(trial.wall_seconds),
            duration(trial.stall_seconds),
            format_size(trial.peak_bytes),
        )
    return made
