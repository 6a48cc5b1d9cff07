"""What is recommended from made-up runs, worked out by hand, and what is not."""

from typing import Any

import pytest

from cmemrun.analysis.sizing import limit_touched, recommend
from cmemrun.model import Events, Limits, Oom, Peaks, Pressure, Run, Sample
from tests.made_up import RUN

MIB = 2**20


def run(mib: float, **more: Any) -> Run:
    size = int(mib * MIB)
    samples = tuple(Sample(when / 10, size) for when in range(20))
    return RUN._replace(
        peak_bytes=size,
        peaks=Peaks(working_set_bytes=size),
        at_peak=Sample(0.5, size, anon_bytes=size, file_bytes=0),
        samples=samples,
        wall_seconds=2.0,
        **more,
    )


def limited(mib: float, limit_mib: int, **more: Any) -> Run:
    return run(mib, limits=Limits(max_bytes=limit_mib * MIB), **more)


def test_one_run() -> None:
    found = recommend([run(100)])
    assert (found.request_bytes, found.limit_bytes) == (115 * MIB, 115 * MIB)
    assert found.burstable_limit_bytes == 125 * MIB
    rules = {rule.name: (rule.request_bytes, rule.limit_bytes) for rule in found.rules}
    assert rules["KRR"] == rules["VPA"] == (115 * MIB, 115 * MIB)
    assert rules["guides"] == (100 * MIB, 150 * MIB)
    assert [warning for warning in found.warnings if "one run" in warning]


def test_many_runs() -> None:
    found = recommend([run(90 + number) for number in range(11)])
    rules = {rule.name: rule.limit_bytes for rule in found.rules}
    # 100 x 1.15; the 90th percentile of 90 to 100 is 99, x 1.15 = 113.85; the median 95.
    assert (rules["KRR"], rules["VPA"]) == (115 * MIB, 114 * MIB)
    assert found.burstable_request_bytes == 110 * MIB  # 109.25
    assert found.warnings == ()


def test_page_cache_that_can_be_dropped_needs_no_room() -> None:
    cached = run(300)._replace(
        peaks=Peaks(working_set_bytes=100 * MIB),
        at_peak=Sample(0.5, 300 * MIB, anon_bytes=90 * MIB, file_bytes=210 * MIB, shmem_bytes=0),
    )
    found = recommend([cached] * 3)
    assert found.limit_bytes == 115 * MIB
    assert [warning for warning in found.warnings if "mostly page cache" in warning]
    # Shared memory is no cache.
    shared = cached._replace(at_peak=cached.at_peak._replace(shmem_bytes=210 * MIB))
    assert recommend([shared] * 3).warnings == ()


@pytest.mark.parametrize(
    "saturated",
    [
        limited(64, 64),
        limited(50, 64, events=Events(max=3, oom_kill=0)),
        limited(64, 64, events=Events(oom_kill=1), oom=Oom("main-killed", "own")),
    ],
)
def test_nothing_at_or_below_a_limit_that_was_touched(saturated: Run) -> None:
    found = recommend([saturated] * 3)
    for size in (
        found.limit_bytes,
        found.burstable_limit_bytes,
        *(rule.limit_bytes for rule in found.rules),
    ):
        assert size > 64 * MIB
    # 64 x 1.25; VPA: 64 + 100.
    assert found.limit_bytes == 80 * MIB
    assert {rule.name: rule.limit_bytes for rule in found.rules}["VPA"] == 164 * MIB
    assert [warning for warning in found.warnings if "saturated" in warning]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"method": RUN.method._replace(lower_bound=True)}, "sampled"),
        ({"method": RUN.method._replace(backend="proc")}, "without a group"),
        ({"method": RUN.method._replace(attached=True)}, "watched"),
        ({"exit": RUN.exit._replace(code=1)}, "failed"),
        ({"pressure": Pressure(0.5, 0.1)}, "stalled"),
        ({"oom": Oom("child-killed", "own")}, "guess"),
    ],
)
def test_thin_evidence_is_warned_of(told: dict[str, Any], words: str) -> None:
    found = recommend([run(100)._replace(**told)] * 3)
    assert [warning for warning in found.warnings if words in warning], found.warnings


