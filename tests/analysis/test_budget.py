"""Assertions as text, and what a run says to them."""

import json

import pytest

from cmemrun.analysis.budget import judge, parse_assertion, worst
from cmemrun.analysis.metrics import METRICS, missing
from cmemrun.errors import BadInput
from cmemrun.model import Assertion, Budget, Events, Peaks, Pressure, Sample
from cmemrun.report import document, words
from tests.made_up import RUN

MIB = 2**20
WATCHED = RUN._replace(
    method=RUN.method._replace(backend="proc", peak_source="sampled", lower_bound=True)
)


@pytest.mark.parametrize(
    ("text", "metric", "allowed"),
    [
        ("anon<=150Mi", "anon", 150 * MIB),
        (" peak <= 1Gi ", "peak", 2**30),
        ("stall<=500ms", "stall", 0.5),
        ("wall<=1m30s", "wall", 90.0),
        ("oom_kill=0", "oom_kill", 0),
        ("oom_kill==0", "oom_kill", 0),
        ("tasks<=12", "tasks", 12),
        ("swap=0", "swap", 0),
    ],
)
def test_assertions(text: str, metric: str, allowed: float) -> None:
    assert parse_assertion(text) == Assertion(metric, allowed)


@pytest.mark.parametrize(
    "text",
    [
        "", "peak", "peak<=", "<=1Mi", "peak<1Mi", "peak>=1Mi", "peak<=512m", "nothing<=1",
        "anon=150Mi", "stall<=5", "oom_kill<=-1", "oom_kill<=1.5", "tasks<=²", "peak<=1Mi x",
        "oom_kill<=" + "9" * 5000,
    ],
)  # fmt: skip
def test_what_asserts_nothing_is_refused_with_what_would(text: str) -> None:
    with pytest.raises(BadInput) as refusal:
        parse_assertion(text)
    assert refusal.value.hint


def budget(metric: str, allowed: float, run: object = RUN) -> Budget:
    (found,) = judge(run, [Assertion(metric, allowed)])  # type: ignore[arg-type]
    return found


def test_a_peak_of_the_kernel_s_is_exact() -> None:
    within, over = budget("peak", 200 * MIB), budget("peak", 100 * MIB)
    assert (within.passed, within.margin) == (True, 99 * MIB)
    assert (within.certainty, within.proven) == ("exact", True)
    assert (over.passed, over.margin, over.proven) == (False, -MIB, False)
    assert budget("peak", RUN.peak_bytes).passed


def test_a_lower_bound_proves_nothing_but_what_it_breaks() -> None:
    within = budget("peak", 200 * MIB, WATCHED)
    assert (within.passed, within.certainty, within.proven) == (True, "lower-bound", False)
    assert words.budget(within).endswith("(lower bound, not proven)")
    assert not budget("peak", 100 * MIB, WATCHED).passed
    # But where the upper bound beside it is within, too.
    bounded = WATCHED._replace(upper_bound_bytes=150 * MIB)
    assert budget("peak", 150 * MIB, bounded).proven
    assert not budget("peak", 149 * MIB, bounded).proven
    assert budget("anon", 150 * MIB, bounded).proven


def test_a_sampled_part_is_proven_by_a_peak_within() -> None:
    run = RUN._replace(peaks=Peaks(anon_bytes=90 * MIB, swap_bytes=MIB))
    assert budget("anon", 101 * MIB, run).proven
    sampled = budget("anon", 95 * MIB, run)
    assert (sampled.passed, sampled.certainty, sampled.proven) == (True, "sampled", False)
    # Swap is no part of usage.
    assert not budget("swap", 200 * MIB, run).proven


def test_counts_and_times() -> None:
    run = RUN._replace(events=Events(oom_kill=2), pressure=Pressure(0.25, 0.1), wall_seconds=3.0)
    assert words.budget(budget("oom_kill", 0, run)) == (
        "oom_kill 2 is over the allowed 0, margin -2"
    )
    assert words.budget(budget("stall", 0.5, run)) == (
        "stall 250 ms is within the allowed 500 ms, margin 250 ms"
    )
    assert budget("wall", 3.0, run).passed


