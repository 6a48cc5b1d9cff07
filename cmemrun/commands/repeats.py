"""A program run several times, and with several parameters, against what it used before."""

import contextlib
import itertools
import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from cmemrun.commands.baselines import Baseline, Kept, open_baseline, read_baseline
from cmemrun.commands.beside import run_beside
from cmemrun.commands.console import say
from cmemrun.commands.measuring import measure_once
from cmemrun.commands.options.run import RunOptions
from cmemrun.commands.publication import Publication, open_publication
from cmemrun.errors import BadInput, CmemrunError
from cmemrun.model import Measurement, Run
from cmemrun.report.text import command_line, shortened, whole_command_line
from cmemrun.signals import end_interrupted, survive_one_interrupt
from cmemrun.units import format_duration, format_size

if TYPE_CHECKING:
    from cmemrun.commands.profiles import Profile

__all__ = [
    "Ended",
    "Repeated",
    "conclude",
    "ended_by_exception",
    "measure_repeatedly",
    "repeat",
    "variants",
]

_MOST_VARIANTS = 1000
_DROP_CACHES = "/proc/sys/vm/drop_caches"


class Repeated(NamedTuple):
    """What was measured, and why it is not all."""

    measurements: tuple[Measurement, ...]
    failure: CmemrunError | None = None
    """Of ours, or of a command beside the program."""
    was_interrupted: bool = False
    """Somebody asked us to end before all was done."""
    was_interrupted_by_terminal: bool = False

    @property
    def is_cut_short(self) -> bool:
        """Whether what is missing is not to be looked for any more."""
        return self.failure is not None or self.was_interrupted


def repeat(command: Sequence[str], options: RunOptions, profile: "Profile | None") -> int:
    """Run it as often and in as many ways as is wanted; the status of the first that failed."""
    with open_publication(options) as publication:
        done = measure_repeatedly(variants(command, options), options, profile, publication)
        return conclude(done, publication, report_only=options.report_only)


def conclude(done: Repeated, publication: Publication, *, report_only: bool) -> int:
    """Publish what was measured, and say what is to be said of it; the exit status."""
    from cmemrun.analysis.budget import budgets_of
    from cmemrun.commands.verdict import say_budgets

    status, broken = 0, 0
    if done.measurements:
        status = publication.publish(done.measurements)
    several = len(done.measurements) > 1
    for one in done.measurements:
        name = shortened(one.name) if several else None
        broken = say_budgets(budgets_of(one), name=name) or broken
    if done.failure is not None:
        say(done.failure.message, hint=done.failure.hint)
        return status or done.failure.exit_status
    if done.was_interrupted_by_terminal:
        end_interrupted()
    if done.was_interrupted:
        return status or 130
    return status or (0 if report_only else broken)


def measure_repeatedly(
    commands: Mapping[str, Sequence[str]],
    options: RunOptions,
    profile: "Profile | None",
    publication: Publication | None = None,
) -> Repeated:
    """Every command as often as is wanted. What has been measured is never lost."""
    _refuse(options, several=len(commands) > 1)
    user = options.user
    before = None if options.against is None else read_baseline(options.against, user)
    kept = None if options.save_baseline is None else open_baseline(options.save_baseline, user)
    session = _Session(options, profile, publication)
    done: list[Measurement] = []
    try:
        with ended_by_exception():
            for name, command in commands.items():
                runs = session.runs_of(name, command)
                if runs:
                    done.append(_judged(Measurement(name, tuple(runs)), before, options, session))
                if session.is_over:
                    break
    except Ended as ended:
        session.was_interrupted = True
        session.was_interrupted_by_terminal = ended.by_terminal
        if session.runs:
            done.append(Measurement(session.name, tuple(session.runs)))
    if not done and session.failure is not None:
        raise session.failure
    if kept is not None and done and not session.is_over:
        session.failure = _keep(kept, done)
    # Whoever wanted an end has had it where nothing was left to be done.
    total = options.runs or 1
    is_missing = len(done) < len(commands) or any(len(one.runs) < total for one in done)
    return Repeated(
        tuple(done),
        session.failure,
        session.was_interrupted and is_missing,
        session.was_interrupted_by_terminal and is_missing,
    )


