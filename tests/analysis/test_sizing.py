"""What is recommended from made-up runs, worked out by hand, and what is not."""

from typing import Any

import pytest

from cmemrun.analysis.sizing import recommend
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
