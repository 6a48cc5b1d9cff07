"""What a CI job wants to know of a measurement, the same in all its formats."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cmemrun.analysis.budget import budgets_of
from cmemrun.analysis.metrics import METRICS
from cmemrun.analysis.statistics import Spread, Statistics, summarize
from cmemrun.model import Budget, Measurement, Run
from cmemrun.report import words
from cmemrun.report.text import printable, shortened

__all__ = ["Finding", "decimal", "find"]

# As long as a command line is shown anywhere.
_NAME_WIDTH = 200


class Finding(NamedTuple):
    """One measurement, judged; texts are not yet made safe, but for the name."""

    name: str
    """One printable line, of no other measurement beside it: some formats have it as a key."""
    runs: tuple[Run, ...]
    figures: dict[str, Spread]
    """The metrics of the runs that count, by the names that a document has for them."""
    budgets: tuple[Budget, ...]
    failures: tuple[str, ...]
    """Runs whose program failed, and how."""
    remarks: tuple[str, ...]
    """What else must be known to make something of the numbers."""

    @property
    def passed(self) -> bool:
        """Whether every program succeeded, within every budget."""
        return not self.failures and all(budget.passed for budget in self.budgets)

    def tell(self, metric: str) -> str:
        """What is typical, and the highest of all runs where that reads differently."""
        of_run, field = METRICS[metric].of_run, METRICS[metric].field
        tell = METRICS[metric].kind.tell
        values = [value for value in map(of_run, self.runs) if value is not None]
        if not values:
            return "n/a"
        highest = tell(max(values))
        if field not in self.figures:
            return f"up to {highest}"
        typical = tell(self.figures[field].median)
        return typical if typical == highest else f"{typical}, up to {highest}"


def find(measurements: Sequence[Measurement]) -> list[Finding]:
    """What is to be said of each."""
    return [
        _finding(one, name) for one, name in zip(measurements, _names(measurements), strict=True)
    ]


def decimal(value: float) -> int | float:
    """Without a fraction where it has none: the median of two sizes, for instance."""
    return int(value) if float(value).is_integer() else value


def _names(measurements: Sequence[Measurement]) -> Iterator[str]:
    taken: set[str] = set()
    for one in measurements:
        # A group that was only watched has no command.
        told = printable(one.name or one.runs[0].method.group) or "?"
        name = wanted = shortened(told, _NAME_WIDTH)
        number = 1
        while name in taken:
            number += 1
            name = f"{wanted} ({number})"
        taken.add(name)
        yield name


def _finding(measurement: Measurement, name: str) -> Finding:
    runs, statistics = measurement.runs, summarize(measurement.runs)
    return Finding(
        name=name,
        runs=runs,
        figures={METRICS[one.metric].field: one for one in statistics.metrics},
        budgets=budgets_of(measurement),
        failures=tuple(_failures(runs)),
        remarks=tuple(_remarks(runs, statistics)),
    )


def _failures(runs: Sequence[Run]) -> Iterator[str]:
    for number, run in enumerate(runs):
        if run.exit.status:
            killed = f", {words.kills(run)}" if _is_killed(run) else ""
            yield _of(number, runs, f"{words.end(run)}{killed}")


def _remarks(runs: Sequence[Run], statistics: Statistics) -> Iterator[str]:
    for number, run in enumerate(runs):
        if not run.exit.status and _is_killed(run):
            yield _of(number, runs, words.kills(run))
    for one in statistics.left_out:
        yield _of(one.run, runs, f"in no typical value, as {one.reason}")
    if any(run.method.lower_bound for run in runs):
        yield f"the peak is {words.peak_source(next(r for r in runs if r.method.lower_bound))}"


def _is_killed(run: Run) -> bool:
    return run.oom.verdict not in ("none", "sigkill-not-oom")


def _of(number: int, runs: Sequence[Run], text: str) -> str:
    return f"run {number + 1} of {len(runs)}: {text}" if len(runs) > 1 else text