def test_a_peak_at_the_very_end() -> None:
    samples = tuple(Sample(when / 10, (50 + 3 * when) * MIB) for when in range(20))
    grows = run(107)._replace(samples=samples, at_peak=samples[-1]._replace(elapsed_seconds=1.99))
    assert [one for one in recommend([grows] * 3).warnings if "leak" in one]
    assert recommend([run(107)] * 3).warnings == ()


def test_runs_that_differ() -> None:
    found = recommend([run(50), run(90), run(100)])
    assert [one for one in found.warnings if "differ" in one] and found.limit_bytes == 115 * MIB


@pytest.mark.parametrize(
    ("peak", "working_set", "sampled", "need"),
    [
        # The sample at the peak was 20 MiB below it, and so may the working set have been.
        (120, 90, 100, 110),
        # The highest working set was at another moment; no more than the peak is needed.
        (100, 100, 95, 100),
        (100, None, 95, 100),
    ],
)
def test_need_is_the_working_set_and_what_no_sample_saw(
    peak: int, working_set: int | None, sampled: int, need: int
) -> None:
    highest = None if working_set is None else working_set * MIB
    seen = run(peak)._replace(
        peaks=Peaks(working_set_bytes=highest), at_peak=Sample(0.5, sampled * MIB)
    )
    assert recommend([seen] * 3).need_bytes == need * MIB


def test_peak_before_the_very_end_is_no_leak() -> None:
    samples = tuple(Sample(when / 10, (50 + 3 * when) * MIB) for when in range(20))
    rises = run(107)._replace(samples=samples)
    for elapsed, leaks in ((1.88, False), (1.92, True)):
        at_peak = samples[-1]._replace(elapsed_seconds=elapsed)
        found = recommend([rises._replace(at_peak=at_peak)] * 3)
        assert bool([one for one in found.warnings if "leak" in one]) is leaks
    # Of a few samples nobody can say how usage grew.
    few = rises._replace(samples=samples[-9:], at_peak=samples[-1]._replace(elapsed_seconds=1.99))
    assert not [one for one in recommend([few] * 3).warnings if "leak" in one]


def test_kill_at_the_limit_of_an_ancestor_says_nothing_of_the_own() -> None:
    killed = run(100, events=Events(oom_kill=1), oom=Oom("child-killed", "ancestor"))
    assert not [one for one in recommend([killed] * 3).warnings if "guess" in one]


def test_limit_is_touched_within_the_resolution() -> None:
    resolution = RUN.method.resolution_bytes
    for below, touched in ((resolution, 64 * MIB), (resolution + 1, None)):
        ended = limited(64, 64)._replace(peak_bytes=64 * MIB - below)
        assert limit_touched(ended) == touched
    assert limit_touched(run(64)) is None


def test_vpa_goes_over_a_touched_limit_by_the_larger_of_both() -> None:
    # 1.2 x 1000 is more than 1000 + 100.
    found = recommend([limited(1000, 1000)] * 3)
    assert {rule.name: rule.limit_bytes for rule in found.rules}["VPA"] == 1200 * MIB


def test_percentiles_lie_between_the_runs() -> None:
    # The 90th of 10, 20 and 30 is 28, x 1.15 = 32.2; the median 20, x 1.15 = 23.
    found = recommend([run(10), run(20), run(30)])
    assert {rule.name: rule.limit_bytes for rule in found.rules}["VPA"] == 33 * MIB
    assert found.burstable_request_bytes == 23 * MIB


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([run(100)] * 2, "2 runs"),
        ([run(79), run(100), run(100)], "differ by more than a fifth"),
        ([run(100)._replace(pressure=Pressure(0.11, 0.0))] * 3, "stalled"),
        ([run(100)._replace(at_peak=Sample(0.5, 100 * MIB, file_bytes=51 * MIB))] * 3, "cache"),
    ],
)
def test_doubt_is_said_just_above_its_bound(runs: list[Run], words: str) -> None:
    assert [one for one in recommend(runs).warnings if words in one]


@pytest.mark.parametrize(
    "runs",
    [
        [run(80), run(100), run(100)],
        [run(100)._replace(pressure=Pressure(0.1, 0.0))] * 3,
        [run(100)._replace(at_peak=Sample(0.5, 100 * MIB, file_bytes=50 * MIB))] * 3,
    ],
    ids=["a fifth apart", "stalled a twentieth of the time", "half is cache"],
)
def test_no_doubt_is_said_at_its_bound(runs: list[Run]) -> None:
    assert recommend(runs).warnings == ()
