"""What is typical, what is thrown off, and whether two sets differ."""

from collections.abc import Sequence

import pytest

from cmemrun.analysis.comparison import Comparison, Difference, compare, judge_growth
from cmemrun.analysis.statistics import Spread, bootstrap, summarize
from cmemrun.errors import NotOffered
from cmemrun.model import Budget, Events, Exit, Oom, Pressure, Run
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
    counted = runs(100, pressure=Pressure(0.5, 0.1))
    assert "stall" in {one.metric for one in summarize(counted).metrics}
    some = [*counted, *runs(100, pressure=None)]
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


# Survival in days of 16 mice (B. Efron and R. Tibshirani, An Introduction to the Bootstrap,
# 1993, table 2.1).
TREATED = (94, 197, 16, 38, 99, 141, 23)
CONTROL = (52, 104, 146, 10, 51, 30, 40, 27, 46)


@pytest.mark.parametrize(
    ("values", "interval"),
    # Of an odd number n of values the resampled median is at most the k-th with the chance
    # that a binomial of n and k/n is above n/2 (J. Maritz and R. Jarrett, A Note on Estimating
    # the Variance of the Sample Median, 1978). The interval goes from the first k with 2.5 %
    # to the first with 97.5 %, and not, as for n = 17, from that of 5 % to that of 95 %.
    [
        (TREATED, (23, 141)),
        (range(1, 12), (3, 9)),
        (range(1, 14), (4, 10)),
        (range(1, 18), (5, 13)),
    ],
)
def test_interval_of_a_median_is_that_of_its_exact_bootstrap_distribution(
    values: Sequence[int], interval: tuple[int, int]
) -> None:
    assert bootstrap(lambda median: median(values)) == interval


def test_interval_of_a_difference_is_that_of_its_exact_bootstrap_distribution() -> None:
    # Of all pairs of medians of both distributions: 2.9 % are at most -29, 97.6 % at most 101.
    assert bootstrap(lambda median: median(TREATED) - median(CONTROL)) == (-29, 101)
    found = peaks(compare(runs(*CONTROL), runs(*TREATED)))
    assert (found.difference, found.interval) == (48 * MIB, (-29 * MIB, 101 * MIB))


def test_same_values_always_give_the_same_interval() -> None:
    # So irregular that hardly any two random series of resamples give the same.
    values = [number**2.5 for number in range(20)]
    assert len({bootstrap(lambda median: median(values)) for _ in range(10)}) == 1


@pytest.mark.parametrize(("farthest", "outliers"), [(105.1, ()), (105.3, (6,))])
def test_outlier_lies_three_and_a_half_deviations_from_the_median(
    farthest: float, outliers: tuple[int, ...]
) -> None:
    # The median is 100 and the median of the deviations 1, so a standard deviation is taken
    # for 1.4826 and the bound is 3.5 of those, 5.19 (Iglewicz and Hoaglin, 1993).
    assert peak_of(runs(98.5, 99, 99, 100, 101, 101, farthest)).outliers == outliers


def test_no_outlier_is_closer_than_what_can_be_told_apart() -> None:
    # The deviations are 0.01 MiB, and the resolution is half a MiB.
    assert peak_of(runs(99.99, 100, 100, 100.01, 100.02, 100.4)).outliers == ()
    assert peak_of(runs(99.99, 100, 100, 100.01, 100.02, 101.4)).outliers == (5,)


def test_coarsest_resolution_counts() -> None:
    finer = RUN.method._replace(resolution_bytes=4096)
    assert peak_of([*runs(100, method=finer), *runs(101)]).resolution == RESOLUTION
    # 200 KiB are within the resolution of the new runs alone.
    found = peaks(compare(runs(*[100] * 5, method=finer), runs(*[100.2] * 5)))
    assert found.verdict == "same"


def test_kill_by_another_process_throws_no_run_off() -> None:
    killed = {"exit": Exit(None, 9), "oom": Oom("sigkill-not-oom")}
    assert summarize(runs(100, 101, 102, **killed)).left_out == ()


def test_success_is_usual_if_as_many_runs_fail() -> None:
    (left_out,) = summarize([*runs(100, exit=Exit(3)), *runs(101)]).left_out
    assert left_out.run == 0


def wall(base: float, new: float) -> str:
    """The verdict on a wall time, in seconds."""
    before, after = ([run._replace(wall_seconds=one)] * 5 for run in runs(1) for one in (base, new))
    (found,) = (one for one in compare(before, after).differences if one.metric == "wall")
    return found.verdict


def test_times_differ_from_a_hundredth_and_a_millisecond_on() -> None:
    assert (wall(10, 10.09), wall(10, 10.11), wall(10, 9.89)) == ("same", "worse", "better")
    assert (wall(0.01, 0.0109), wall(0.01, 0.0112)) == ("same", "worse")


def growth(base: list[Run], new: list[Run], share: float) -> Budget:
    return peaks(compare(base, new)).judge(share)


def test_growth_is_measured_at_its_least_and_proven_at_its_most() -> None:
    # It has grown by 1 to 3 MiB: 1 at least, so that it is kept, and not proven.
    kept = growth(runs(*[100] * 5), runs(101, 101, 102, 103, 103), 0.02)
    assert (kept.measured, kept.passed, kept.proven) == (101 * MIB, True, False)
    assert growth(runs(*[100] * 5), runs(101, 101, 102, 103, 103), 0.03).proven
    # What cannot be told apart has not grown.
    same = growth(runs(*[100] * 5), runs(*[100.3] * 5), 0)
    assert (same.measured, same.passed) == (100 * MIB, True)


def test_growth_is_as_certain_as_the_least_certain_run() -> None:
    sampled = RUN.method._replace(lower_bound=True)
    assert growth(runs(100), [*runs(101), *runs(101, method=sampled)], 1).certainty == "lower-bound"


def test_what_was_thrown_off_is_in_no_interval() -> None:
    killed = runs(*[500] * 4, oom=Oom("child-killed"), events=Events(oom_kill=1))
    found = peaks(compare(runs(*[100] * 5), [*runs(*[110] * 5), *killed]))
    assert (found.verdict, found.interval) == ("worse", (10 * MIB, 10 * MIB))


def test_difference_that_may_be_none_is_neither_worse_nor_better() -> None:
    wide = runs(90, 100, 110, 95, 120)
    for shift in (-8, 8):
        other = [run._replace(peak_bytes=run.peak_bytes + shift * MIB) for run in wide]
        assert peaks(compare(wide, other)).verdict == "unclear"


def test_sizes_with_and_without_a_group_are_not_comparable() -> None:
    method = RUN.method._replace(peak_source="sampled")
    without = method._replace(backend="proc")
    found = compare(runs(*[100] * 5, method=method), runs(*[100] * 5, method=without))
    assert (peaks(found).verdict, str(peaks(found).reason)[:14]) == ("unclear", "not comparable")


def test_runs_that_end_with_another_status_are_not_comparable() -> None:
    found = compare(runs(*[100] * 5), runs(*[100] * 5, exit=Exit(3)))
    assert {one.verdict for one in found.differences} == {"unclear"}
    assert "one ends with 0, one with 3" in str(peaks(found).reason)
