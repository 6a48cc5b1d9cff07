"""The search on programs that are made up here: how near it comes, and in how many runs."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmemrun.analysis.search import Criteria, Fit, Outcome, Trial, search
from tests.made_up import MIB
from tests.searches import MadeUp


@given(
    need=st.floats(1, 5000),
    over=st.floats(1, 200),
    kept=st.one_of(st.none(), st.floats(0.2, 1.3)),
)
def test_the_cliff_is_found(need: float, over: float, kept: float | None) -> None:
    program = MadeUp(need, peak=need * over, kept=None if kept is None else need * kept)
    found = search(program)
    assert found.is_complete and found.cliff_bytes is not None
    near = max(2, need * over * 0.02) + 1
    assert need <= found.cliff_bytes / MIB <= need + near
    # Each answer has held twice.
    assert program.limits.count(found.cliff_bytes) >= 2
    assert found.knee_bytes == found.cliff_bytes
    assert found.low_bytes < found.cliff_bytes


@pytest.mark.parametrize("kept", [92, 96, 98, 100, 101, 104])
def test_what_takes_100_mib_takes_few_runs(kept: float) -> None:
    program = MadeUp(100, peak=103, kept=kept)
    found = search(program)
    assert found.cliff_bytes and 0 <= found.cliff_bytes / MIB - 100 <= 4
    assert len(program.limits) <= 12


def test_a_program_that_varies_is_asked_again() -> None:
    program = MadeUp(100, peak=110, kept=95, noise=3)
    found = search(program)
    assert found.is_complete and found.cliff_bytes
    held = [one.outcome for one in found.trials if one.limit_bytes == found.cliff_bytes]
    assert held.count(Outcome.OK) >= 2
    assert 97 <= found.cliff_bytes / MIB <= 110


@pytest.mark.parametrize("stalls", [True, False])
def test_the_knee_lies_above(stalls: bool) -> None:
    found = search(MadeUp(20, peak=320, kept=15, fast_from=200, stalls=stalls))
    assert found.is_complete and found.cliff_bytes and found.knee_bytes
    assert 20 <= found.cliff_bytes / MIB <= 28
    assert 200 <= found.knee_bytes / MIB <= 215


def test_what_is_read_again_is_a_knee_without_any_stall() -> None:
    class Rereading(MadeUp):
        def __call__(self, limit_bytes: int | None) -> Trial:
            trial = super().__call__(limit_bytes)
            again = 0 if trial.wall_seconds < 1.5 else 500 * MIB
            return trial._replace(stall_seconds=0.0, refault_bytes=again)

    found = search(Rereading(6, peak=300, kept=4, fast_from=200))
    assert found.is_complete and found.knee_bytes is not None
    assert 200 <= found.knee_bytes / MIB <= 214


def test_a_busy_machine_is_no_knee() -> None:
    class Busy(MadeUp):
        def __call__(self, limit_bytes: int | None) -> Trial:
            slow = super().__call__(limit_bytes)
            return slow._replace(wall_seconds=1.0 + len(self.limits))

    found = search(Busy(100, peak=130, kept=100))
    assert found.knee_bytes == found.cliff_bytes


def test_a_limit_that_was_not_met_has_slowed_nobody() -> None:
    """Where the kernel counts neither stalls nor what is read again, and the machine is busy."""

    class Unmet(MadeUp):
        hits = 0

        def __call__(self, limit_bytes: int | None) -> Trial:
            trial = super().__call__(limit_bytes)
            return trial._replace(wall_seconds=1.0 + len(self.limits), limit_hits=self.hits)

    found = search(Unmet(100, kept=100, stalls=False))
    assert found.cliff_bytes is not None and found.knee_bytes == found.cliff_bytes

    class Met(Unmet):
        hits = 1

    found = search(Met(100, peak=130, kept=100, stalls=False))
    assert found.cliff_bytes is not None and found.knee_bytes is not None
    assert found.knee_bytes > found.cliff_bytes


def test_it_ends_with_what_is_known() -> None:
    found = search(MadeUp(100, peak=400), Criteria(most_runs=4))
    assert not found.is_complete and len(found.trials) == 4
    assert found.low_bytes < 100 * MIB
    assert found.cliff_bytes is None or found.cliff_bytes >= 100 * MIB
    failing = search(lambda _: Trial(None, Outcome.FAILED, 1.0, None, MIB))
    assert failing.cliff_bytes is None and not failing.is_complete


def test_interrupted_it_tells_what_is_known() -> None:
    told: list[Fit] = []
    program = MadeUp(100, peak=400)

    def probe(limit_bytes: int | None) -> Trial:
        if len(program.limits) == 5:
            raise KeyboardInterrupt
        return program(limit_bytes)

    found = search(probe, on_progress=told.append)
    assert len(found.trials) == 5 and not found.is_complete
    assert [len(one.trials) for one in told] == [1, 2, 3, 4, 5]


def fixed(limit_bytes: int | None, **more: Any) -> Trial:
    """A run that succeeds, by default fast and with a peak of 400 MiB."""
    usual: dict[str, Any] = {"wall_seconds": 1.0, "stall_seconds": 0.0, "peak_bytes": 400 * MIB}
    return Trial(limit_bytes, Outcome.OK, **usual | more)


def slowed(below_mib: int, **more: Any) -> Callable[[int | None], Trial]:
    """A program that needs 50 MiB and is slow, as told, with a limit below another."""

    def probe(limit_bytes: int | None) -> Trial:
        limit = 10**9 if limit_bytes is None else limit_bytes // MIB
        if limit < 50:
            return fixed(limit_bytes)._replace(outcome=Outcome.KILLED)
        return fixed(limit_bytes, **more if limit < below_mib else {})

    return probe


@pytest.mark.parametrize(
    ("slow", "is_slow"),
    [
        # A tenth longer is allowed, and of that half may be stalled.
        ({"wall_seconds": 1.2, "stall_seconds": 0.06}, True),
        ({"wall_seconds": 1.2, "stall_seconds": 0.04}, False),
        ({"wall_seconds": 1.09, "stall_seconds": 0.08}, False),
        # And a tenth of the peak may be read again.
        ({"wall_seconds": 1.2, "refault_bytes": 41 * MIB}, True),
        ({"wall_seconds": 1.2, "refault_bytes": 39 * MIB}, False),
        ({"wall_seconds": 1.2, "stall_seconds": None}, True),
        ({"wall_seconds": 1.09, "stall_seconds": None}, False),
        ({"wall_seconds": 1.2, "stall_seconds": None, "limit_hits": 0}, False),
    ],
)
def test_slow_is_longer_than_allowed_and_for_want_of_memory(
    slow: dict[str, Any], is_slow: bool
) -> None:
    found = search(slowed(200, **slow))
    assert found.cliff_bytes is not None and found.knee_bytes is not None
    assert (found.knee_bytes > found.cliff_bytes) is is_slow
    if is_slow:
        assert 200 * MIB <= found.knee_bytes <= 216 * MIB


def test_waiting_without_a_limit_is_not_for_want_of_memory() -> None:
    def probe(limit_bytes: int | None) -> Trial:
        trial = slowed(200, wall_seconds=1.2)(limit_bytes)
        return trial._replace(stall_seconds=0.5, refault_bytes=100 * MIB)

    found = search(probe)
    assert found.knee_bytes == found.cliff_bytes


def test_once_slow_and_once_fast_is_not_slow() -> None:
    limits: list[int | None] = []

    def probe(limit_bytes: int | None) -> Trial:
        limits.append(limit_bytes)
        slow = {"wall_seconds": 2.0, "stall_seconds": 1.0}
        # The first run with each limit is slow, as the first of all may well be.
        more = slow if limits.count(limit_bytes) == 1 and limit_bytes else {}
        return slowed(10**9, **more)(limit_bytes)

    found = search(probe)
    assert found.knee_bytes == found.cliff_bytes


def test_limit_that_fails_above_the_cliff_is_no_knee() -> None:
    def probe(limit_bytes: int | None) -> Trial:
        trial = slowed(200, wall_seconds=2.0, stall_seconds=1.0)(limit_bytes)
        # It fails fast, as by a timeout of its own.
        if limit_bytes is not None and 100 * MIB < limit_bytes < 250 * MIB:
            trial = fixed(limit_bytes)._replace(outcome=Outcome.FAILED)
        return trial._replace(kept_bytes=50 * MIB)

    found = search(probe)
    assert found.cliff_bytes is not None and found.cliff_bytes <= 58 * MIB
    assert found.knee_bytes is not None and found.knee_bytes >= 250 * MIB


def test_answer_that_does_not_hold_twice_becomes_the_low_end() -> None:
    limits: list[int | None] = []

    def probe(limit_bytes: int | None) -> Trial:
        limits.append(limit_bytes)
        need = 50 if limits.count(limit_bytes) == 1 else 100
        killed = limit_bytes is not None and limit_bytes < need * MIB
        return fixed(limit_bytes)._replace(outcome=Outcome.KILLED if killed else Outcome.OK)

    found = search(probe)
    assert found.is_complete and found.cliff_bytes is not None
    # It goes up by 2 % of the peak, 8 MiB.
    assert 100 * MIB <= found.cliff_bytes < 108 * MIB
    assert found.low_bytes == found.cliff_bytes - 8 * MIB


def test_search_comes_within_two_percent_of_the_peak() -> None:
    found = search(MadeUp(1000, peak=2000, kept=300))
    assert found.cliff_bytes is not None
    assert found.cliff_bytes - found.low_bytes <= 40 * MIB
    assert found.low_bytes < 1000 * MIB <= found.cliff_bytes


def test_search_from_what_was_kept_takes_few_runs() -> None:
    assert len(search(MadeUp(100, peak=3000, kept=98)).trials) <= 5
    # A guess far too low is made good in steps that double.
    assert len(search(MadeUp(2000, peak=2100, kept=10)).trials) <= 15


def test_no_run_more_than_asked_for() -> None:
    for most in (1, 2, 5):
        assert len(search(MadeUp(100, peak=400), Criteria(most_runs=most)).trials) == most
