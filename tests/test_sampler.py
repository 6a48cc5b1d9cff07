"""The sampler on a source made up here: what it reads, when, and what it makes of it."""

import errno
import threading
import time

import pytest

from cmemrun import census
from cmemrun.backends.base import Taken
from cmemrun.census import Occasion
from cmemrun.model import Composition, Events, Process, Sample
from cmemrun.sampler import AUTO_PROBE, Probe, Sampler, Sampling
from tests.clock import LATE_SECONDS, Clock, simulated

MIB = 2**20


class Scripted:
    """A source whose usage is a function of time, of a clock of its own."""

    name, where = "scripted", "/nowhere"
    resolution_bytes, slowest_probe_seconds = 0, 0.010

    def __init__(self, usage_at: dict[float, int]) -> None:
        self.notes: list[str] = []
        self.usage_at = usage_at
        self.clock = Clock()
        self.looks = 0
        self.gone_after = float("inf")

    def usage(self) -> int:
        self.looks += 1
        now = self.clock.elapsed()
        if now > self.gone_after:
            raise OSError(errno.ENODEV, "No such device")
        return [value for when, value in self.usage_at.items() if when <= now][-1]

    def take(self, elapsed_seconds: float) -> Taken:
        usage = self.usage()
        sample = Sample(
            elapsed_seconds, usage, anon_bytes=usage // 2, inactive_file_bytes=usage * 2
        )
        return Taken(elapsed_seconds, usage, lambda: sample)

    def composition(self) -> Composition | None:
        return None

    def root_in(self, path: str) -> str | None:
        return None

    def members(self) -> set[int]:
        return set()

    def has_seen(self, pid: int) -> bool:
        return False

    def has_strangers(self) -> bool:
        return False

    def peak(self) -> int | None:
        return None

    def close(self) -> None:
        pass


def run(source: Scripted, seconds: float, refresh: float, probe: Probe) -> Sampler:
    """A sampler that has watched for so long, of the source's time, in this thread."""
    sampler = Sampler(source, Sampling(refresh_seconds=refresh, probe=probe))
    source.clock.end_at(seconds)
    with simulated(sampler, source.clock):
        sampler._sample(0.0, None)
        sampler._run()
        sampler.stop()
        sampler.final()
    return sampler


@pytest.mark.parametrize("start", [0.1 + part / 1000 for part in range(21)])
def test_a_spike_between_two_refreshes_is_seen_with_its_parts(start: float) -> None:
    source = Scripted({0: MIB, start: 100 * MIB, start + 0.020: MIB})
    sampler = run(source, 0.3, 10.0, AUTO_PROBE)
    assert sampler.highest_usage_bytes == 100 * MIB
    assert sampler.at_peak is not None
    assert sampler.at_peak.usage_bytes == 100 * MIB
    assert sampler.series.peaks.anon_bytes == 50 * MIB
    assert sampler.series.count <= 6


def test_without_probing_it_is_missed_and_nothing_is_looked_at_in_between() -> None:
    source = Scripted({0: MIB, 0.1: 100 * MIB, 0.12: MIB})
    sampler = run(source, 0.3, 10.0, None)
    assert sampler.highest_usage_bytes == MIB
    assert sampler.probe_count == 0
    assert source.looks == 2


def test_growing_slowly_costs_few_full_reads() -> None:
    source = Scripted({step / 1000: 100 * MIB + step * 16384 for step in range(500)})
    sampler = run(source, 0.5, 10.0, 0.002)
    # 7.8 MiB of growth is 5 notable highs of 1.6 % each, read twice at most.
    assert sampler.series.count <= 14


@pytest.mark.parametrize("late_by", [0.005, 0.05])
def test_a_high_that_lasts_is_read_again_until_its_parts_add_up(late_by: float) -> None:
    class Lagging(Scripted):
        def take(self, elapsed_seconds: float) -> Taken:
            known = self.clock.elapsed() > 0.1 + late_by
            anon, usage = 64 * MIB if known else 0, self.usage()
            sample = Sample(elapsed_seconds, usage, anon_bytes=anon, file_bytes=0, kernel_bytes=0)
            return Taken(elapsed_seconds, usage, lambda: sample)

    sampler = run(Lagging({0: 0, 0.1: 64 * MIB}), 0.3, 10.0, AUTO_PROBE)
    assert sampler.at_peak is not None
    assert sampler.at_peak.anon_bytes == 64 * MIB
    assert sampler.series.count <= 12