class Ended(BaseException):
    """Somebody asks us to end while no program runs."""

    def __init__(self, signum: int) -> None:
        self.by_terminal = signum == signal.SIGINT


@contextlib.contextmanager
def ended_by_exception() -> Iterator[None]:
    """Have signals that end us raise ``Ended``; while a program runs they are blocked.

    Afterwards there is only to be told what was measured, and one SIGINT is survived.
    """

    def end(signum: int, _: object) -> None:
        raise Ended(signum)

    before = {}
    try:
        for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                before[signum] = signal.signal(signum, end)
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        survive_one_interrupt()


def _keep(kept: Kept, done: Sequence[Measurement]) -> CmemrunError | None:
    """Make it the baseline, unless it is none to compare with; the failure where that fails."""
    from cmemrun.analysis.budget import budgets_of

    if any(run.exit.status for one in done for run in one.runs):
        say("the baseline stays as it was: a run failed")
    elif any(not budget.passed for one in done for budget in budgets_of(one)):
        say("the baseline stays as it was: a budget is broken")
    else:
        try:
            kept.save(done)
        except CmemrunError as failure:
            return failure
    return None


def _refuse(options: RunOptions, *, several: bool) -> None:
    if options.fail_on and options.against is None:
        raise BadInput("--fail-on: there is nothing to compare with", hint="give --against")
    if options.parameter_step_size is not None and not options.parameter_scan:
        raise BadInput(
            "--parameter-step-size: there is no --parameter-scan",
            hint="add --parameter-scan VAR MIN MAX",
        )
    is_repeated = several or (options.runs or 1) > 1
    if (is_repeated or options.warmup) and (options.record is not None or options.live):
        raise BadInput("--record and --live are of one run", hint="leave --runs out")
    if is_repeated and any(name == "csv" for name, _ in options.exports):
        raise BadInput("--export csv has the samples of one run", hint="leave --runs out")
    if options.cold and os.geteuid() != 0:
        raise BadInput("--cold: only root can drop the page cache", hint="sudo cmemrun --cold …")


class _Session:
    """Makes runs until something ends it."""

    def __init__(
        self, options: RunOptions, profile: "Profile | None", publication: Publication | None
    ) -> None:
        self._options = options
        self._profile = profile
        self._publication = publication
        self._total = options.runs or 1
        self.failure: CmemrunError | None = None
        self.was_interrupted = False
        self.was_interrupted_by_terminal = False
        self.name = ""
        self.runs: list[Run] = []
        """Of the command that it is at."""

    @property
    def is_over(self) -> bool:
        return self.was_interrupted or self.failure is not None

    def runs_of(self, name: str, command: Sequence[str]) -> list[Run]:
        options = self._options
        self.name, self.runs = name, []
        try:
            for number in range(1 - (options.warmup or 0), self._total + 1):
                self._before()
                measured = measure_once(command, options, self._profile, self._publication)
                self.was_interrupted = measured.was_interrupted
                self.was_interrupted_by_terminal = measured.was_interrupted_by_terminal
                # Of several runs one that somebody ended is none; a single one is what there is.
                if number > 0 and (not self.was_interrupted or self._total == 1):
                    self.runs.append(measured.run)
                if self.was_interrupted:
                    break
                self._tell(name, number, measured.run)
            if options.cleanup and not self.was_interrupted:
                _carry_out("--cleanup", options.cleanup)
        except CmemrunError as failure:
            self.failure = failure
        runs, self.runs = self.runs, []
        return runs

    def _before(self) -> None:
        if self._options.prepare:
            _carry_out("--prepare", self._options.prepare)
        if self._options.cold:
            _drop_page_cache()

    def _tell(self, name: str, number: int, run: Run) -> None:
        if self._options.quiet or self._total == 1:
            return
        which = f"run {number} of {self._total}" if number > 0 else "warmup"
        say(
            f"{shortened(name, 60)}: {which}: peak {format_size(run.peak_bytes)},"
            f" {format_duration(run.wall_seconds)}, status {run.exit.status}"
        )


