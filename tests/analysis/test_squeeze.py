"""Steering by pressure, against programs that are made up."""

from cmemrun.analysis.squeeze import QUIET_SECONDS, Squeeze, Steering, Step, conclude
from cmemrun.model import Paging, Pressure, Sample

MIB = 2**20


def squeezed(needs: int, holds: int, *, seconds: int, anon: int = 8 * MIB) -> Squeeze:
    """A program that holds so much and waits for what it has less than it needs."""
    steering, usage, stalled = Steering(4096), holds, 0.0
    for tick in range(seconds * 2):
        if usage < needs:
            stalled += 0.05
            usage = needs
        pressure = Pressure(stalled, stalled)
        usage -= steering.look(Sample(tick / 2, usage, anon_bytes=anon, pressure=pressure))
    return conclude(steering.steps)


def test_it_goes_down_to_what_is_needed_and_no_further() -> None:
    found = squeezed(40 * MIB, 100 * MIB, seconds=60)
    assert found.held_bytes is not None
    assert 40 * MIB <= found.held_bytes <= 44 * MIB
    assert (found.highest_bytes, found.kept_bytes) == (100 * MIB, 8 * MIB)
    assert found.was_pressed


def test_it_takes_smaller_steps_where_somebody_waited() -> None:
    found = squeezed(40 * MIB, 100 * MIB, seconds=60)
    asked = [step.asked_bytes for step in found.steps if step.asked_bytes]
    assert asked[-1] < asked[0] / 4
    # And leaves it alone for a while.
    stalls = [step.stall_seconds for step in found.steps]
    first = next(index for index, stalled in enumerate(stalls) if stalled)
    assert all(step.asked_bytes == 0 for step in found.steps[first : first + 6])


def test_what_needs_nothing_is_never_pressed() -> None:
    found = squeezed(0, 100 * MIB, seconds=60)
    assert not found.was_pressed
    assert found.held_bytes is not None and found.held_bytes < 12 * MIB


def test_anon_alone_cannot_be_squeezed() -> None:
    found = squeezed(0, 50 * MIB, seconds=30, anon=50 * MIB)
    assert found.held_bytes == 50 * MIB
    assert not any(step.asked_bytes for step in found.steps)


def test_what_it_had_while_it_grew_was_never_enough() -> None:
    steps = [Step(tick / 2, tick * MIB, 0, 0.0) for tick in range(101)]
    assert conclude(steps).held_bytes is None
    quiet = int(QUIET_SECONDS * 2)
    steps += [Step(50.5 + tick / 2, 80 * MIB, 0, 0.0) for tick in range(quiet)]
    assert conclude(steps).held_bytes == 100 * MIB
    steps.append(Step(50.5 + QUIET_SECONDS, 79 * MIB, 0, 0.0))
    assert conclude(steps).held_bytes == 80 * MIB


def test_what_is_read_again_was_missed_however_fast_the_disk() -> None:
    steering, usage, refaults, needs = Steering(4096), 100 * MIB, 0, 40 * MIB
    for tick in range(120):
        if usage < needs:
            refaults += (needs - usage) // 4096
            usage = needs
        paging = Paging(workingset_refault_file=refaults)
        sample = Sample(tick / 2, usage, anon_bytes=MIB, pressure=Pressure(0.0, 0.0), paging=paging)
        usage -= steering.look(sample)
    found = conclude(steering.steps)
    assert found.was_pressed and found.held_bytes is not None
    assert 39 * MIB <= found.held_bytes <= 44 * MIB
    assert refaults * 4096 < 20 * MIB


def test_what_cannot_be_told_is_left_alone() -> None:
    steering = Steering(4096)
    assert steering.look(Sample(0.0, MIB, anon_bytes=MIB)) == 0
    assert steering.look(Sample(1.0, MIB, pressure=Pressure(0.0, 0.0))) == 0
    assert steering.steps == []


def test_kernel_memory_and_shared_memory_cannot_be_reclaimed() -> None:
    steering = Steering(4096)
    first = Sample(
        0.0,
        17 * MIB,
        anon_bytes=MIB,
        shmem_bytes=2 * MIB,
        kernel_bytes=4 * MIB,
        pressure=Pressure(0.0, 0.0),
    )
    steering.look(first)
    # A tenth of the 10 MiB that are left.
    assert steering.look(first._replace(elapsed_seconds=1.0)) == MIB
    assert steering.steps[0].kept_bytes == 7 * MIB


def test_highest_kept_counts_and_highest_usage_of_a_quiet_span() -> None:
    steps = [
        Step(tick, usage * MIB, kept * MIB, 0.0)
        for tick, (usage, kept) in enumerate([(100, 9), (80, 20), (90, 9), (70, 9), (85, 9)])
    ]
    found = conclude(steps)
    assert found.kept_bytes == 20 * MIB
    # Of 0 to 3 s the highest is 100 MiB, of 1 to 4 s 90 MiB.
    assert found.held_bytes == 90 * MIB


def test_a_thousandth_of_the_time_is_quiet() -> None:
    for stalled, pressed in ((0.0009, False), (0.0011, True)):
        steps = [Step(0.0, MIB, 0, 0.0), Step(1.0, MIB, 0, stalled)]
        assert conclude(steps).was_pressed is pressed
