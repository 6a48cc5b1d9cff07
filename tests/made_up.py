"""Runs and samples that nobody measured, for whatever reads, judges or shows them."""

from datetime import UTC, datetime
from typing import Any

from cmemrun.model import (
    UNLIMITED,
    Environment,
    Events,
    Exit,
    Limits,
    Method,
    Peaks,
    Process,
    Run,
    Sample,
)

__all__ = ["ESCAPES", "HOSTILE", "MIB", "RUN", "SAMPLE", "process", "run_of", "runs", "sample"]

MIB = 2**20
SAMPLE = Sample(
    elapsed_seconds=1.0,
    usage_bytes=100 * MIB,
    anon_bytes=80 * MIB,
    file_bytes=15 * MIB,
    kernel_bytes=5 * MIB,
    inactive_file_bytes=10 * MIB,
    shmem_bytes=0,
)
RUN = Run(
    command=("./myapp", "--flag"),
    user=None,
    pid=100,
    started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    wall_seconds=2.5,
    cpu_user_seconds=1.25,
    cpu_system_seconds=0.5,
    exit=Exit(code=0, signal=None),
    environment=Environment("6.12.0", "x86_64", 4096, 2, 2**34, "unified", "0.1.0"),
    method=Method("cgroup-v2", "/sys/fs/cgroup/x", "kernel", False, 524288, 0.5, 0.004, 7, 99),
    limits=Limits(max_bytes=UNLIMITED, oom_group=False),
    peak_bytes=101 * MIB,
    upper_bound_bytes=None,
    peaks=Peaks(working_set_bytes=90 * MIB, anon_bytes=80 * MIB),
    at_peak=SAMPLE,
    at_exit=Sample(elapsed_seconds=2.5, usage_bytes=MIB),
    events=Events(max=0, oom_kill=0),
    samples=(SAMPLE,),
)
ESCAPES = "\x1b[2J\x07\u202e"
HOSTILE = (
    "./a$b_c\\nope{1}^2$",
    "</script><img src=x onerror=alert(1)>",
    ESCAPES,
    "日本語 \U0001f600 \n",
    "W" * 300,
)


def runs(*peaks: float, **more: Any) -> list[Run]:
    """A run for each peak in MiB, otherwise alike."""
    return [RUN._replace(peak_bytes=int(peak * MIB), **more) for peak in peaks]


def run_of(*samples: Sample, **more: Any) -> Run:
    """With these samples, and the peak and the end that follow from them."""
    top = max((sample.usage_bytes for sample in samples), default=0)
    wall = samples[-1].elapsed_seconds if samples else 1.0
    changed: dict[str, Any] = {"samples": samples, "peak_bytes": top, "wall_seconds": wall}
    return RUN._replace(**changed | more)


def sample(seconds: float, usage_bytes: int, **more: Any) -> Sample:
    return Sample(seconds, usage_bytes, **more)


def process(pid: int, size: int, pss_bytes: int | None = None) -> Process:
    return Process(pid, 1, f"worker{pid}", (f"./worker{pid}",), size, pss_bytes, None, None, 1)