def test_high_that_is_gone_before_the_next_refresh_was_read_until_its_parts_add_up() -> None:
    class Lagging(Scripted):
        def take(self, elapsed_seconds: float) -> Taken:
            usage = self.usage()
            anon = usage if self.clock.elapsed() > 0.11 else 0
            sample = Sample(elapsed_seconds, usage, anon_bytes=anon, file_bytes=0, kernel_bytes=0)
            return Taken(elapsed_seconds, usage, lambda: sample)

    # Read about every 2 ms: of the high itself, and eight times more at most.
    sampler = run(Lagging({0: 0, 0.1: 64 * MIB, 0.15: MIB}), 0.3, 10.0, 0.002)
    assert sampler.at_peak is not None
    assert (sampler.at_peak.usage_bytes, sampler.at_peak.anon_bytes) == (64 * MIB, 64 * MIB)
    assert sampler.series.count <= 12


def test_high_whose_parts_never_add_up_is_read_nine_times() -> None:
    class Wrong(Scripted):
        def take(self, elapsed_seconds: float) -> Taken:
            usage = self.usage()
            sample = Sample(elapsed_seconds, usage, anon_bytes=0, file_bytes=0, kernel_bytes=0)
            return Taken(elapsed_seconds, usage, lambda: sample)

    sampler = run(Wrong({0: 0, 0.1: 64 * MIB}), 0.3, 10.0, 0.002)
    # And at the start and the end.
    assert sampler.series.count == 2 + 1 + 8


def test_highest_usage_is_kept_although_it_is_not_worth_a_sample() -> None:
    source = Scripted({0: 100 * MIB, 0.1: 100 * MIB + 4096, 0.2: 100 * MIB})
    sampler = run(source, 0.3, 10.0, 0.002)
    assert sampler.highest_usage_bytes == 100 * MIB + 4096
    assert sampler.series.count == 2


def test_nothing_is_read_after_a_failure() -> None:
    source = Scripted({0: MIB})
    source.gone_after = 0.05
    sampler = Sampler(source, Sampling(refresh_seconds=0.01, probe=None))
    source.clock.end_at(0.2)
    with simulated(sampler, source.clock):
        sampler._sample(0.0)
        sampler._run()
        looks, failure = source.looks, sampler.failure
        # It may be there again, as another one with its name.
        source.gone_after = float("inf")
        sampler.stop()
        sampler.final()
    assert isinstance(failure, OSError)
    assert (source.looks, sampler.failure) == (looks, failure)


def test_group_that_goes_before_the_last_sample_loses_nothing() -> None:
    source = Scripted({0: MIB})
    sampler = Sampler(source, Sampling(refresh_seconds=3600, probe=None))
    sampler.start(at_gate=True)
    sampler.stop()
    source.gone_after = -1.0
    sampler.final()
    assert isinstance(sampler.failure, OSError)
    assert sampler.series.count == 1


def test_processes_seen_before_the_first_kill_are_kept() -> None:
    sampler = Sampler(Scripted({0: MIB}), Sampling())
    seen: list[tuple[Process, ...]] = []
    for kills in (0, 1, 1, 2):
        seen.append((Process(len(seen), 0, "it", (), 0, None, None, None, None),))
        sampler.census.last = (float(len(seen)), seen[-1])
        sampler._keep(parts(1, 1)._replace(events=Events(oom_kill=kills)), None)
    assert sampler.before_kill == (2.0, seen[1])


def parts(usage: float, anon: float, kernel: float | None = None, file: float = 0) -> Sample:
    """A sample, of MiB; ``kernel`` is the rest where it is not given."""
    rest = usage - anon - file if kernel is None else kernel
    sizes = (int(size * MIB) for size in (usage, anon, file, rest))
    usage_bytes, anon_bytes, file_bytes, kernel_bytes = sizes
    return Sample(
        0.0, usage_bytes, anon_bytes=anon_bytes, file_bytes=file_bytes, kernel_bytes=kernel_bytes
    )


GOOD = parts(65, 63, 2)


