"""What somebody allows a program, against what it used."""

import re
from collections.abc import Iterable

from cmemrun.analysis.metrics import METRICS, Metric, find_metric
from cmemrun.errors import BadInput
from cmemrun.model import Assertion, Budget, Measurement, Run

__all__ = ["budgets_of", "judge", "parse_assertion", "worst"]

_EXAMPLES = "anon<=150Mi, stall<=500ms or oom_kill=0"


def parse_assertion(text: str) -> Assertion:
    """An assertion from ``anon<=150Mi``, ``stall<=500ms``, ``oom_kill=0``; ``BadInput``."""
    match = re.fullmatch(r"\s*(\w+)\s*(<=|==?)\s*(\S+)\s*", text)
    if not match:
        raise BadInput(f"{text!r} asserts nothing", hint=f"write {_EXAMPLES}")
    name, operator, value = match.groups()
    metric = find_metric(name)
    allowed = metric.kind.parse(value)
    if operator != "<=" and allowed != 0:
        raise BadInput(f"{text!r}: nothing is measured to the byte", hint=f"write {name}<={value}")
    return Assertion(name, allowed)


def judge(run: Run, assertions: Iterable[Assertion]) -> tuple[Budget, ...]:
    """A run against some assertions, and how sure each answer is."""
    return tuple(_judge(run, METRICS[one.metric], one.allowed) for one in assertions)


def _judge(run: Run, metric: Metric, allowed: float) -> Budget:
    at_most = metric.at_most(run)
    return Budget(
        metric=metric.name,
        allowed=allowed,
        measured=metric.of_run(run),
        certainty=metric.certainty(run),
        proven=at_most is not None and at_most <= allowed,
    )


def budgets_of(measurement: Measurement) -> tuple[Budget, ...]:
    """All that is to be said of a measurement: its worst run decides."""
    return (*worst(measurement.runs), *measurement.growth)


def worst(runs: Iterable[Run]) -> tuple[Budget, ...]:
    """Of every budget of some runs the one that has the least left."""
    found: dict[tuple[str, float], Budget] = {}
    for run in runs:
        for budget in run.budgets:
            before = found.setdefault((budget.metric, budget.allowed), budget)
            if _left(budget) < _left(before):
                found[budget.metric, budget.allowed] = budget
    return tuple(found.values())


def _left(budget: Budget) -> float:
    return float("-inf") if budget.margin is None else budget.margin
