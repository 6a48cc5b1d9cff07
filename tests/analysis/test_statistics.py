"""What is typical, what is thrown off, and whether two sets differ."""

import pytest

from cmemrun.analysis.comparison import Comparison, Difference, compare, judge_growth
from cmemrun.analysis.statistics import Spread, summarize
from cmemrun.errors import NotOffered
from cmemrun.model import Events, Exit, Oom, Run
from tests.made_up import MIB, RUN, runs

RESOLUTION = RUN.method.resolution_bytes


def peak_of(some: list[Run]) -> Spread:
    return next(one for one in summarize(some).metrics if one.metric == "peak")


def peaks(comparison: Comparison) -> Difference:
    return next(one for one in comparison.differences if one.metric == "peak")


def test_what_is_typical() -> None:
    found = peak_of(runs(100, 104, 101, 102, 103))
    assert (found.minimum, found.median, found.maximum) == (100 * MIB, 102 * MIB, 104 * MIB)
    assert (found.runs, found.spread, found.outliers) == (5, 4 * MIB, ())
    assert found.interval is not None
    assert 100 * MIB <= found.interval[0] <= 102 * MIB <= found.interval[1] <= 104 * MIB
    assert found.is_beyond_resolution
    assert peak_of(runs(100, 104, 101, 102, 103)) == found  # every time


def test_two_runs_have_no_interval() -> None:
    assert peak_of(runs(100, 120)).interval is None
    assert peak_of(runs(100)).spread == 0


def test_a_spread_within_the_kernel_s_counting_is_none() -> None:
    close = peak_of(runs(100, 100.1, 100.2, 100.05))
    assert close.spread <= RESOLUTION == close.resolution
    assert not close.is_beyond_resolution


def test_an_outlier_is_named_and_counted() -> None:
    found = peak_of(runs(100, 101, 150, 100, 101))
    assert found.outliers == (2,) and found.maximum == 150 * MIB
    # Not where the others lie closer together than can be told.
    assert peak_of(runs(100, 100, 100.3, 100)).outliers == ()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"oom": Oom("child-killed"), "events": Events(oom_kill=1)}, "OOM"),
        ({"exit": Exit(None, 15, timed_out=True)}, "time"),
        ({"exit": Exit(3)}, "status is 3"),
    ],
)
def test_what_was_thrown_off_is_in_no_number(changed: dict[str, object], reason: str) -> None:
    found = summarize([*runs(100, 101), *runs(500, **changed), *runs(102)])
    (left_out,) = found.left_out
    assert left_out.run == 2 and reason in left_out.reason
    assert found.metrics[0].maximum == 102 * MIB
    # The numbers of runs stay theirs.
    outlying = [*runs(100), *runs(500, **changed), *runs(101, 100, 170, 101)]
    assert peak_of(outlying).outliers == (4,)


def test_a_program_that_always_fails_is_measured_all_the_same() -> None:
    assert summarize(runs(100, 101, exit=Exit(1))).left_out == ()


def test_nothing_that_counts() -> None:
    assert summarize([]).metrics == ()
    assert summarize(runs(100, oom=Oom("main-killed"))).metrics == ()


def test_a_metric_that_only_some_have_is_left_out() -> None:
    some = [*runs(100), *runs(100, pressure=None)]
    assert "stall" not in {one.metric for one in summarize(some).metrics}


def test_the_same() -> None:
    found = peaks(compare(runs(*[100, 100.1, 100.2] * 3), runs(*[100.1, 100, 100.2] * 3)))
    assert (found.verdict, found.reason) == ("same", None)
    assert found.judge(0.0).passed


def test_worse_and_better() -> None:
    before = runs(*(100 + index / 20 for index in range(10)))
    after = runs(*(106 + index / 20 for index in range(10)))
    worse, better = peaks(compare(before, after)), peaks(compare(after, before))
    assert worse.verdict == "worse" and worse.difference == 6 * MIB
    assert worse.interval is not None and worse.interval[0] > 5 * MIB
    assert worse.share == pytest.approx(0.06, rel=0.01)
    over, unproven = worse.judge(0.05), worse.judge(0.07)
    assert (over.passed, over.certainty) == (False, "lower-bound")
    assert over.allowed == pytest.approx(105.2 * MIB, rel=0.001)
    assert unproven.passed and unproven.proven
    assert better.verdict == "better" and better.judge(0).proven


def test_what_cannot_be_told() -> None:
    found = peaks(compare(runs(90, 100, 110, 95, 120), runs(92, 103, 99, 125, 101)))
    assert found.verdict == "unclear" and found.reason
    # Chance breaks no budget, but what may be chance proves nothing.
    budget = found.judge(0.01)
    assert budget.passed and not budget.proven


def test_one_run_of_each() -> None:
    found = peaks(compare(runs(100), runs(150)))
    assert (found.verdict, found.interval) == ("unclear", None)
    assert "too few" in str(found.reason)
    # But whoever set a bound has to hear of it.
    assert not found.judge(0.05).passed and found.judge(0.6).passed
    assert found.judge(0.6).certainty == "exact"
    anon = next(one for one in compare(runs(1), runs(1)).differences if one.metric == "anon")
    assert anon.judge(0.1).certainty == "sampled"
    assert peaks(compare(runs(100), runs(100.1))).verdict == "same"


def test_what_was_measured_differently_is_not_comparable() -> None:
    other = RUN.method._replace(peak_source="sampled", lower_bound=True)
    found = compare(runs(*[100] * 5), runs(*[150] * 5, method=other))
    assert peaks(found).verdict == "unclear"
    assert str(peaks(found).reason).startswith("not comparable")
    wall = next(one for one in found.differences if one.metric == "wall")
    assert wall.verdict == "same"
    with pytest.raises(NotOffered):
        judge_growth(found, {"wall": 0.1, "peak": 0.1})
    with pytest.raises(NotOffered):
        judge_growth(found, {"swap": 0.1})
    (kept,) = judge_growth(found, {"wall": 0.1})
    assert kept.metric == "wall" and kept.passed
