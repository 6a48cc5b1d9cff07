"""Samples in bounded memory: what is kept of many, and what is worth a look."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmemrun.model import Sample
from cmemrun.series import Series, is_near, notable


def at(seconds: float, usage_bytes: int) -> Sample:
    return Sample(elapsed_seconds=seconds, usage_bytes=usage_bytes)


MIB = 2**20


@pytest.mark.parametrize(
    ("usage", "change"), [(0, 65536), (4 * MIB, 65536), (8 * MIB, 2**17), (640 * MIB, 10 * MIB)]
)
def test_change_of_a_64th_is_notable(usage: int, change: int) -> None:
    assert notable(usage) == change
    peak = at(0.0, usage + 2**30)
    least = peak.usage_bytes - notable(peak.usage_bytes)
    assert is_near(at(1.0, least), peak) and not is_near(at(1.0, least - 1), peak)


def test_last_sample_is_kept_between_the_extremes_of_its_span() -> None:
    series = Series(span_seconds=1.0)
    for seconds, usage in ((0.0, 9), (0.1, 1), (0.2, 5)):
        series.add(at(seconds, usage))
    assert [one.usage_bytes for one in series.samples()] == [9, 1, 5]
    assert series.count == 3


def test_samples_of_the_peaks_of_anon_and_of_the_working_set() -> None:
    series = Series()
    told = [(5, 3, 4), (6, 9, 1), (7, 9, 3), (9, 2, 0), (8, 1, 0)]  # usage, anon, inactive file
    samples = [
        at(seconds, usage)._replace(anon_bytes=anon, inactive_file_bytes=inactive)
        for seconds, (usage, anon, inactive) in enumerate(told)
    ]
    for sample in samples:
        series.add(sample)
    # Of those that are equally high the first.
    assert series.at_peak_anon == samples[1]
    assert series.at_peak_working_set == samples[3]
    assert (series.peaks.anon_bytes, series.peaks.working_set_bytes) == (9, 9)


def test_few_are_all_kept() -> None:
    series = Series(span_seconds=0.5)
    samples = [at(number * 0.5, number % 7) for number in range(100)]
    for sample in samples:
        series.add(sample)
    assert series.samples() == tuple(samples)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 10**9)), min_size=1, max_size=300),
    st.integers(2, 20),
)
def test_extremes_survive_in_bounded_room(steps: list[tuple[float, int]], capacity: int) -> None:
    series, now, samples = Series(span_seconds=0.5, capacity=capacity), 0.0, []
    for step, usage in steps:
        now += step
        samples.append(at(now, usage))
        series.add(samples[-1])
    kept = series.samples()
    assert len(kept) <= 2 * capacity + 3
    usages = [sample.usage_bytes for sample in samples]
    kept_usages = [sample.usage_bytes for sample in kept]
    assert max(kept_usages) == max(usages)
    assert min(kept_usages) == min(usages)
    times = [sample.elapsed_seconds for sample in kept]
    assert times == sorted(times)
    assert set(kept) <= set(samples)


def test_a_month_takes_no_more_room_than_an_hour() -> None:
    series = Series(span_seconds=0.5, capacity=64)
    for number in range(200_000):
        series.add(at(number * 13.0, number))
    assert 32 <= len(series.samples()) <= 130
