"""The verdict on a kill, from counters and log that agree, and from those that leave gaps."""

import signal
from typing import Any

import pytest

from cmemrun.analysis.oom import held_at_kill, judge
from cmemrun.model import (
    Events,
    Exit,
    Limits,
    OomEvent,
    OomLog,
    OomTask,
    OomVictim,
    Peaks,
    Process,
    Run,
    Sample,
)
from tests.made_up import RUN

KILLED = Exit(None, signal.SIGKILL)
DONE = Exit(0, None)
OURS = "/machine/cmemrun-1-abc"
INNER = f"{OURS}/inner"


def run(end: Exit, events: Events, log: OomLog | None = None) -> Run:
    method = RUN.method._replace(group=f"/sys/fs/cgroup{OURS}")
    return RUN._replace(pid=100, exit=end, events=events, oom_log=log, method=method)


def logged(*pids: int, limit: str | None = OURS, ours: bool = True, **more: Any) -> OomLog:
    victims = tuple(OomVictim(pid, f"name{pid}", 1 << 20, 0, 0, 0) for pid in pids)
    whose = {None: None, OURS: "own", INNER: "inner"}.get(limit, "ancestor")
    event = OomEvent("alloc", limit, OURS, False, False, victims, (), whose)._replace(**more)
    return OomLog("/dev/kmsg", "", (event,), ours)


UNREADABLE = OomLog(None, "/dev/kmsg: Operation not permitted", (), True)
ONE = Events(max=5, oom=1, oom_kill=1)
INSIDE = Events(max=5, oom=1, oom_local=0, oom_kill=1)
NOT_OUR_LIMIT = Events(max=0, oom=0, oom_kill=1)
V1 = Events(max=7, oom_kill=1)


@pytest.mark.parametrize(
    ("end", "events", "log", "verdict", "limit"),
    [
        (DONE, Events(oom_kill=0), None, "none", None),
        (DONE, Events(), None, "none", None),
        (KILLED, ONE, logged(100), "main-killed", "own"),
        (DONE, ONE, logged(101), "child-killed", "own"),
        (Exit(), ONE, logged(101), "child-killed", "own"),
        (Exit(), ONE, logged(100), "main-killed", "own"),
        # Nobody saw the end, and nothing says whom.
        (Exit(), ONE, UNREADABLE, "unknown", "own"),
        (Exit(), ONE, logged(100, ours=False), "unknown", "own"),
        # Killed by somebody else, after a child fell to the OOM killer.
        (KILLED, ONE, logged(101), "child-killed", "own"),
        # The same numbers mean nothing in another PID namespace: it, or one of its children.
        (KILLED, ONE, logged(4711, ours=False), "unknown", "own"),
        # The log has lost one of two.
        (KILLED, Events(oom=2, oom_kill=2), logged(101), "unknown", "own"),
        (DONE, Events(oom=2, oom_kill=2), logged(101), "child-killed", "own"),
        (KILLED, Events(oom=1, oom_kill=3, oom_group_kill=1), None, "group-killed", "own"),
        (KILLED, Events(oom=1, oom_kill=3), logged(101, 100, together=True), "group-killed", "own"),
        (DONE, NOT_OUR_LIMIT, logged(101, limit="/machine"), "child-killed", "ancestor"),
        (DONE, ONE, logged(101, limit=INNER), "child-killed", None),
        (DONE, INSIDE, UNREADABLE, "child-killed", None),
        (DONE, NOT_OUR_LIMIT, logged(101, limit=None, machine=True), "child-killed", "machine"),
        (DONE, ONE, UNREADABLE, "child-killed", "own"),
        (DONE, NOT_OUR_LIMIT, UNREADABLE, "child-killed", None),
        (KILLED, V1, UNREADABLE, "unknown", "own"),
        (KILLED, Events(max=0, oom_kill=1), UNREADABLE, "unknown", None),
        (KILLED, Events(oom=0, oom_kill=0), None, "sigkill-not-oom", None),
        (KILLED, Events(), None, "unknown", None),
        (KILLED._replace(timed_out=True), Events(oom_kill=0), None, "sigkill-not-oom", None),
    ],
)
def test_verdicts(
    end: Exit, events: Events, log: OomLog | None, verdict: str, limit: str | None
) -> None:
    oom = judge(run(end, events, log))
    assert (oom.verdict, oom.limit) == (verdict, limit)
    assert bool(oom.evidence) is (verdict != "none")


def test_who_was_alone_was_killed() -> None:
    killed = run(KILLED, ONE, UNREADABLE)
    main, child = (Process(pid, 1, "x", ("x",), 9, None, None, None, 1) for pid in (100, 101))
    alone = killed._replace(at_peak=Sample(1.0, 9, processes=(main,)))
    assert judge(alone).verdict == "main-killed"
    looked = Sample(0.5, 9, processes=(child, main))
    assert judge(alone._replace(samples=(looked,))).verdict == "unknown"
    assert judge(killed._replace(peaks=Peaks(tasks=1))).verdict == "main-killed"
    assert judge(killed._replace(peaks=Peaks(tasks=2))).verdict == "unknown"


@pytest.mark.parametrize("pids", [(100, 101), (101, 100)])
def test_main_process_is_found_among_several_victims(pids: tuple[int, int]) -> None:
    killed = run(KILLED, Events(oom=2, oom_kill=2), logged(*pids))
    assert judge(killed).verdict == "main-killed"