@pytest.mark.parametrize(
    ("before", "after", "is_taken"),
    [
        (GOOD, parts(65, 63.5, 1.5), True),
        (GOOD, parts(66, 64, 2), True),
        # A program that ends: its pages have left anon, and usage not yet.
        (GOOD, parts(65, 30, 2), False),
        (GOOD, parts(65.5, 30, 2), False),
        (GOOD, parts(70, 30, 2), False),
        # Kernel memory, and more of anything than there was.
        (GOOD, parts(70, 30, 40), True),
        (GOOD, parts(120, 60, 8), True),
        (GOOD, parts(140, 50, 2), False),
        # Where kernel is what is left over, and usage is much higher, it may be that.
        (parts(65, 63), parts(65, 30), False),
        (parts(65, 63), parts(65.5, 30), False),
        (parts(65, 63), parts(70, 30), True),
        # Parts of more than there was are no measure for others.
        (parts(65, 90, 2), parts(65.5, 64, 1), True),
        # No group: mapped files are not in usage.
        (GOOD._replace(kernel_bytes=None), parts(66, 20)._replace(kernel_bytes=None), True),
    ],
)
def test_parts_of_a_program_that_ends_are_not_those_of_the_peak(
    before: Sample, after: Sample, is_taken: bool
) -> None:
    sampler = Sampler(Scripted({0: 0}), Sampling())
    sampler._keep(before, Occasion.RISING)
    for occasion in (Occasion.RISING, Occasion.SETTLED, Occasion.REFRESH, None):
        sampler._keep(after, occasion)
        assert sampler.at_peak == (after if is_taken else before)
        assert sampler.highest_usage_bytes == after.usage_bytes


@pytest.mark.parametrize(
    ("usage", "mapped", "is_taken"),
    [
        (36, 32, True),
        # What is shared is unmapped first, and leaves file and usage all at once.
        (36, 16, False),
        (35.9, 16, False),
        (36.2, 16, False),
        # Less of it is mapped, and there is more of something else.
        (38, 16, True),
        (36.2, None, True),
    ],
)
def test_what_was_mapped_is_not_that_of_a_program_that_ends(
    monkeypatch: pytest.MonkeyPatch, usage: float, mapped: int | None, is_taken: bool
) -> None:
    source = Scripted({0: 0})
    source.resolution_bytes = MIB // 2
    sampler = Sampler(source, Sampling())
    for size, inside in ((36, 32), (usage, mapped)):
        composition = None if inside is None else Composition(file_mapped_bytes=inside * MIB)
        monkeypatch.setattr(source, "composition", lambda told=composition: told)
        for occasion in (Occasion.RISING, Occasion.SETTLED, Occasion.REFRESH):
            sampler._keep(parts(size, 4, 0, file=32), occasion)
    assert sampler.at_peak is not None
    assert sampler.at_peak.usage_bytes == int((usage if is_taken else 36) * MIB)
    at_peak = Composition(file_mapped_bytes=32 * MIB)
    assert sampler.at_peak.composition == (composition if is_taken else at_peak)


def test_a_sample_that_has_settled_is_of_the_peak_although_lower() -> None:
    sampler = Sampler(Scripted({0: 0}), Sampling())
    sampler._keep(parts(66, 40, 1), Occasion.RISING)
    sampler._keep(parts(65.5, 64, 1), Occasion.REFRESH)
    assert sampler.at_peak == parts(66, 40, 1)
    sampler._keep(parts(65.5, 64, 1), Occasion.SETTLED)
    assert sampler.at_peak == parts(65.5, 64, 1)
    # As it is no more when its pages leave, near as it is.
    sampler._keep(parts(65.4, 30), Occasion.SETTLED)
    assert sampler.at_peak == parts(65.5, 64, 1)


def test_a_high_is_notable_above_the_highest() -> None:
    source = Scripted({0: 100 * MIB})
    sampler = Sampler(source, Sampling())
    for usage in (100, 10, 100.5):
        sampler._keep(parts(usage, usage - 1, 1), Occasion.REFRESH)
        sampler._probe(0.0)
    # None of the looks at what is known was worth more than a look.
    assert sampler.series.count == 3


def test_high_below_the_highest_is_not_notable() -> None:
    sampler = run(Scripted({0: 100 * MIB, 0.1: 10 * MIB, 0.4: 90 * MIB}), 0.5, 0.3, 0.002)
    # At the start, once while it was low, and at the end.
    assert sampler.series.count == 3


def test_the_processes_are_those_of_the_peak_and_not_of_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look(sample: Sample, *_: object, near_peak: bool, **__: object) -> tuple[Process, ...]:
        looked.append(near_peak)
        return (process._replace(rss_bytes=sample.anon_bytes or 0),)

    looked: list[bool] = []
    process = Process(1, 0, "it", (), 0, None, None, None, None)
    sampler = Sampler(Scripted({0: 0}), Sampling(track_processes=True))
    monkeypatch.setattr(sampler.census, "look", look)
    for sample in (GOOD, parts(65, 30, 2), parts(10, 9, 1)):
        sampler._keep(sample, Occasion.REFRESH)
        assert sampler.at_peak is not None
        assert [one.rss_bytes for one in sampler.at_peak.processes] == [63 * MIB]
    assert looked == [True, False, False]


