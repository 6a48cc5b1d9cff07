"""The sampler on a source made up here: what it reads, when, and what it makes of it."""

import errno
import threading
import time

import pytest

from cmemrun import census
from cmemrun.backends.base import Taken
from cmemrun.census import Occasion
from cmemrun.model import Process, Sample
from cmemrun.sampler import AUTO_PROBE, Probe, Sampler, Sampling

MIB = 2**20


class Scripted:
    """A source whose usage is a function of time."""

    name, where = "scripted", "/nowhere"
    resolution_bytes, slowest_probe_seconds = 0, 0.010

    def __init__(self, usage_at: dict[float, int]) -> None:
        self.notes: list[str] = []
        self.usage_at = usage_at
        self.started = time.monotonic()
        self.looks = 0
        self.gone_after = float("inf")

    def usage(self) -> int:
        self.looks += 1
        now = time.monotonic() - self.started
        if now > self.gone_after:
            raise OSError(errno.ENODEV, "No such device")
        return [value for when, value in self.usage_at.items() if when <= now][-1]

    def take(self, elapsed_seconds: float) -> Taken:
        usage = self.usage()
        sample = Sample(
            elapsed_seconds, usage, anon_bytes=usage // 2, inactive_file_bytes=usage * 2
        )
        return Taken(elapsed_seconds, usage, lambda: sample)

    def composition(self) -> None:
        return None

    def members(self) -> set[int]:
        return set()

    def peak(self) -> int | None:
        return None

    def close(self) -> None:
        pass


def run(source: Scripted, seconds: float, refresh: float, probe: Probe) -> Sampler:
    sampler = Sampler(source, Sampling(refresh_seconds=refresh, probe=probe))
    sampler.start(at_gate=True)
    time.sleep(seconds)
    sampler.stop()
    sampler.final()
    return sampler


def test_a_spike_between_two_refreshes_is_seen_with_its_parts() -> None:
    source = Scripted({0: MIB, 0.1: 100 * MIB, 0.12: MIB})
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
            known = time.monotonic() - self.started > 0.1 + late_by
            anon, usage = 64 * MIB if known else 0, self.usage()
            sample = Sample(elapsed_seconds, usage, anon_bytes=anon, file_bytes=0, kernel_bytes=0)
            return Taken(elapsed_seconds, usage, lambda: sample)

    sampler = run(Lagging({0: 0, 0.1: 64 * MIB}), 0.3, 10.0, AUTO_PROBE)
    assert sampler.at_peak is not None
    assert sampler.at_peak.anon_bytes == 64 * MIB
    assert sampler.series.count <= 12


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
    source.started = time.monotonic()
    sampler.start(at_gate=at_gate)
    time.sleep(0.8)
    sampler.stop()
    assert sampler.at_peak is not None
    assert sampler.at_peak.processes == (() if at_gate else (process,))


def test_the_working_set_is_never_below_zero() -> None:
    sampler = run(Scripted({0: MIB}), 0.01, 10.0, None)
    assert sampler.series.peaks.working_set_bytes == 0
    assert sampler.series.peaks.swap_bytes is None


def test_refresh_keeps_to_its_grid() -> None:
    sampler = run(Scripted({0: MIB}), 0.52, 0.1, None)
    times = [sample.elapsed_seconds for sample in sampler.series.samples()]
    assert sampler.series.count in (6, 7)
    for number, when in enumerate(times[:-1]):
        assert number * 0.1 <= when < number * 0.1 + 0.08


def test_a_group_that_goes_ends_the_thread_and_keeps_what_was_read() -> None:
    source = Scripted({0: MIB})
    source.gone_after = 0.05
    sampler = run(source, 0.2, 0.01, AUTO_PROBE)
    assert isinstance(sampler.failure, OSError)
    assert sampler.series.last is not None and sampler.series.last.usage_bytes == MIB


def test_stop_ends_at_once_even_at_a_long_refresh() -> None:
    started = time.monotonic()
    run(Scripted({0: MIB}), 0.01, 3600.0, None)
    assert time.monotonic() - started < 1
    assert not [thread for thread in threading.enumerate() if "sampler" in thread.name]


@pytest.mark.parametrize("probe", [AUTO_PROBE, 0.005])
def test_looks_are_bounded(probe: Probe) -> None:
    source = Scripted({0: MIB})
    sampler = run(source, 0.5, 10.0, probe)
    assert 20 <= sampler.probe_count <= 260
    assert sampler.probe_seconds is not None
    assert 0.002 <= sampler.probe_seconds <= 0.020


def test_a_defect_of_ours_loses_nothing_that_was_measured() -> None:
    source = Scripted({0: MIB})
    sampler = Sampler(source, Sampling(refresh_seconds=0.01, probe=None))
    sampler.start(at_gate=True)
    time.sleep(0.1)
    source.usage_at = {}
    time.sleep(0.1)
    sampler.stop()
    sampler.final()
    assert isinstance(sampler.failure, IndexError)
    assert sampler.highest_usage_bytes == MIB and sampler.series.count > 3


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
    source = Noting({0: MIB, 0.1: 8 * MIB, 0.11: 4 * MIB})
    sampler = Sampler(source, Sampling(refresh_seconds=0.005, probe=None))
    sampler.start(at_gate=True)
    time.sleep(0.15)
    # But for the high, and with it all before.
    assert sampler.at_peak is not None and sampler.at_peak.usage_bytes == 8 * MIB
    assert source.taken - len(source.understood) in range(4, 12)
    time.sleep(0.4)
    assert len(source.understood) > 60
    sampler.stop()
    assert len(source.understood) == source.taken == sampler.series.count
    assert source.understood == sorted(source.understood)


def test_nobody_is_kept_waiting_for_a_sample() -> None:
    source, told = Noting({0: MIB}), []
    sampler = Sampler(source, Sampling(refresh_seconds=0.005, probe=None), [told.append])
    sampler.start(at_gate=True)
    time.sleep(0.1)
    assert source.taken - len(told) < 2
    sampler.stop()
    assert len(told) == source.taken


def test_what_was_taken_before_a_group_went_is_kept() -> None:
    source = Noting({0: MIB})
    source.gone_after = 0.1
    sampler = run(source, 0.2, 0.005, None)
    assert isinstance(sampler.failure, OSError)
    assert sampler.series.count == len(source.understood) >= 15
