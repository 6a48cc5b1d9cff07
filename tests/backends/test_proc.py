"""What is known of a program without a group, where others' memory is near."""

import os
import resource
import signal
import subprocess
from typing import cast
from unittest.mock import Mock

import pytest

from cmemrun.backends import proc
from cmemrun.backends.proc import ProcessTree
from cmemrun.backends.surrounding import Surrounding
from cmemrun.errors import BadInput
from cmemrun.kernel.process import Memory, memory_of
from cmemrun.model import Identity, Limits
from tests.backends.made_up import Heir
from tests.waiting import until

MIB = 2**20


def ended_with(highest_bytes: int) -> resource.struct_rusage:
    return resource.struct_rusage((0.0, 0.0, highest_bytes // 1024, *[0] * 13))


def test_a_mark_that_may_be_of_us_says_nothing_of_the_program() -> None:
    """Its own starts from what we were when we forked it, and by then we may have grown."""
    surrounding = Mock(watch=lambda: [], has_others_than=lambda _: False, oom_kills=lambda: None)
    tree = ProcessTree(surrounding, Mock(pid=0), "no group", owns_process=False)
    grown = b"x" * (64 * MIB)
    program = subprocess.Popen(["/bin/sleep", "1000"])
    try:
        tree.attach(program.pid)
        until("it is loaded", lambda: tree.take(0.0).understand().file_bytes)
        assert program.poll() is None
        own = memory_of(os.getpid())
        assert own is not None and own.highest_resident_bytes > len(grown)
        assert tree.high_water_bytes(ended_with(own.highest_resident_bytes - MIB)) < 8 * MIB
        assert tree.high_water_bytes(ended_with(own.highest_resident_bytes + MIB)) > 56 * MIB
    finally:
        program.kill()
        program.wait()


class Machine:
    """Processes that are made up: who is there, whose child, with what memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parents: dict[Identity, int] = {}
        self.memory: dict[int, Memory] = {os.getpid(): holding(rss=10)}
        self.executed = True
        self.waited_for: list[int] = []
        self.killed: list[int] = []
        monkeypatch.setattr(proc, "all_processes", lambda: dict(self.parents))
        monkeypatch.setattr(proc, "memory_of", self.memory.get)
        monkeypatch.setattr(proc, "has_executed", lambda _: self.executed)
        monkeypatch.setattr(proc, "is_alive", lambda process: process in self.parents)
        monkeypatch.setattr(proc, "identify", lambda pid: Identity(pid, START))
        monkeypatch.setattr(proc, "_become_reaper", lambda _: False)
        monkeypatch.setattr(os, "waitpid", lambda pid, _: self.waited_for.append(pid))
        monkeypatch.setattr(os, "kill", self.kill)

    def add(self, pid: int, parent: int, memory: Memory | None = None) -> None:
        self.parents[Identity(pid, START)] = parent
        self.memory[pid] = memory or holding(anon=1)

    def end(self, pid: int) -> None:
        del self.parents[Identity(pid, START)], self.memory[pid]

    def kill(self, pid: int, signum: int) -> None:
        assert signum == signal.SIGKILL
        self.killed.append(pid)
        self.end(pid)


START = 100
PROGRAM, CHILD, KEEPER, DAEMON, SERVER = 1001, 1002, 1003, 1004, 1005


def holding(
    anon: int = 0, shmem: int = 0, file: int = 0, rss: int = 0, *, proportional: bool = True
) -> Memory:
    """So many MiB of each, of which one is swapped out and one thread takes care."""
    return Memory(
        anon_bytes=anon * MIB,
        file_bytes=file * MIB,
        shmem_bytes=shmem * MIB,
        swap_bytes=MIB,
        threads=1,
        proportional=proportional,
        resident_file_bytes=file * MIB,
        highest_resident_bytes=(rss or anon + shmem + file) * MIB,
    )


class Around:
    """The group around: somebody else may be in it."""

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.others = False

    def watch(self) -> list[str]:
        return []

    def look(self) -> None:
        pass

    def oom_kills(self) -> int:
        return 3

    def highest_rise_bytes(self) -> int:
        return 77

    def has_others_than(self, pids: set[int]) -> bool:
        self.known = pids
        return self.others


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def launched(machine: Machine, *, owns_process: bool, around: Around | None = None) -> ProcessTree:
    """A program, by a launcher that has a keeper and has a server since before."""
    own = os.getpid()
    machine.add(SERVER, own)
    machine.add(KEEPER, own)
    machine.add(PROGRAM, own, holding(anon=2, file=1))
    heir = Heir()
    heir.pid = KEEPER
    tree = ProcessTree(
        cast(Surrounding, around or Around()), heir, "no group", owns_process=owns_process
    )
    tree.attach(PROGRAM)
    return tree


@pytest.mark.parametrize("owns_process", [True, False])
def test_program_and_all_that_descends_from_it_are_members(
    machine: Machine, owns_process: bool
) -> None:
    tree = launched(machine, owns_process=owns_process)
    assert tree.members() == {PROGRAM}
    machine.add(CHILD, PROGRAM)
    machine.add(DAEMON, CHILD)
    assert tree.members() == {PROGRAM, CHILD, DAEMON}
    # Once seen they belong to it, wherever they are later.
    machine.end(CHILD)
    machine.parents[Identity(DAEMON, START)] = 1
    assert tree.members() == {PROGRAM, DAEMON}
    assert tree.has_seen(CHILD) and tree.holds(DAEMON) and not tree.holds(CHILD)


def test_orphan_that_nobody_saw_before_comes_to_its_reaper(machine: Machine) -> None:
    tree = launched(machine, owns_process=True)
    machine.add(DAEMON, os.getpid())
    assert tree.members() == {PROGRAM, DAEMON}
    assert machine.waited_for.count(DAEMON) >= 1
    # The program's own end its launcher wants to hear of.
    assert PROGRAM not in machine.waited_for
    # And what a server's worker leaves behind is the server's.
    machine.add(1100, SERVER)
    tree.members()
    machine.parents[Identity(1100, START)] = os.getpid()
    assert tree.members() == {PROGRAM, DAEMON}


def test_callers_own_children_are_not_taken_in(machine: Machine) -> None:
    tree = launched(machine, owns_process=False)
    machine.add(DAEMON, os.getpid())
    assert tree.members() == {PROGRAM}
    assert any("is not counted, nor ended" in note for note in tree.notes)


def test_usage_is_the_sum_of_what_is_in_no_file(machine: Machine) -> None:
    tree = launched(machine, owns_process=True)
    machine.add(CHILD, PROGRAM, holding(anon=10, shmem=5, file=3))
    sample = tree.take(1.0).understand()
    assert sample.usage_bytes == (2 + 10 + 5) * MIB
    assert (sample.anon_bytes, sample.shmem_bytes) == (12 * MIB, 5 * MIB)
    assert sample.file_bytes == (1 + 3 + 5) * MIB
    assert (sample.swap_bytes, sample.tasks) == (2 * MIB, 2)
    assert sample.events.oom_kill == 3
    assert tree.upper_bound_bytes() == 77


def test_what_the_kernel_hides_is_told_once(machine: Machine) -> None:
    tree = launched(machine, owns_process=True)
    machine.add(CHILD, PROGRAM, holding(anon=10, proportional=False))
    before = len(tree.notes)
    for _ in range(3):
        tree.take(1.0)
    assert len(tree.notes) == before + 1 and "RSS was taken" in tree.notes[-1]


def test_copy_of_us_at_the_gate_counts_for_nothing(machine: Machine) -> None:
    machine.executed = False
    tree = launched(machine, owns_process=True)
    assert tree.usage() == 0
    machine.executed = True
    # Its first pages are not mapped yet.
    machine.memory[PROGRAM] = holding(anon=2)
    assert tree.usage() == 0
    machine.memory[PROGRAM] = holding(anon=2, file=1)
    assert tree.usage() == 2 * MIB


def test_mark_of_one_process_is_without_the_most_files_seen_of_it(machine: Machine) -> None:
    tree = launched(machine, owns_process=True)
    for rss, file in ((20, 4), (50, 8), (60, 2)):
        machine.memory[PROGRAM] = holding(anon=2, file=file, rss=rss)
        tree.take(0.0)
    assert tree.high_water_bytes(None) == (60 - 8) * MIB
    # One that has ended is not forgotten, and one of several is not a sum.
    machine.add(CHILD, PROGRAM, holding(anon=1, file=1, rss=80))
    tree.take(0.0)
    machine.end(CHILD)
    tree.take(0.0)
    assert tree.high_water_bytes(None) == 79 * MIB


def test_only_members_are_killed_and_waited_for(machine: Machine) -> None:
    tree = launched(machine, owns_process=True)
    machine.add(CHILD, PROGRAM)
    assert tree.remove()
    assert sorted(machine.killed) == [PROGRAM, CHILD]
    assert {process.pid for process in machine.parents} == {SERVER, KEEPER}


def test_keeper_is_told_whom_to_end(machine: Machine) -> None:
    tree = launched(machine, owns_process=True)
    machine.add(CHILD, PROGRAM)
    tree.members()
    heir = cast(Heir, tree._heir)
    assert {process.pid for process in heir.processes} == {PROGRAM, CHILD}


def test_other_processes_at_the_start_or_the_end_make_kills_ambiguous(
    machine: Machine,
) -> None:
    around = Around()
    tree = launched(machine, owns_process=True, around=around)
    assert not tree.has_strangers()
    assert around.known == {PROGRAM, KEEPER, os.getpid()}
    around.others = True
    assert tree.has_strangers()
    tree = launched(machine, owns_process=True, around=around)
    around.others = False
    assert tree.has_strangers()


@pytest.mark.parametrize(
    ("wanted", "option"),
    [
        (Limits(max_bytes=1), "--limit"),
        (Limits(pids_max=1), "--pids"),
        (Limits(oom_group=True), "--oom-group"),
        (Limits(files=(("memory.high", "1"),)), "--set"),
    ],
)
def test_limit_needs_a_group(machine: Machine, wanted: Limits, option: str) -> None:
    tree = launched(machine, owns_process=True)
    with pytest.raises(BadInput, match=f"{option}: this needs a group"):
        tree.limit(wanted, strict=False)
    assert tree.limit(Limits()) == Limits()
