from hypothesis import given
from hypothesis import strategies as st

from cmemrun.model import Sample
from cmemrun.series import Series


def at(seconds: float, usage_bytes: int) -> Sample:
    return Sample(elapsed_seconds=seconds, usage_bytes=usage_bytes)


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
