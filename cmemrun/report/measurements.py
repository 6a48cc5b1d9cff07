"""Measurements as a document: one run as itself, several with what they have in common."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cmemrun.analysis.budget import budgets_of, worst
from cmemrun.analysis.metrics import METRICS
from cmemrun.errors import BadInput
from cmemrun.model import Budget, Measurement, Run
from cmemrun.report.document import SCHEMA, budget_of, named_from, run_from, to_document
from cmemrun.report.text import unicode_text, whole_command_line

if TYPE_CHECKING:
    from cmemrun.analysis.statistics import Spread, Statistics

__all__ = ["measurements_from", "merged", "of_run", "render", "statistics_of"]


def of_run(run: Run) -> Measurement:
    """A run by itself, called by its command; a group that was watched has none."""
    return Measurement(whole_command_line(run.command) or run.method.group, (run,))


def render(measurements: Sequence[Measurement]) -> str:
    """The document as JSON text, in ASCII."""
    return json.dumps(_document(measurements), indent=1, allow_nan=False) + "\n"


def _document(measurements: Sequence[Measurement]) -> dict[str, Any]:
    if len(measurements) != 1:
        named = [{"name": unicode_text(one.name)} | _of(one) for one in measurements]
        return {"schema": SCHEMA, "measurements": named}
    (only,) = measurements
    told = to_document(only.runs[0]) if len(only.runs) == 1 else _of(only)
    is_named = only.name != of_run(only.runs[0]).name
    return told | ({"name": unicode_text(only.name)} if is_named else {})


def _of(measurement: Measurement) -> dict[str, Any]:
    # One run by itself has no need of it, and it takes long to load.
    from cmemrun.analysis.statistics import summarize

    return {
        "schema": SCHEMA,
        "command": [unicode_text(word) for word in measurement.runs[0].command],
        "runs": [to_document(run) for run in measurement.runs],
        "statistics": statistics_of(summarize(measurement.runs)),
        "budgets": [budget_of(budget) for budget in budgets_of(measurement)],
    }


def statistics_of(statistics: "Statistics") -> dict[str, Any]:
    """The statistics' part, by the names that a run has for its metrics."""
    return {
        "metrics": {METRICS[one.metric].field: _spread(one) for one in statistics.metrics},
        "left_out": [one._asdict() for one in statistics.left_out],
        "status": statistics.status,
    }


def _spread(one: "Spread") -> dict[str, Any]:
    told = one._asdict()
    del told["metric"]
    return told | {"spread": one.spread, "is_beyond_resolution": one.is_beyond_resolution}


def merged(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Those of the same name taken together, as after a sweep over many machines."""
    found: dict[str, Measurement] = {}
    for one in measurements:
        before = found.get(one.name, Measurement(one.name, ()))
        found[one.name] = Measurement(one.name, before.runs + one.runs, before.growth + one.growth)
    return list(found.values())


def measurements_from(read: Any) -> list[Measurement]:
    """The measurements of a document of either kind; ``BadInput`` where it is none.

    Statistics are not read: they follow from the runs.
    """
    if not isinstance(read, dict):
        raise BadInput(
            "it is no document of cmemrun's", hint="give what --json or --record has written"
        )
    several = read.get("measurements")
    if isinstance(several, list) and several:
        return [_from(one) for one in several]
    return [_from(read)]


def _from(read: Any) -> Measurement:
    # A search has runs, too, of another kind, and no statistics.
    if not isinstance(read, dict) or "statistics" not in read:
        measurement = of_run(run_from(read))
    elif isinstance(read.get("runs"), list) and read["runs"]:
        runs = tuple(run_from(one) for one in read["runs"])
        measurement = of_run(runs[0])._replace(runs=runs, growth=_growth(read, runs))
    else:
        raise BadInput("there is no run in it", hint="give what --json or --record has written")
    name = read.get("name")
    return measurement._replace(name=name) if isinstance(name, str) else measurement


def _growth(read: dict[str, Any], runs: tuple[Run, ...]) -> tuple[Budget, ...]:
    """The budgets that are of no single run."""
    try:
        told = tuple(named_from(Budget, one) for one in read.get("budgets", ()))
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"its budgets are none: {error}", hint="give what --json or --record has written"
        ) from error
    of_runs = worst(runs)
    return tuple(budget for budget in told if budget not in of_runs)
