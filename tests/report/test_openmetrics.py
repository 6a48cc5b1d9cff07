"""OpenMetrics and GitLab's metrics as the standard library's parsers read them."""

import re
import shlex
import sys

import pytest
from hypothesis import example, given
from prometheus_client import parser as classic
from prometheus_client.openmetrics import parser

from cmemrun.errors import BadInput
from cmemrun.model import Budget, Exit, Measurement, Oom
from cmemrun.report import gitlab_metrics, openmetrics
from cmemrun.report.findings import decimal, find
from tests.made_up import MIB, RUN, runs
from tests.report.hostile import EVERYTHING, measurements

BUDGETS = (Budget("peak", 64 * MIB, 101 * MIB, "exact"), Budget("wall", 5.0, None, "exact"))
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str, reader: object = parser) -> Values:
    """All values, each there once."""
    found: Values = {}
    for family in reader.text_string_to_metric_families(text):  # type: ignore[attr-defined]
        assert family.type in ("gauge", "unknown")
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found and sample.timestamp is None
            found[key] = sample.value
    return found


def value(found: Values, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


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


@given(measurements)
@example(EVERYTHING)
def test_hostile_words_stay_words(many: list[Measurement]) -> None:
    text = openmetrics.render(many)
    found = read(text)
    # The textfile collector reads the older format.
    assert read(text, classic) == found
    names = {dict(labels)["command"] for name, labels in found if name == "cmemrun_runs"}
    assert names == {one.name for one in find(many)}
    assert {dict(labels)["command"] for _, labels in found} == names
    assert sum(name == "cmemrun_budget_passed" for name, _ in found) == 2 * len(many)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(BadInput, match="needs prometheus-client") as caught:
        openmetrics.render([Measurement("a", (RUN,))])
    assert caught.value.hint is not None and "prometheus-client" in caught.value.hint
    gitlab_metrics.render([Measurement("a", (RUN,))])


def as_gitlab_reads(text: str) -> dict[str, str]:
    """Without comments, and the rest as a shell takes it apart (its parser's ``Generic``)."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        words = shlex.split(re.sub("#.*$", "", line))
        if words:
            name, told = words
            assert name not in found
            found[name] = told
    return found


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


@given(measurements)
@example(EVERYTHING)
def test_hostile_words_stay_words_to_gitlab(many: list[Measurement]) -> None:
    text = gitlab_metrics.render(many)
    told = as_gitlab_reads(text)
    found = read(text)
    assert len(told) == len(found)
    for one in find(many):
        command = one.name.replace("#", r"\x23")
        peak = value(found, "cmemrun_peak_bytes", command=command)
        if one.figures:
            assert peak == decimal(one.figures["peak_bytes"].median)
            assert told[f"cmemrun_peak_bytes{{command={command}}}"] == str(int(peak))
        else:
            assert peak is None
