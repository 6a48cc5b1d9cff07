"""From what was read to a Run: begun before the program starts, closed when all is read."""

import contextlib
import errno
import os
from collections.abc import Sequence

from cmemrun import __version__
from cmemrun.analysis.oom import held_at_kill, judge
from cmemrun.analysis.peak import doubts
from cmemrun.backends.base import CpuTime, Source
from cmemrun.errors import KernelTextError
from cmemrun.kernel.hierarchy import Hierarchy
from cmemrun.kernel.kmsg import KernelLog
from cmemrun.model import (
    Environment,
    Exit,
    Limits,
    Method,
    OomEvent,
    OomLog,
    Peaks,
    Run,
    Sample,
)
from cmemrun.sampler import Sampler

__all__ = ["begin", "close", "kernel_peak"]

# PROC_PID_INIT_INO (include/linux/proc_ns.h): where the kernel log's PIDs are from.
_FIRST_PID_NAMESPACE = 0xEFFFFFFC


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
    main_lives: bool = False,
) -> Run:
    """The numbers of a run that is over.

    ``peak`` is the kernel's high-water mark, ``None`` where it keeps none;
    ``high_water_bytes`` what one process alone is known to have held;
    ``main_lives``: the main process of a watch is still there.
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
    events, oom_log, strangers = at_exit.events, None, False
    if events.oom_kill:
        strangers = source.has_strangers()
        oom_log, foreign = _read_log(kernel_log, source, events.oom_kill, strangers=strangers)
        if foreign:
            events = events._replace(oom_kill=events.oom_kill - foreign)
            told.append(
                f"{foreign} of the OOM kills in the group that we are in struck others than the"
                f" program's processes, as {oom_log.source} says"
            )
    if peak is None:
        held = held_at_kill(begun.limits, method, oom_log, begun.environment.page_bytes)
        if held is not None and held > peak_bytes:
            told.append(
                "the peak lay between two looks: it is what the limit's OOM kill says of it"
            )
            peak_bytes = held
    told.extend(doubts(peak_bytes, at_peak, source.resolution_bytes))
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
        events=events,
        pressure=at_exit.pressure,
        paging=at_exit.paging,
        bpf_maps=maps,
        bpf_maps_charged=_charges_maps() if maps else None,
        oom_log=oom_log,
        samples=sampler.series.samples(),
    )
    oom = judge(run, main_lives=main_lives, strangers=strangers)
    if events.oom_kill and sampler.before_kill:
        when, processes = sampler.before_kill
        oom = oom._replace(processes=processes, processes_elapsed_seconds=when)
    return run._replace(oom=oom)


def kernel_peak(source: Source) -> int | None:
    """The kernel's high-water mark of a group that may have gone."""
    with contextlib.suppress(OSError, KernelTextError):
        return source.peak()
    return None


def _charges_maps() -> bool:
    from cmemrun.kernel.bpf import charges_maps

    return charges_maps()


def _read_log(
    kernel_log: KernelLog, source: Source, kills: int, *, strangers: bool
) -> tuple[OomLog, int]:
    """What the kernel log says of kills in this group and those inside it.

    And how many of the ``kills`` were of others, where they are counted of a group that
    others are in, too (``strangers``), and the log has them all.
    """
    from cmemrun.kernel import oomlog

    told = oomlog.parse(kernel_log.lines())
    ours_by_pid = _in_first_pid_namespace()
    events, unplaced = [], []
    for event in told:
        root = None if event.victim_group is None else source.root_in(event.victim_group)
        tells_by_pid = ours_by_pid and (event.victim_group is None or source.name == "proc")
        seen = tells_by_pid and any(source.has_seen(victim.pid) for victim in event.victims)
        if root is not None or seen:
            events.append(event._replace(whose=_whose(event.limit_group, root)))
        elif event.victim_group is None:
            unplaced.append(event)
    missing = kills - _victims(events)
    # Each kill has a line of its own, also where all else is left out: a group that counts
    # as many as there are lines counts those. A tool has older lines, too.
    is_exact = kernel_log.is_whole and kernel_log.source == "/dev/kmsg"
    if is_exact and not strangers and missing == _victims(unplaced):
        events += unplaced
        unplaced = []
    log = OomLog(
        events=tuple(events),
        source=kernel_log.source,
        refusal=kernel_log.refusal,
        pids_are_ours=ours_by_pid,
        unplaced=_victims(unplaced) if missing > 0 else 0,
        is_whole=kernel_log.is_whole,
    )
    if strangers and is_exact and ours_by_pid and _victims(told) >= kills:
        return log._replace(unplaced=0), max(0, missing)
    return log, 0


def _victims(events: Sequence[OomEvent]) -> int:
    return sum(len(event.victims) for event in events)


def _whose(limit_group: str | None, root: str | None) -> str | None:
    """Where the group with the limit is, seen from ours, both as the kernel's log has them."""
    if limit_group is None:
        return None
    if limit_group == root:
        return "own"
    return "inner" if root is not None and limit_group.startswith(f"{root}/") else "ancestor"


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
