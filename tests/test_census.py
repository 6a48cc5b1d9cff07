"""Who is in the group is looked at when it is worth it, and never for more than its share."""

import time
from typing import Any

import pytest

from cmemrun import census
from cmemrun.census import Census, Occasion
from cmemrun.model import BpfMap, Process, Sample

MIB = 2**20
SOMEBODY = Process(7, 1, "somebody", ("somebody",), 10 * MIB, None, None, None, 1)


class Crowd:
    """A source with one process in it."""

    def members(self) -> set[int]:
        return {7}


class Looks:
    """Counts the scans of processes, and says what each costs; stands for the clock as well."""

    def __init__(self) -> None:
        self.count = 0
        self.cost_seconds = 0.0

    def largest(self, pids: set[int], most: int, *, mappings: bool) -> tuple[Process, ...]:
        assert pids == {7} and most == 20 and mappings is False
        self.count += 1
        return (SOMEBODY,)

    def thread_time(self) -> float:
        return self.count * self.cost_seconds


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    found = Looks()
    monkeypatch.setattr(census, "largest", found.largest)
    monkeypatch.setattr(census, "time", found)
    monkeypatch.setattr(census, "maps_of", lambda _: [])
    return found


def look(taken: Census, when: float, mib: float, occasion: Occasion, **more: Any) -> bool:
    sample = Sample(when, int(mib * MIB))
    told = {"near_peak": True, "notable_bytes": sample.usage_bytes // 64} | more
    return bool(taken.look(sample, occasion, **told))


def new(**more: Any) -> Census:
    return Census(Crowd(), **({"track": False, "mappings": False} | more))  # type: ignore[arg-type]


def test_when_it_is_worth_it(looks: Looks) -> None:
    taken = new()
    assert not look(taken, 0.1, 8, Occasion.RISING)
    assert look(taken, 0.2, 8, Occasion.SETTLED)
    assert look(taken, 0.3, 32, Occasion.RISING)
    assert not look(taken, 0.4, 60, Occasion.RISING)
    assert not look(taken, 0.5, 36, Occasion.SETTLED)
    assert look(taken, 0.6, 41, Occasion.SETTLED)
    assert look(taken, 0.7, 43, Occasion.REFRESH)
    assert not look(taken, 0.8, 43, Occasion.REFRESH)
    assert not look(taken, 0.9, 80, Occasion.REFRESH, near_peak=False)


def test_tracked_at_each_refresh(looks: Looks) -> None:
    taken = new(track=True)
    found = [look(taken, when, 20, Occasion.REFRESH, near_peak=False) for when in range(1, 10)]
    assert all(found)
    assert not look(taken, 10, 20, Occasion.SETTLED, near_peak=False)


@pytest.mark.parametrize("track", [False, True])
def test_never_for_more_than_its_share(looks: Looks, track: bool) -> None:
    taken, looks.cost_seconds = new(track=track), 0.03
    for step in range(1, 300):
        look(taken, step / 10, 20 * 1.05**step, Occasion.REFRESH)
    # One percent of 30 seconds, what may be spent at once, and the last one begun.
    assert 0.3 + 0.3 - 0.03 <= looks.count * 0.03 <= 0.3 + 0.3 + 0.03


def test_some_is_kept_for_the_refreshes(looks: Looks) -> None:
    taken, looks.cost_seconds = new(), 0.03
    for step in range(1, 30):
        look(taken, step / 1000, 16 * 2**step, Occasion.RISING)
    assert looks.count <= 6
    assert look(taken, 0.05, 2**40, Occasion.REFRESH)


def test_maps_are_the_largest_that_were_seen(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[BpfMap] = []
    monkeypatch.setattr(census, "maps_of", lambda _: held)
    taken = new()
    look(taken, 0.1, 20, Occasion.SETTLED)
    for when, size in enumerate((10, 30, 20), start=1):
        held[:] = [BpfMap(1, "hash", size, 0), BpfMap(when + 1, "array", size, 0)]
        # Nobody has to rise for that: what is for each CPU is in no group's usage.
        assert not look(taken, when, 20, Occasion.REFRESH)
    assert taken.bpf_maps[1].memlock_bytes == 30
    assert set(taken.bpf_maps) == {1, 2, 3, 4}
    held[:] = [BpfMap(number, "hash", 1, 0) for number in range(5000)]
    look(taken, 5, 20, Occasion.REFRESH)
    assert len(taken.bpf_maps) == 1000


def test_maps_are_looked_for_twice_a_second(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    """However short the interval: where nothing rises that would be most of what we use."""
    asked: list[int] = []

    def maps_of(pid: int) -> list[BpfMap]:
        asked.append(pid)
        return []

    monkeypatch.setattr(census, "maps_of", maps_of)
    taken = new()
    assert look(taken, 0.1, 100, Occasion.REFRESH)
    for tick in range(11, 111):
        assert not look(taken, tick / 100, 100, Occasion.REFRESH)
    assert len(asked) == 3


def test_rise_since_the_last_look_is_worth_one_and_not_since_the_last_sample(looks: Looks) -> None:
    taken = new()
    assert look(taken, 0.1, 100, Occasion.REFRESH)
    rises = [look(taken, 1 + step, 100 + step * 0.5, Occasion.REFRESH) for step in range(1, 9)]
    assert rises == [False, False, False, True, False, False, False, True]


def seen_last(taken: Census) -> tuple[float | None, tuple[Process, ...]]:
    return taken.last


def test_last_scan_and_its_time_are_kept_if_a_later_one_is_empty(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = new()
    assert seen_last(taken) == (None, ())
    assert look(taken, 0.5, 20, Occasion.REFRESH)
    assert seen_last(taken) == (0.5, (SOMEBODY,))
    # All have ended: those before are the last that were seen, and the next rise is not missed.
    monkeypatch.setattr(census, "largest", lambda *_, **__: ())
    assert not look(taken, 1.5, 40, Occasion.REFRESH)
    assert seen_last(taken) == (0.5, (SOMEBODY,))
    monkeypatch.setattr(census, "largest", looks.largest)
    assert look(taken, 2.5, 40, Occasion.REFRESH)


def test_look_away_from_the_peak_does_not_count_as_one_of_it(looks: Looks) -> None:
    taken = new(track=True)
    assert look(taken, 1, 80, Occasion.REFRESH, near_peak=False)
    assert look(taken, 2, 40, Occasion.SETTLED)


def test_by_what_is_mapped_costs_more_and_may(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    spent = iter(range(1000))

    def largest(pids: set[int], most: int, *, mappings: bool) -> tuple[Process, ...]:
        asked.append(mappings)
        return (SOMEBODY,)

    monkeypatch.setattr(census, "largest", largest)
    monkeypatch.setattr(census, "maps_of", lambda _: [])
    # Each look takes a second of CPU time.
    monkeypatch.setattr(time, "thread_time", lambda: float(next(spent)))
    taken = new(mappings=True)
    # 1.2 s are saved up, and 4 % of the time since then are added.
    assert look(taken, 0.0, 20, Occasion.REFRESH)
    assert look(taken, 0.1, 40, Occasion.REFRESH)
    assert not look(taken, 1.0, 80, Occasion.REFRESH)
    assert not look(taken, 19.0, 80, Occasion.REFRESH)
    assert look(taken, 21.0, 80, Occasion.REFRESH)
    assert asked == [True, True, True]


def test_what_is_saved_up_in_a_long_run_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "largest", lambda *_, **__: (SOMEBODY,))
    monkeypatch.setattr(census, "maps_of", lambda _: [])
    spent = (tenths / 10 for tenths in range(1000))
    # Each look takes a tenth of a second of CPU time.
    monkeypatch.setattr(time, "thread_time", lambda: next(spent))
    taken = new()
    # An hour without anything to look at.
    assert not look(taken, 3600.0, 1, Occasion.RISING)
    rises = [look(taken, 3600.0, 2**step, Occasion.REFRESH) for step in range(5, 15)]
    # 0.3 s, and the last one begun.
    assert 3 <= sum(rises) <= 4 and rises[:3] == [True] * 3