def _judged(
    measurement: Measurement, before: Baseline | None, options: RunOptions, session: _Session
) -> Measurement:
    """With what has become of it since the baseline, which is told."""
    if before is None:
        return measurement
    from cmemrun.analysis.comparison import compare, judge_growth
    from cmemrun.commands.console import colour, show, width
    from cmemrun.report.summary import render_comparison

    try:
        base = before.of(measurement.name)
        comparison = compare(base.runs, measurement.runs)
        if not options.quiet:
            show(
                render_comparison(base, measurement, comparison, colour=colour(), width=width())
                + "\n"
            )
        growth = judge_growth(comparison, dict(options.fail_on))
    except CmemrunError as failure:
        session.failure = failure
        return measurement
    if len(measurement.runs) > 1:
        return measurement._replace(growth=growth)
    (run,) = measurement.runs
    return measurement._replace(runs=(run._replace(budgets=run.budgets + growth),))


def _carry_out(option: str, command: Sequence[str]) -> None:
    """Run a command beside the program; what it says goes where our reports go."""
    done = run_beside(option, command, stdout=2)
    if done.returncode:
        raise BadInput(
            f"{option}: {command_line(command)} ended with {done.returncode}",
            hint="no run was made after it",
        )


def _drop_page_cache() -> None:
    os.sync()  # what is not written yet cannot be dropped (sysctl/vm.rst)
    try:
        with open(_DROP_CACHES, "w") as file:
            file.write("1\n")
    except OSError as error:
        raise BadInput(
            f"--cold: {_DROP_CACHES} refuses: {error.strerror}",
            hint="it takes the machine's own root: a container has none",
        ) from error


def variants(command: Sequence[str], options: RunOptions) -> dict[str, Sequence[str]]:
    """The command for every combination of the parameters, by what it is to be called.

    ``{VAR}`` in any of its words is replaced, as hyperfine has it.
    """
    values = dict(_values(options))
    for name in values:
        if not any(f"{{{name}}}" in word for word in command):
            raise BadInput(
                f"{{{name}}} is nowhere in the command", hint=f"write it as './app {{{name}}}'"
            )
    found: dict[str, Sequence[str]] = {}
    for chosen in itertools.product(*values.values()):
        if len(found) >= _MOST_VARIANTS:
            raise BadInput(
                f"more than {_MOST_VARIANTS} combinations of parameters", hint="give fewer values"
            )
        replaced = dict(zip(values, chosen, strict=True))
        words = [_replaced(word, replaced) for word in command]
        found[whole_command_line(words)] = words
    return found


def _replaced(word: str, values: Mapping[str, str]) -> str:
    # In one pass: a value that looks like a parameter is none.
    return re.sub(r"\{([^{}]*)\}", lambda found: values.get(found[1], found[0]), word)


def _values(options: RunOptions) -> Iterator[tuple[str, list[str]]]:
    names = [name for name, *_ in (*options.parameter_list, *options.parameter_scan)]
    if len(set(names)) < len(names):
        raise BadInput("a parameter is given twice", hint="give each a name of its own")
    for name, text in options.parameter_list:
        yield name, text.split(",")
    for name, *bounds in options.parameter_scan:
        least, most = (_number("--parameter-scan", text) for text in bounds)
        step = _number("--parameter-step-size", options.parameter_step_size or "1")
        if step <= 0 or most < least:
            raise BadInput(
                f"--parameter-scan: there is nothing from {bounds[0]} to {bounds[1]}",
                hint="give the smaller one first",
            )
        count = int((most - least) / step) + 1
        if count > _MOST_VARIANTS:
            raise BadInput(
                f"--parameter-scan: more than {_MOST_VARIANTS} values of {name}",
                hint="give a larger --parameter-step-size",
            )
        yield name, [_written(least + step * index) for index in range(count)]


def _number(option: str, text: str) -> Fraction:
    if not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,9})?", text):
        raise BadInput(f"{option}: {text!r} is no number", hint="write 10, or 0.5")
    return Fraction(text)


def _written(number: Fraction) -> str:
    """As people write it, exactly: what was given has no more digits than this can hold."""
    return f"{Decimal(number.numerator) / Decimal(number.denominator):f}"
