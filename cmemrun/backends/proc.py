"""No group: watch the tree of processes, and say what that leaves out.

For a user who may make no group. Usage is the sum of what the processes have of
anonymous and shared memory (PSS): a lower bound, sampled, without page cache,
mapped files included, and without kernel memory. Where the group we are in, a
container's for instance, lets its counter be read, the highest rise of that is
an upper bound.
"""

import contextlib
import os
import resource
import signal
import threading
import time

from cmemrun.backends.base import LIMIT_OPTIONS, CpuTime, Heir, Taken
from cmemrun.backends.reading import Seen
from cmemrun.backends.surrounding import Surrounding
from cmemrun.errors import BadInput
from cmemrun.kernel.process import (
    Memory,
    all_processes,
    descendants,
    has_executed,
    identify,
    is_alive,
    memory_of,
)
from cmemrun.log import Log
from cmemrun.model import Composition, Events, Identity, Limits, Sample

__all__ = ["ProcessTree"]

log = Log(__name__)

_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37  # prctl(2), Linux 3.4
_END_SECONDS = 10.0


class ProcessTree:
    """What stands for a group where there is none: the program and all its descendants.

    Who has once been seen to descend from it belongs to it, wherever it is later.
    A daemon that leaves its parent between two looks is seen only as an orphan.
    Where the calling process is ours alone, it becomes the reaper of orphans, and
    takes in whoever else comes to it; in a larger process, whose children are its
    own, and which may have several runs, nothing is changed and nothing taken in.
    """

    name = way = "proc"
    where = "the processes themselves"
    resolution_bytes = 0
    # Reading is a walk over all processes of the machine and costs milliseconds.
    slowest_probe_seconds = 10.0
    directories: list[str] = []  # noqa: RUF012 (of the protocol; nobody adds to it)
    _end_seconds = _END_SECONDS

    def __init__(
        self, surrounding: Surrounding, heir: Heir, reason: str, *, owns_process: bool
    ) -> None:
        """``reason`` is why there is no group; ``owns_process`` as for ``choose``."""
        self.notes = [
            f"there is no group to measure, so this is a sum over the processes: {reason}",
            "page cache, mapped files and kernel memory are left out, and peaks between two looks",
        ]
        if not owns_process:
            self.notes.append(
                "a process that leaves its parent between two looks is not counted, nor ended:"
                " it cannot be told from one that the caller starts"
            )
        self._heir = heir
        self._owns_process = owns_process
        # Whoever we had before, and what those make: the keeper, or a server that
        # was started before we were executed, with its workers.
        self._others: set[Identity] = set()
        self._program_pid = 0
        self._executed = False
        self._program_files_bytes = 0
        self._members: set[Identity] = set()
        self._seen = Seen()
        self._began_among_others = True
        # Looked at by the sampler's thread and by whoever waits for the end.
        self._looking = threading.Lock()
        # Of each process its high-water mark of RSS and its most mapped files.
        self._marks: dict[Identity, tuple[int, int]] = {}
        self._highest_of_ended_bytes = 0
        self._own_highest_bytes = 0
        self._surrounding = surrounding
        self._was_reaper = _become_reaper(True) if owns_process else None

    def attach(self, pid: int) -> None:
        self._program_pid = pid
        # Not before we forked it: we may have grown. And not our own ru_maxrss, which
        # remembers who we were before we executed.
        own = memory_of(os.getpid())
        self._own_highest_bytes = own.highest_resident_bytes if own else 0
        program = identify(pid)
        if program is not None:
            self._members = {program}
        if self._owns_process:
            now = all_processes()
            ours = {process for process, parent in now.items() if parent == os.getpid()}
            self._others = descendants(ours - self._members, now)
        self._look()
        self.notes.extend(self._surrounding.watch())
        self._began_among_others = self._is_among_others()

    def root_in(self, path: str) -> str | None:
        return None

    def has_seen(self, pid: int) -> bool:
        return pid in self._seen

    def has_strangers(self) -> bool:
        """The kills are those of the group that we are in, so of whoever is in there.

        Whoever was there at the start or is at the end may have made one who has gone.
        """
        return self._began_among_others or self._is_among_others()

    def _is_among_others(self) -> bool:
        return self._surrounding.has_others_than(self.members() | {os.getpid(), self._heir.pid})

    def holds(self, pid: int) -> bool:
        return pid in self.members()

    def members(self) -> set[int]:
        self._look()
        return {process.pid for process in self._members if is_alive(process)}

    def usage(self) -> int:
        return self.take(0.0).usage_bytes

    def take(self, elapsed_seconds: float) -> Taken:
        sample = self._read(elapsed_seconds)
        return Taken(elapsed_seconds, sample.usage_bytes, lambda: sample)

    def _read(self, elapsed_seconds: float) -> Sample:
        if not self._executed:
            # At the gate it has our memory and none of its own. With its first
            # pages mapped there is something to be taken off its high-water mark.
            memory = memory_of(self._program_pid) if has_executed(self._program_pid) else None
            self._executed = memory is not None and memory.resident_file_bytes > 0
        if self._executed:
            self._look()
        counted = self._members if self._executed else ()
        by_process = {process: memory_of(process.pid) for process in counted}
        found = [memory for memory in by_process.values() if memory]
        if any(not memory.proportional for memory in found):
            note = "the kernel hides what some processes share (smaps_rollup): RSS was taken"
            if note not in self.notes:
                self.notes.append(note)
        self._remember_marks(by_process)
        self._surrounding.look()
        return Sample(
            elapsed_seconds=elapsed_seconds,
            usage_bytes=sum(memory.anon_bytes + memory.shmem_bytes for memory in found),
            anon_bytes=sum(memory.anon_bytes for memory in found),
            file_bytes=sum(memory.file_bytes + memory.shmem_bytes for memory in found),
            shmem_bytes=sum(memory.shmem_bytes for memory in found),
            swap_bytes=sum(memory.swap_bytes for memory in found),
            tasks=sum(memory.threads for memory in found),
            events=Events(oom_kill=self._surrounding.oom_kills()),
        )

    def composition(self) -> Composition | None:
        return None

    def peak(self) -> int | None:
        return None

    def high_water_bytes(self, program: resource.struct_rusage | None) -> int:
        """The highest RSS that the kernel remembers of any one process, without its files.

        How much of that were files is not remembered: the most that was seen is
        taken off. The program's own mark starts from our RSS when we forked it
        (getrusage(2)), so it says something only above that.
        """
        marks = [mark - files for mark, files in self._marks.values()]
        if program and self._program_files_bytes:
            highest_bytes = program.ru_maxrss * 1024
            if highest_bytes > self._own_highest_bytes:
                marks.append(highest_bytes - self._program_files_bytes)
        return max([self._highest_of_ended_bytes, *marks])

    def upper_bound_bytes(self) -> int | None:
        """The highest rise of the group that we are in, ``None`` where it cannot be read."""
        return self._surrounding.highest_rise_bytes()

    def limit(self, wanted: Limits, *, strict: bool = True) -> Limits:
        asked = [
            option for name, option in LIMIT_OPTIONS.items() if getattr(wanted, name) is not None
        ]
        asked += ["--oom-group"] * bool(wanted.oom_group) + ["--set"] * bool(wanted.files)
        if asked:
            raise BadInput(
                f"{' and '.join(asked)}: this needs a group, and none can be made here",
                hint="run as root, or where you may make groups",
            )
        return Limits()

    def cpu_time(self) -> CpuTime | None:
        return None

    def kill(self) -> None:
        self._look()
        for process in self._members:
            if is_alive(process):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGKILL)

    def remove(self) -> bool:
        # Who has waited once in vain does not wait again at the end of all.
        deadline, wait = time.monotonic() + self._end_seconds, 0.001
        self._end_seconds = 0.0
        while self.members():
            if time.monotonic() > deadline:
                return False
            self.kill()
            time.sleep(wait)
            wait = min(wait * 2, 0.05)
        if self._was_reaper is not None:
            _become_reaper(self._was_reaper)
        return True

    def close(self) -> None:
        self._surrounding.close()

    def _remember_marks(self, found: dict[Identity, Memory | None]) -> None:
        for process in [gone for gone in self._marks if not found.get(gone)]:
            mark, files = self._marks.pop(process)
            self._highest_of_ended_bytes = max(self._highest_of_ended_bytes, mark - files)
        for process, memory in found.items():
            if memory:
                _, files = self._marks.get(process, (0, 0))
                files = max(files, memory.resident_file_bytes)
                self._marks[process] = (memory.highest_resident_bytes, files)
                if process.pid == self._program_pid:
                    self._program_files_bytes = files

    def _look(self) -> None:
        """Find who belongs to us now, and wait for those orphans that have ended."""
        with self._looking:
            now, own_pid = all_processes(), os.getpid()
            roots = set(self._members)
            if self._owns_process:
                # First of all: what a server's worker leaves behind is the server's.
                self._others = descendants(self._others, now)
                children = {process for process, parent in now.items() if parent == own_pid}
                roots |= children - self._others
            found = descendants(roots, now)
            for process in found:
                # Its own end the program's launcher wants to hear of.
                if now[process] == own_pid and process.pid != self._program_pid:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(process.pid, os.WNOHANG)
            if found != self._members:
                self._members = found
                self._seen.add(process.pid for process in found)
                self._heir.watch(found)


def _become_reaper(yes: bool) -> bool:
    """Whether this process was the reaper of orphans before."""
    import ctypes

    libc, before = ctypes.CDLL(None, use_errno=True), ctypes.c_int()
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0) != 0:
        log.debug("no reaper of orphans errno=%d", ctypes.get_errno())
    return bool(before.value)
