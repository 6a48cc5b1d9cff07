"""What the live view is given: a sample, the run so far, and its processes."""

from cmemrun.model import Limits, Pressure, Process, Sample
from tests.made_up import MIB, RUN

__all__ = ["LIMITED", "SAMPLE", "process"]

SAMPLE = Sample(
    elapsed_seconds=10.0,
    usage_bytes=96 * MIB,
    anon_bytes=64 * MIB,
    file_bytes=24 * MIB,
    kernel_bytes=8 * MIB,
    inactive_file_bytes=16 * MIB,
    tasks=3,
    pressure=Pressure(0.25, 0.0),
)
LIMITED = RUN._replace(limits=Limits(max_bytes=128 * MIB))


def process(pid: int, size: int, *command: str) -> Process:
    return Process(pid, 1, "name", command, size, size, size, 0, 1)
