"""What is said where the parts at the peak are not those of the peak."""

import pytest

from cmemrun.analysis.peak import doubts
from cmemrun.model import Sample

MIB = 2**20


def sample(usage: float, anon: float) -> Sample:
    return Sample(0.0, int(usage * MIB), anon_bytes=int(anon * MIB), file_bytes=0, kernel_bytes=0)


@pytest.mark.parametrize(
    ("peak", "usage", "anon", "resolution", "said"),
    [
        # Two percent of the peak may be missing, and what the kernel's counting leaves open.
        (100, 98, 98, 0, []),
        (100, 97.9, 97.9, 0, ["no sample was closer to the peak than 2.1 MiB"]),
        (10, 9.5, 9.5, 0.5, []),
        (10, 9.4, 9.4, 0.5, ["no sample was closer to the peak than 614.4 KiB"]),
        (100, 100, 98, 0, []),
        (100, 100, 97, 0, ["3.0 MiB of the usage at peak are in none of its parts"]),
        (100, 90, 80, 0, ["no sample was closer", "10.0 MiB of the usage"]),
    ],
)
def test_doubt_from_two_percent_of_the_peak_on(
    peak: int, usage: float, anon: float, resolution: float, said: list[str]
) -> None:
    found = list(doubts(peak * MIB, sample(usage, anon), int(resolution * MIB)))
    assert len(found) == len(said)
    assert all(sentence.startswith(words) for sentence, words in zip(found, said, strict=True))