def test_what_was_not_measured_never_passes() -> None:
    unknown = budget("oom_kill", 0, RUN._replace(events=Events()))
    assert (unknown.passed, unknown.margin, unknown.proven) == (False, None, False)
    assert words.budget(unknown) == "oom_kill was not measured, and 0 is allowed"


def test_what_a_group_does_not_offer_is_known_from_its_first_sample() -> None:
    names = tuple(METRICS)
    assert missing(names, Sample(0.0, 0)) == [
        "working_set", "anon", "file", "kernel", "swap", "tasks", "stall", "oom_kill",
    ]  # fmt: skip


def test_several_runs_are_judged_by_the_worst() -> None:
    runs = [
        RUN._replace(peak_bytes=size, budgets=judge(RUN._replace(peak_bytes=size), asserted))
        for asserted in [[Assertion("peak", 90 * MIB), Assertion("oom_kill", 0)]]
        for size in (80 * MIB, 95 * MIB, 70 * MIB)
    ]
    peak, kills = worst(runs)
    assert (peak.measured, peak.passed) == (95 * MIB, False)
    assert kills.metric == "oom_kill"


def test_a_budget_in_a_document() -> None:
    (over,) = judge(RUN, [Assertion("peak", 100 * MIB)])
    assert words.budget(over) == "peak 101.0 MiB is over the allowed 100.0 MiB, margin -1.0 MiB"
    read = json.loads(document.render(RUN._replace(budgets=(over,))))["budgets"]
    assert read == [
        {
            "metric": "peak", "allowed": 100 * MIB, "measured": 101 * MIB, "passed": False,
            "margin": -MIB, "certainty": "exact", "proven": False,
        }
    ]  # fmt: skip
    assert document.parse(document.render(RUN._replace(budgets=(over,)))).budgets == (over,)


def test_exactly_what_is_allowed_passes_and_is_proven() -> None:
    exact = budget("peak", RUN.peak_bytes)
    assert (exact.margin, exact.passed, exact.proven) == (0, True, True)


def test_part_is_a_lower_bound_without_a_group() -> None:
    watched = WATCHED._replace(peaks=Peaks(anon_bytes=MIB))
    assert budget("anon", 2 * MIB, watched).certainty == "lower-bound"
    assert budget("anon", 2 * MIB, RUN).certainty == "sampled"


def test_cpu_is_of_user_and_system_and_stall_of_some() -> None:
    run = RUN._replace(cpu_user_seconds=1.0, cpu_system_seconds=0.25, pressure=Pressure(0.5, 0.125))
    assert budget("cpu", 9, run).measured == 1.25
    assert budget("stall", 9, run).measured == 0.5
    assert budget("cpu", 9, run._replace(cpu_system_seconds=None)).measured is None


def test_worst_is_what_was_not_measured() -> None:
    runs = [
        RUN._replace(budgets=judge(RUN._replace(events=Events(oom_kill=kills)), asserted))
        for asserted in [[Assertion("oom_kill", 0)]]
        for kills in (0, None, 2)
    ]
    (kills,) = worst(runs)
    assert kills.measured is None


def test_difference_is_told_with_its_sign() -> None:
    assert METRICS["peak"].kind.tell(-2 * MIB) == "-2.0 MiB"
    assert METRICS["wall"].kind.tell(-0.5) == "-500 ms"
    assert METRICS["oom_kill"].kind.tell(-3) == "-3"


def test_usage_that_no_part_explains() -> None:
    sample = Sample(0.0, 100, anon_bytes=40, file_bytes=30, kernel_bytes=10, sock_bytes=5)
    assert sample.unexplained_bytes == 15
    assert sample._replace(usage_bytes=80).unexplained_bytes == 0
    assert sample._replace(kernel_bytes=None).unexplained_bytes == 0
    assert Sample(0.0, 10, inactive_file_bytes=20).working_set_bytes == 0
