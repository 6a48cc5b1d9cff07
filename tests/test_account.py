"""What a run's account says of numbers that are not whole."""

from typing import cast

import pytest

from cmemrun.account import close
from cmemrun.backends.base import Source, Taken
from cmemrun.kernel.kmsg import KernelLog
from cmemrun.model import Sample
from cmemrun.sampler import Sampler, Sampling
from tests.made_up import RUN

MIB = 2**20


class Told:
    """A source that says the same at each look."""

    notes: tuple[str, ...] = ()
    resolution_bytes = MIB // 2

    def __init__(self, usage_bytes: int, anon_bytes: int) -> None:
        self.sample = Sample(
            0.0, usage_bytes, anon_bytes=anon_bytes, file_bytes=0, kernel_bytes=MIB
        )

    def take(self, elapsed_seconds: float) -> Taken:
        sample = self.sample._replace(elapsed_seconds=elapsed_seconds)
        return Taken(elapsed_seconds, sample.usage_bytes, lambda: sample)

    def composition(self) -> None:
        return None

    def members(self) -> set[int]:
        return set()


@pytest.mark.parametrize(
    ("anon_mib", "peak_mib", "said"),
    [
        (98, 100, None),
        (60, 100, "39.0 MiB of the usage at peak are in none of its parts"),
        (99, 160, "no sample was closer to the peak than 60.0 MiB"),
    ],
)
def test_parts_that_are_not_those_of_the_peak_say_so(
    anon_mib: int, peak_mib: int, said: str | None
) -> None:
    source = cast(Source, Told(100 * MIB, anon_mib * MIB))
    sampler = Sampler(source, Sampling(probe=None))
    sampler.start(at_gate=True)
    sampler.stop()
    sampler.final()
    run = close(RUN, source, sampler, KernelLog(), cpu=None, peak=peak_mib * MIB)
    assert run.peak_bytes == peak_mib * MIB
    notes = run.method.notes
    assert not notes if said is None else [said in note for note in notes] == [True]
