"""Whether the OOM killer struck, whom, and at whose limit: never from the exit status alone."""

import signal
from collections.abc import Iterator

from cmemrun.model import (
    Events,
    Limits,
    Method,
    Oom,
    OomEvent,
    OomLog,
    OomVictim,
    Run,
    Sample,
)
from cmemrun.units import format_size

__all__ = ["held_at_kill", "judge"]

_LAST_SAMPLES = 5

# Nobody is killed for a charge of more than this many pages (PAGE_ALLOC_COSTLY_ORDER).
_MOST_PAGES_KILLED_FOR = 8


def judge(run: Run, *, main_lives: bool = False, strangers: bool = False) -> Oom:
    """The verdict on a run, with its evidence.

    The counters are not numbers of processes: a kill of the whole group counts
    its first victim twice, and one kill can raise ``oom`` by a thousand.
    ``main_lives``: the main process was there at the end of a watch.
    ``strangers``: the counters are of a group that others were in, too.
    """
    kills, log = run.events.oom_kill, run.oom_log
    events = log.events if log else ()
    victims = tuple(victim for event in events for victim in event.victims)
    if not kills and not victims:
        return _not_killed(run)
    tasks = events[0].tasks if events else ()
    return Oom(
        verdict=_whom(run, events, victims, main_lives, strangers),
        limit=_whose_limit(run, events),
        victims=victims,
        evidence=tuple(_evidence(run, events)),
        tasks=tuple(sorted(tasks, key=lambda task: task.rss_bytes, reverse=True)),
        last_samples=_before_first_kill(run.samples),
    )


def held_at_kill(limits: Limits, method: Method, log: OomLog | None, page_bytes: int) -> int | None:
    """What the group held, at least, when its own limit had somebody killed; ``None`` without one.

    The kernel kills once a charge has failed and nothing could be reclaimed:
    usage and that charge were above the limit then, but for what other CPUs
    were charging in advance (try_charge_memcg, mm/memcontrol.c).
    """
    if not isinstance(limits.max_bytes, int) or log is None:
        return None
    if not any(event.whose == "own" for event in log.events):
        return None
    return max(0, limits.max_bytes - method.resolution_bytes - _MOST_PAGES_KILLED_FOR * page_bytes)


def _before_first_kill(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """The last samples before the kernel's count rose; none where it was there from the start."""
    counts = [sample.events.oom_kill or 0 for sample in samples]
    first = next((index for index, count in enumerate(counts) if count), len(counts))
    return samples[max(0, first - _LAST_SAMPLES) : first]


def _not_killed(run: Run) -> Oom:
    if run.exit.signal != signal.SIGKILL:
        return Oom("none")
    if run.exit.timed_out:
        return Oom("sigkill-not-oom", evidence=("cmemrun itself sent it, after the time limit",))
    if run.events.oom_kill is None:
        return Oom(
            "unknown",
            evidence=("ended by SIGKILL, and nothing here counts OOM kills",),
        )
    return Oom(
        "sigkill-not-oom",
        evidence=("ended by SIGKILL, and the kernel counted no OOM kill: somebody sent it",),
    )


def _whom(
    run: Run,
    events: tuple[OomEvent, ...],
    victims: tuple[OomVictim, ...],
    main_lives: bool,
    strangers: bool,
) -> str:
    if run.events.oom_group_kill or any(event.together for event in events):
        return "group-killed"
    if run.oom_log and run.oom_log.pids_are_ours and victims:
        if run.pid in {victim.pid for victim in victims}:
            return "main-killed"
        if not _may_be_more(run, victims):
            # The log has them all: who is not among them was killed by somebody else.
            return "child-killed"
    if strangers and not victims:
        return "unknown"
    ended_otherwise = run.exit.status is not None and run.exit.signal != signal.SIGKILL
    if main_lives or ended_otherwise or run.pid is None:
        return "child-killed"
    # It died of SIGKILL, or nobody saw how, and somebody was killed: it or another.
    return "main-killed" if run.exit.status is not None and _was_alone(run) else "unknown"


def _may_be_more(run: Run, victims: tuple[OomVictim, ...]) -> bool:
    """Whether the counter knows of kills that the log has lost."""
    return (run.events.oom_kill or 0) > len(victims)


def _was_alone(run: Run) -> bool:
    """Whether nobody but the main process was ever seen in the group."""
    looks = (run.at_peak, *run.samples)
    seen = {process.pid for look in looks for process in look.processes}
    return seen == {run.pid} or (not seen and run.peaks.tasks == 1)


def _whose_limit(run: Run, events: tuple[OomEvent, ...]) -> str | None:
    """``None`` also where it was that of a group inside, which the evidence names."""
    told = {"machine" if event.machine else event.whose for event in events} - {None}
    for whose in ("own", "ancestor", "machine"):
        if whose in told:
            return whose
    return "own" if not told and _own_limit_hits(run.events) else None


def _own_limit_hits(events: Events) -> int | None:
    """How often charging failed at our own limit.

    v1 counts those as ``max`` only; on v2 before Linux 5.2 the limits inside are counted in.
    """
    if events.oom is None:
        return events.max
    return events.oom if events.oom_local is None else events.oom_local


def _evidence(run: Run, events: tuple[OomEvent, ...]) -> Iterator[str]:
    counts = run.events
    if counts.oom_kill is not None:
        where = "the group that we are in" if run.method.backend == "proc" else "the group"
        yield f"the kernel counted oom_kill {counts.oom_kill} in {where}"
    yield from _limit_evidence(counts)
    if run.exit.code is not None:
        yield f"the main process exited with {run.exit.code}"
    log = run.oom_log
    if log is None:
        yield "nobody read the kernel log at the end: who was killed is not known"
        return
    if log.source is None:
        why = f" ({log.refusal})" if log.refusal else ""
        yield f"the kernel log cannot be read{why}: who was killed is not known"
        return
    for event in events:
        for victim in event.victims:
            yield (
                f"{log.source}: killed {victim.name} (pid {victim.pid}),"
                f" anon {format_size(victim.anon_bytes)}, file {format_size(victim.file_bytes)}"
            )
        if event.limit_group is not None:
            inside = ", a group inside" if event.whose == "inner" else ""
            yield f"{log.source}: at the limit of {event.limit_group}{inside}"
        elif event.machine:
            yield f"{log.source}: the machine was out of memory"
        if event.invoked_by is not None:
            yield f"{log.source}: asked for by {event.invoked_by}"
    known = sum(len(event.victims) for event in events) + log.unplaced
    if not log.is_whole and known < (counts.oom_kill or 0):
        yield f"{log.source}: lines were lost before they were read, and kills with them"
    if log.unplaced:
        yield (
            f"{log.source}: {log.unplaced} more killed on this machine, and not said in which"
            " groups (of many kills at once it tells less)"
        )
    elif not events and log.is_whole:
        yield f"{log.source} does not tell of it"


def _limit_evidence(counts: Events) -> Iterator[str]:
    """Whose limit it was, as far as the counters tell."""
    hits = _own_limit_hits(counts)
    if hits:
        # v1 counts each time that something had to be reclaimed first.
        told = f"oom {hits}" if counts.oom is not None else f"failcnt {hits}, reclaim included"
        yield f"the group's own limit was hit ({told})"
    elif counts.oom:
        yield f"the limit of a group inside was hit (oom {counts.oom}), and not the group's own"
    elif hits == 0:
        inside = " or inside it" if counts.oom is None else ""
        yield (
            "no limit of the group itself was hit:"
            f" it was one above it{inside}, or the machine's memory"
        )
