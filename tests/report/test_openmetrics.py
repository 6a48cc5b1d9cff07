"""OpenMetrics and GitLab's metrics as the standard library's parsers read them."""

import sys

import pytest

from cmemrun.errors import BadInput
from cmemrun.model import Budget, Exit, Measurement, Oom
from cmemrun.report import gitlab_metrics, openmetrics
from tests.made_up import MIB, RUN, runs
from tests.report.readers import as_gitlab_reads, value
from tests.report.readers import openmetrics_values as read

BUDGETS = (Budget("peak", 64 * MIB, 101 * MIB, "exact"), Budget("wall", 5.0, None, "exact"))


def test_what_is_typical_and_how_far_apart() -> None:
    many = [Measurement("a", tuple(runs(100, 104, 101))), Measurement("b", (RUN,))]
    text = openmetrics.render(many)
    found = read(text)
    told = {
        name: value(found, f"cmemrun_{name}peak_bytes", command="a")
        for name in ("", "lowest_", "highest_")
    }
    assert told == {"": 101 * MIB, "lowest_": 100 * MIB, "highest_": 104 * MIB}
    assert value(found, "cmemrun_peak_bytes", command="b") == 101 * MIB
    assert value(found, "cmemrun_highest_peak_bytes", command="b") is None
    assert value(found, "cmemrun_runs", command="a") == 3
    assert value(found, "cmemrun_start_time_seconds", command="b") == RUN.started_at.timestamp()
    assert value(found, "cmemrun_peak_is_lower_bound", command="b") == 0
    # What the kernel does not say is not there.
    assert "cmemrun_peak_swap_bytes" not in text
    assert "# UNIT cmemrun_wall_seconds seconds\n" in text


def test_budgets() -> None:
    bad = RUN._replace(budgets=BUDGETS, exit=Exit(3))
    found = read(openmetrics.render([Measurement("a", (bad, RUN._replace(exit=Exit(3))))]))
    peak = {"command": "a", "metric": "peak", "budget": f"peak<={64 * MIB}"}
    wall = {"command": "a", "metric": "wall", "budget": "wall<=5.0"}
    told = [
        [value(found, f"cmemrun_budget_{name}", **labels) for labels in (peak, wall)]
        for name in ("allowed", "measured", "passed")
    ]
    assert told == [[64 * MIB, 5.0], [101 * MIB, None], [0, 0]]
    assert value(found, "cmemrun_failed_runs", command="a") == 2


def test_a_budget_that_is_there_twice_is_over_if_either_is() -> None:
    good, bad = (Budget("peak", 5, size, "exact") for size in (4, 6))
    found = read(openmetrics.render([Measurement("a", (RUN._replace(budgets=(good,)),), (bad,))]))
    labels = {"command": "a", "metric": "peak", "budget": "peak<=5"}
    assert value(found, "cmemrun_budget_passed", **labels) == 0


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(BadInput, match="needs prometheus-client") as caught:
        openmetrics.render([Measurement("a", (RUN,))])
    assert caught.value.hint is not None and "prometheus-client" in caught.value.hint
    gitlab_metrics.render([Measurement("a", (RUN,))])


def test_gitlab_is_told_plain_numbers_and_no_times() -> None:
    text = gitlab_metrics.render(
        [Measurement("a b", tuple(runs(100, 102))), Measurement("c", (RUN,))]
    )
    told = as_gitlab_reads(text)
    assert told["cmemrun_peak_bytes{command=a b}"] == str(101 * MIB)
    assert not [name for name in told if "seconds" in name]
    assert value(read(text), "cmemrun_peak_bytes", command="a b") == 101 * MIB
    killed = RUN._replace(oom=Oom("main-killed"))
    assert gitlab_metrics.render([Measurement("x", (killed,))]) == "# EOF\n"