def test_limits_of_several_events_are_told_by_the_innermost() -> None:
    """The run's own first: that is what its user can set."""
    log = logged(101)
    both = log._replace(events=(logged(102, limit="/machine").events[0], *log.events))
    assert judge(run(DONE, Events(oom=2, oom_kill=2), both)).limit == "own"
    machine = logged(101, limit=None, machine=True)
    both = machine._replace(events=(*machine.events, logged(102, limit="/machine").events[0]))
    assert judge(run(DONE, Events(oom=2, oom_kill=2), both)).limit == "ancestor"


def test_whom_a_watch_saw_at_its_end_was_not_killed() -> None:
    watched = run(Exit(), ONE, UNREADABLE)
    assert judge(watched, main_lives=True).verdict == "child-killed"
    assert judge(watched._replace(pid=None)).verdict == "child-killed"


def test_a_kill_among_strangers_is_not_called_ours() -> None:
    assert judge(run(DONE, ONE, UNREADABLE), strangers=True).verdict == "unknown"
    assert judge(run(DONE, ONE, logged(101)), strangers=True).verdict == "child-killed"


def test_whose_limit_the_counters_tell() -> None:
    def told(events: Events) -> str:
        return judge(run(DONE, events, UNREADABLE)).evidence[1]

    assert told(ONE) == "the group's own limit was hit (oom 1)"
    assert told(V1) == "the group's own limit was hit (failcnt 7, reclaim included)"
    assert told(INSIDE).startswith("the limit of a group inside was hit (oom 1), and not")
    assert "above it, or the machine" in told(NOT_OUR_LIMIT)
    assert "above it or inside it, or the machine" in told(Events(max=0, oom_kill=1))


def test_kills_without_a_group_are_counted() -> None:
    log = logged(101)._replace(unplaced=3)
    assert (
        judge(run(DONE, Events(oom=4, oom_kill=4), log))
        .evidence[-1]
        .startswith("/dev/kmsg: 3 more killed on this machine, and not said in which groups")
    )


def test_kill_by_our_own_time_limit_is_said_to_be_ours() -> None:
    end = KILLED._replace(timed_out=True)
    for events in (Events(oom_kill=0), Events()):
        [told] = judge(run(end, events)).evidence
        assert "after the time limit" in told


@pytest.mark.parametrize(
    ("kills", "unplaced", "said"), [(3, 0, True), (3, 2, False), (1, 0, False)]
)
def test_kills_lost_with_lines_of_the_log_are_said(kills: int, unplaced: int, said: bool) -> None:
    log = logged(101)._replace(is_whole=False, unplaced=unplaced)
    evidence = "\n".join(judge(run(DONE, Events(oom=kills, oom_kill=kills), log)).evidence)
    assert ("lines were lost before they were read" in evidence) is said
    nothing = OomLog("/dev/kmsg", "", (), True, is_whole=False)
    assert "were lost" in judge(run(DONE, ONE, nothing)).evidence[-1]


def test_what_could_not_be_seen_is_said() -> None:
    [*_, last] = judge(run(DONE, ONE, UNREADABLE)).evidence
    assert last == (
        "the kernel log cannot be read (/dev/kmsg: Operation not permitted):"
        " who was killed is not known"
    )
    [*_, last] = judge(run(DONE, ONE)).evidence
    assert last == "nobody read the kernel log at the end: who was killed is not known"
    told = judge(run(DONE, ONE, OomLog("dmesg", "", (), True))).evidence
    assert told[-1] == "dmesg does not tell of it"


def test_the_evidence_names_the_victim() -> None:
    told = "\n".join(judge(run(DONE, ONE, logged(101))).evidence)
    for words in ("killed name101 (pid 101), anon 1.0 MiB", f"limit of {OURS}", "exited with 0"):
        assert words in told


def test_what_was_there_and_how_it_came() -> None:
    tasks = tuple(OomTask(pid, "x", size, 0, 0) for pid, size in ((1, 5), (2, 9), (3, 7)))
    samples = tuple(
        Sample(number, number, events=Events(oom_kill=1 if number > 8 else 0))
        for number in range(12)
    )
    found = judge(run(DONE, ONE, logged(101, tasks=tasks))._replace(samples=samples))
    assert [task.pid for task in found.tasks] == [2, 3, 1]
    assert [sample.usage_bytes for sample in found.last_samples] == [4, 5, 6, 7, 8]
    assert judge(run(DONE, ONE)._replace(samples=samples[9:])).last_samples == ()


MIB = 1 << 20


@pytest.mark.parametrize(
    ("log", "limit", "held"),
    [
        (logged(100), 32 * MIB, 32 * MIB - RUN.method.resolution_bytes - 8 * 4096),
        (logged(100), 4096, 0),
        (logged(100), None, None),
        # The limit of a group inside, above, or the machine's says nothing of ours.
        (logged(100, limit=INNER), 32 * MIB, None),
        (logged(100, limit="/machine"), 32 * MIB, None),
        (logged(100, limit=None, machine=True), 32 * MIB, None),
        (UNREADABLE, 32 * MIB, None),
        (None, 32 * MIB, None),
    ],
)
def test_what_a_kill_says_of_the_peak(
    log: OomLog | None, limit: int | None, held: int | None
) -> None:
    method = run(KILLED, ONE).method
    assert held_at_kill(Limits(max_bytes=limit), method, log, 4096) == held