def seeing(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch, *seen: tuple[Process, ...]
) -> list[Occasion]:
    """Have the sampler see these, look by look; for what it looked is noted."""
    left, occasions = list(seen), list[Occasion]()

    def look(_: Sample, occasion: Occasion, **__: object) -> tuple[Process, ...]:
        occasions.append(occasion)
        return left.pop(0)

    monkeypatch.setattr(sampler.census, "look", look)
    return occasions


IT = Process(1, 0, "it", (), 5 * MIB, None, None, None, None)


def test_processes_of_the_last_scan_stay_at_a_higher_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(Scripted({0: 0}), Sampling())
    seeing(sampler, monkeypatch, (IT,), ())
    sampler._keep(GOOD, Occasion.REFRESH)
    sampler._keep(parts(70, 68, 2)._replace(elapsed_seconds=1.0), Occasion.RISING)
    assert sampler.at_peak is not None
    assert sampler.at_peak.usage_bytes == 70 * MIB
    assert sampler.at_peak.processes == (IT,)
    # That they are not of that moment is told.
    assert sampler.at_peak.processes_elapsed_seconds == 0.0


def test_processes_are_not_scanned_before_the_parts_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(Scripted({0: 0}), Sampling())
    occasions = seeing(sampler, monkeypatch, (), ())
    sampler._keep(parts(66, 40, 1), Occasion.RISING)
    assert occasions == []
    sampler._keep(parts(65.5, 64, 1), Occasion.SETTLED)
    sampler._keep(parts(70, 69, 1), Occasion.RISING)
    assert occasions == [Occasion.SETTLED, Occasion.RISING]


@pytest.mark.parametrize(
    ("sampling", "is_kept"),
    [
        (Sampling(track_processes=True), True),
        (Sampling(track_processes=True, keep_processes=False), False),
        (Sampling(), False),
    ],
)
def test_processes_of_a_sample_are_told_and_kept_if_tracked(
    sampling: Sampling, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Sample] = []
    sampler = Sampler(Scripted({0: 0}), sampling, [told.append])
    seeing(sampler, monkeypatch, (IT,))
    sampler._keep(GOOD, Occasion.REFRESH)
    assert [one.processes for one in told] == [(IT,)]
    [kept] = sampler.series.samples()
    assert kept.processes == ((IT,) if is_kept else ())


@pytest.mark.parametrize("at_gate", [True, False])
def test_who_is_there_before_us_is_seen_at_once(
    monkeypatch: pytest.MonkeyPatch, at_gate: bool
) -> None:
    """In a group of somebody's, usage may never be as high again."""
    process = Process(1, 0, "it", (), 0, None, None, None, None)
    monkeypatch.setattr(census, "largest", lambda *_, **__: (process,))
    monkeypatch.setattr(census, "maps_of", lambda _: [])
    source = Scripted({0: 65 * MIB, 0.3: 60 * MIB})
    sampler = Sampler(source, Sampling(refresh_seconds=0.5))
    sampler.start(at_gate=at_gate)
    source.clock.now += 0.4
    sampler.stop()
    sampler.final()
    assert sampler.at_peak is not None
    assert sampler.at_peak.processes == (() if at_gate else (process,))


def test_the_working_set_is_never_below_zero() -> None:
    sampler = run(Scripted({0: MIB}), 0.01, 10.0, None)
    assert sampler.series.peaks.working_set_bytes == 0
    assert sampler.series.peaks.swap_bytes is None


def test_refresh_keeps_to_its_grid() -> None:
    sampler = run(Scripted({0: MIB}), 0.52, 0.1, None)
    times = [sample.elapsed_seconds for sample in sampler.series.samples()]
    late = [0.0] + [number / 10 + LATE_SECONDS for number in range(1, 6)]
    assert times[:-1] == pytest.approx(late, abs=LATE_SECONDS / 2)


def test_no_refresh_is_made_up_for_after_a_suspend() -> None:
    class Suspended(Scripted):
        def take(self, elapsed_seconds: float) -> Taken:
            taken = super().take(elapsed_seconds)
            if 0.2 <= elapsed_seconds < 0.3:
                self.clock.now += 0.35
            return taken

    sampler = run(Suspended({0: MIB}), 0.9, 0.1, None)
    times = [sample.elapsed_seconds for sample in sampler.series.samples()]
    assert times[:-1] == pytest.approx([0, 0.1, 0.2, 0.55, 0.6, 0.7, 0.8], abs=0.001)
    # Those that lie close together are kept as one, but counted.
    assert sampler.series.count == len(times) == 8


