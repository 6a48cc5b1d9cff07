"""From what was read to a Run: begun before the program starts, closed when all is read."""

import contextlib
import errno
import os
from collections.abc import Sequence

from cmemrun import __version__, units
from cmemrun.analysis.oom import held_at_kill, judge
from cmemrun.backends.base import CpuTime, Source
from cmemrun.errors import KernelTextError
from cmemrun.kernel.hierarchy import Hierarchy
from cmemrun.kernel.kmsg import KernelLog
from cmemrun.model import Environment, Exit, Limits, Method, OomLog, Peaks, Run, Sample
from cmemrun.sampler import Sampler

__all__ = ["begin", "close", "kernel_peak"]

# PROC_PID_INIT_INO (include/linux/proc_ns.h): where the kernel log's PIDs are from.
_FIRST_PID_NAMESPACE = 0xEFFFFFFC

# How far below the peak the sample at the peak may be without a word of it.
_CLOSE_SHARE = 0.02


def begin(
    source: Source,
    hierarchy: Hierarchy,
    *,
    command: Sequence[str],
    user: str | None,
    pid: int | None,
    limits: Limits,
    started_at: float,
    refresh_seconds: float,
    attached: bool = False,
) -> Run:
    """All that is known of a run before its first sample; ``started_at`` is in Unix seconds."""
    from datetime import UTC, datetime

    nothing = Sample(0.0, 0)
    return Run(
        command=tuple(command),
        user=user,
        pid=pid,
        started_at=datetime.fromtimestamp(started_at, UTC),
        wall_seconds=0.0,
        cpu_user_seconds=None,
        cpu_system_seconds=None,
        exit=Exit(),
        environment=_environment(hierarchy),
        method=Method(
            backend=source.name,
            group=source.where,
            peak_source="sampled",
            lower_bound=True,
            resolution_bytes=source.resolution_bytes,
            refresh_seconds=refresh_seconds,
            probe_seconds=None,
            sample_count=0,
            probe_count=0,
            attached=attached,
        ),
        limits=limits,
        peak_bytes=0,
        upper_bound_bytes=None,
        peaks=Peaks(),
        at_peak=nothing,
        at_exit=nothing,
        events=nothing.events,
    )


def close(
    begun: Run,
    source: Source,
    sampler: Sampler,
    kernel_log: KernelLog,
    *,
    cpu: CpuTime | None,
    peak: int | None,
    high_water_bytes: int = 0,
    notes: Sequence[str] = (),
) -> Run:
    """The numbers of a run that is over.

    ``peak`` is the kernel's high-water mark, ``None`` where it keeps none;
    ``high_water_bytes`` what one process alone is known to have held.
    """
    at_exit, at_peak = sampler.series.last, sampler.at_peak
    assert at_exit is not None and at_peak is not None  # noqa: S101 (start() took one)
    told = [*source.notes, *notes]
    # Only while it ran it was seen whether the program makes groups of its own.
    method = begun.method._replace(resolution_bytes=source.resolution_bytes)
    if high_water_bytes > sampler.highest_usage_bytes:
        told.append(
            "the peak lay between two looks: it is the high-water mark of one process's RSS"
            " (VmHWM), less the most mapped files that were seen of it"
        )
    # The kernel's mark is updated without a lock and may miss a few pages
    # (page_counter.c): what we saw charged was charged.
    peak_bytes = max(peak or 0, sampler.highest_usage_bytes, high_water_bytes)
    oom_log = _read_log(kernel_log, source) if at_exit.events.oom_kill else None
    if peak is None:
        held = held_at_kill(begun.limits, method, oom_log, begun.environment.page_bytes)
        if held is not None and held > peak_bytes:
            told.append(
                "the peak lay between two looks: it is what the limit's OOM kill says of it"
            )
            peak_bytes = held
    missing, unexplained = peak_bytes - at_peak.usage_bytes, at_peak.unexplained_bytes
    close = max(peak_bytes * _CLOSE_SHARE, source.resolution_bytes)
    if missing > close:
        told.append(
            f"no sample was closer to the peak than {units.format_size(missing)}:"
            " the parts at peak are of that one"
        )
    if unexplained > close:
        told.append(
            f"{units.format_size(unexplained)} of the usage at peak are in none of its parts:"
            " the kernel counts them there later, and takes them out earlier"
        )
    if sampler.failure is not None:
        told.append(_explain(sampler.failure, at_exit.elapsed_seconds))
    maps = tuple(sampler.census.bpf_maps.values())
    run = begun._replace(
        cpu_user_seconds=cpu.user_seconds if cpu else None,
        cpu_system_seconds=cpu.system_seconds if cpu else None,
        method=method._replace(
            peak_source="sampled" if peak is None else "kernel",
            lower_bound=peak is None,
            probe_seconds=sampler.probe_seconds,
            sample_count=sampler.series.count,
            probe_count=sampler.probe_count,
            notes=tuple(told),
        ),
        peak_bytes=peak_bytes,
        peaks=sampler.series.peaks,
        at_peak=at_peak,
        at_peak_anon=sampler.series.at_peak_anon,
        at_peak_working_set=sampler.series.at_peak_working_set,
        at_exit=at_exit,
        events=at_exit.events,
        pressure=at_exit.pressure,
        paging=at_exit.paging,
        bpf_maps=maps,
        bpf_maps_charged=_charges_maps() if maps else None,
        oom_log=oom_log,
        samples=sampler.series.samples(),
    )
    return run._replace(oom=judge(run))


def kernel_peak(source: Source) -> int | None:
    """The kernel's high-water mark of a group that may have gone."""
    with contextlib.suppress(OSError, KernelTextError):
        return source.peak()
    return None


def _charges_maps() -> bool:
    from cmemrun.kernel.bpf import charges_maps

    return charges_maps()


def _read_log(kernel_log: KernelLog, source: Source) -> OomLog:
    """What the kernel log says of kills in this group and those inside it."""
    from cmemrun.kernel import oomlog

    return OomLog(
        events=tuple(
            event
            for event in oomlog.parse(kernel_log.lines())
            if event.victim_group is not None and source.has_path(event.victim_group)
        ),
        source=kernel_log.source,
        refusal=kernel_log.refusal,
        pids_are_ours=_in_first_pid_namespace(),
    )


def _in_first_pid_namespace() -> bool:
    with contextlib.suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE
    return False


def _explain(failure: Exception, elapsed_seconds: float) -> str:
    if isinstance(failure, OSError) and failure.errno in (errno.ENODEV, errno.ENOENT):
        # Of open files the kernel says the same in both cases.
        what = "somebody else removed the group or disabled its controller"
    elif isinstance(failure, OSError | KernelTextError):
        what = f"sampling failed: {failure}"
    else:
        what = f"sampling failed by a defect in cmemrun ({failure!r})"
    return f"{what} after {elapsed_seconds:.1f} s: the numbers end there"


def _environment(hierarchy: Hierarchy) -> Environment:
    system, page_bytes = os.uname(), os.sysconf("SC_PAGESIZE")
    return Environment(
        kernel=system.release,
        machine=system.machine,
        page_bytes=page_bytes,
        cpus=os.sysconf("SC_NPROCESSORS_ONLN"),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * page_bytes,
        hierarchy=hierarchy.layout.value,
        cmemrun=__version__,
    )
