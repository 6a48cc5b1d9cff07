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


def judge(run: Run) -> Oom:
    """The verdict on a run, with its evidence.

    The counters are not numbers of processes: a kill of the whole group counts
    its first victim twice, and one kill can raise ``oom`` by a thousand.
    """
    kills, log = run.events.oom_kill, run.oom_log
    events = log.events if log else ()
    victims = tuple(victim for event in events for victim in event.victims)
    if not kills and not victims:
        return _not_killed(run)
    tasks = events[0].tasks if events else ()
    return Oom(
        verdict=_whom(run, events, victims),
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
    name = _name(method.group)
    if not any(event.limit_group and _name(event.limit_group) == name for event in log.events):
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


def _whom(run: Run, events: tuple[OomEvent, ...], victims: tuple[OomVictim, ...]) -> str:
    if run.events.oom_group_kill or any(event.together for event in events):
        return "group-killed"
    if run.exit.status is None:
        # Of a group that was watched, or a record that is torn, nobody saw the end.
        return "main-killed" if run.pid in {victim.pid for victim in victims} else "child-killed"
    if run.exit.signal != signal.SIGKILL:
        return "child-killed"
    log = run.oom_log
    if log and log.pids_are_ours and victims and not _may_be_more(run, victims):
        # The log has them all: who is not among them was killed by somebody else.
        return "main-killed" if run.pid in {victim.pid for victim in victims} else "child-killed"
    return "main-killed"


def _may_be_more(run: Run, victims: tuple[OomVictim, ...]) -> bool:
    """Whether the counter knows of kills that the log has lost."""
    return (run.events.oom_kill or 0) > len(victims)


def _whose_limit(run: Run, events: tuple[OomEvent, ...]) -> str | None:
    told = {limit for event in events if (limit := _limit_of(event, run)) is not None}
    for whose in ("own", "ancestor", "machine"):
        if whose in told:
            return whose
    # Of a hit limit the group that has it counts; inner ones are counted in on v2.
    return "own" if _own_limit_hits(run.events) else None


def _limit_of(event: OomEvent, run: Run) -> str | None:
    if event.machine:
        return "machine"
    if event.limit_group is None:
        return None
    name = _name(run.method.group)
    return "own" if name in event.limit_group.split("/") else "ancestor"


def _name(group: str) -> str:
    return group.rpartition("/")[2]


def _own_limit_hits(events: Events) -> int | None:
    """How often charging failed at our own limit; v1 counts those as ``max`` only."""
    return events.max if events.oom is None else events.oom


def _evidence(run: Run, events: tuple[OomEvent, ...]) -> Iterator[str]:
    counts = run.events
    if counts.oom_kill is not None:
        yield f"the kernel counted oom_kill {counts.oom_kill} in the group"
    hits = _own_limit_hits(counts)
    if hits == 0:
        yield "no limit of the group itself was hit: it was one above it, or the machine's memory"
    elif hits:
        name = "failcnt" if counts.oom is None else "oom"
        yield f"the group's own limit was hit ({name} {hits})"
    if run.exit.code is not None:
        yield f"the main process exited with {run.exit.code}"
    log = run.oom_log
    if log is None or log.source is None:
        why = f" ({log.refusal})" if log and log.refusal else ""
        yield f"the kernel log cannot be read{why}: who was killed is not known"
        return
    for event in events:
        for victim in event.victims:
            yield (
                f"{log.source}: killed {victim.name} (pid {victim.pid}),"
                f" anon {format_size(victim.anon_bytes)}, file {format_size(victim.file_bytes)}"
            )
        if event.limit_group is not None:
            yield f"{log.source}: at the limit of {event.limit_group}"
        elif event.machine:
            yield f"{log.source}: the machine was out of memory"
        if event.invoked_by is not None:
            yield f"{log.source}: asked for by {event.invoked_by}"
    if not events:
        yield f"{log.source} does not tell of it"
