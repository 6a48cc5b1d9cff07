"""The verdict on a kill, from counters and log that agree, and from those that leave gaps."""

import signal
from typing import Any

import pytest

from cmemrun.analysis.oom import held_at_kill, judge
from cmemrun.model import Events, Exit, Limits, OomEvent, OomLog, OomTask, OomVictim, Run, Sample
from tests.report.test_report import RUN

KILLED = Exit(None, signal.SIGKILL)
DONE = Exit(0, None)
OURS = "/machine/cmemrun-1-abc"


def run(end: Exit, events: Events, log: OomLog | None = None) -> Run:
    method = RUN.method._replace(group=f"/sys/fs/cgroup{OURS}")
    return RUN._replace(pid=100, exit=end, events=events, oom_log=log, method=method)


def logged(*pids: int, limit: str | None = OURS, ours: bool = True, **more: Any) -> OomLog:
    victims = tuple(OomVictim(pid, f"name{pid}", 1 << 20, 0, 0, 0) for pid in pids)
    event = OomEvent("alloc", limit, OURS, False, False, victims, ())._replace(**more)
    return OomLog("/dev/kmsg", "", (event,), ours)


UNREADABLE = OomLog(None, "/dev/kmsg: Operation not permitted", (), True)
ONE = Events(max=5, oom=1, oom_kill=1)
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
        # Killed by somebody else, after a child fell to the OOM killer.
        (KILLED, ONE, logged(101), "child-killed", "own"),
        # The same numbers mean nothing in another PID namespace.
        (KILLED, ONE, logged(4711, ours=False), "main-killed", "own"),
        # The log has lost one of two.
        (KILLED, Events(oom=2, oom_kill=2), logged(101), "main-killed", "own"),
        (KILLED, Events(oom=1, oom_kill=3, oom_group_kill=1), None, "group-killed", "own"),
        (KILLED, Events(oom=1, oom_kill=3), logged(101, 100, together=True), "group-killed", "own"),
        (DONE, NOT_OUR_LIMIT, logged(101, limit="/machine"), "child-killed", "ancestor"),
        (DONE, ONE, logged(101, limit=f"{OURS}/inner"), "child-killed", "own"),
        (DONE, NOT_OUR_LIMIT, logged(101, limit=None, machine=True), "child-killed", "machine"),
        (DONE, ONE, UNREADABLE, "child-killed", "own"),
        (DONE, NOT_OUR_LIMIT, UNREADABLE, "child-killed", None),
        (KILLED, V1, UNREADABLE, "main-killed", "own"),
        (KILLED, Events(max=0, oom_kill=1), UNREADABLE, "main-killed", None),
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


def test_what_could_not_be_seen_is_said() -> None:
    [*_, last] = judge(run(DONE, ONE, UNREADABLE)).evidence
    assert last == (
        "the kernel log cannot be read (/dev/kmsg: Operation not permitted):"
        " who was killed is not known"
    )
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
        (logged(100, limit=f"{OURS}/inner"), 32 * MIB, None),
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