def test_a_group_that_goes_ends_the_watch_and_keeps_what_was_read() -> None:
    source = Scripted({0: MIB})
    source.gone_after = 0.05
    sampler = run(source, 0.2, 0.01, AUTO_PROBE)
    assert isinstance(sampler.failure, OSError)
    assert sampler.series.last is not None and sampler.series.last.usage_bytes == MIB


def test_stop_ends_at_once_even_at_a_long_refresh() -> None:
    sampler = Sampler(Scripted({0: MIB}), Sampling(refresh_seconds=3600.0, probe=None))
    sampler.start(at_gate=True)
    assert [thread for thread in threading.enumerate() if "sampler" in thread.name]
    sampler.stop()  # which waits for it
    assert sampler.elapsed() < 3600
    assert not [thread for thread in threading.enumerate() if "sampler" in thread.name]


@pytest.mark.parametrize(("probe", "apart"), [(AUTO_PROBE, 0.020), (0.005, 0.005)])
def test_looks_are_bounded(probe: Probe, apart: float) -> None:
    sampler = run(Scripted({0: MIB}), 0.5, 10.0, probe)
    assert sampler.probe_count == pytest.approx(0.5 / (apart + LATE_SECONDS), abs=2)
    assert sampler.probe_seconds == apart


@pytest.mark.parametrize(("look_seconds", "apart"), [(0.0, 0.002), (25e-6, 0.005), (0.001, 0.010)])
def test_what_moves_is_looked_at_as_often_as_the_share_allows(
    monkeypatch: pytest.MonkeyPatch, look_seconds: float, apart: float
) -> None:
    source = Scripted({step / 1000: 100 * MIB + step for step in range(500)})
    monkeypatch.setattr(source.clock, "thread_time", lambda: source.looks * look_seconds)
    sampler = run(source, 0.5, 10.0, AUTO_PROBE)
    assert sampler.probe_seconds == pytest.approx(apart, rel=0.05)


def test_a_defect_of_ours_loses_nothing_that_was_measured() -> None:
    """In a thread of its own, as all of it is."""
    source = Scripted({0: MIB})
    sampler = Sampler(source, Sampling(refresh_seconds=0.01, probe=None))
    sampler.start(at_gate=True)
    while source.looks < 5 and sampler._thread.is_alive():
        time.sleep(0.01)
    source.usage_at = {}
    sampler._thread.join(10)
    sampler.stop()
    sampler.final()
    assert isinstance(sampler.failure, IndexError)
    assert sampler.highest_usage_bytes == MIB and sampler.series.count >= 5


class Noting(Scripted):
    """One that notes how much has been understood."""

    def __init__(self, usage_at: dict[float, int]) -> None:
        super().__init__(usage_at)
        self.taken = 0
        self.understood: list[float] = []

    def take(self, elapsed_seconds: float) -> Taken:
        self.taken += 1
        taken = super().take(elapsed_seconds)

        def understand() -> Sample:
            self.understood.append(elapsed_seconds)
            return taken.understand()

        return taken._replace(understand=understand)


def test_at_a_short_refresh_some_samples_are_understood_at_once() -> None:
    class High(Noting):
        def usage(self) -> int:
            waiting.append(self.taken - len(self.understood))
            return super().usage()

    waiting: list[int] = []
    source = High({0: MIB, 0.1: 8 * MIB, 0.11: 4 * MIB})
    sampler = run(source, 0.55, 0.005, None)
    assert sampler.at_peak is not None and sampler.at_peak.usage_bytes == 8 * MIB
    # Those before the high are understood with it, those after it when they are many.
    high = round(0.1 / 0.005)
    assert waiting[high : high + 2] == [high, 1]
    assert max(waiting) == 33
    assert len(source.understood) == source.taken == sampler.series.count == 111
    assert source.understood == sorted(source.understood)


def test_nobody_is_kept_waiting_for_a_sample() -> None:
    source = Noting({0: MIB})
    told: list[Sample] = []
    sampler = Sampler(source, Sampling(refresh_seconds=0.005, probe=None), [told.append])
    source.clock.end_at(0.1)
    with simulated(sampler, source.clock):
        sampler._sample(0.0)
        sampler._run()
    assert len(told) == source.taken == 20


def test_what_was_taken_before_a_group_went_is_kept() -> None:
    source = Noting({0: MIB})
    source.gone_after = 0.1
    sampler = run(source, 0.2, 0.005, None)
    assert isinstance(sampler.failure, OSError)
    assert sampler.series.count == len(source.understood) == 20
