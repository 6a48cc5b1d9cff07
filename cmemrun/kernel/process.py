"""Processes: who belongs to whom, and what memory each has."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cmemrun.model import Identity, Mappings, Process, Straggler

__all__ = [
    "Memory",
    "all_processes",
    "descendants",
    "describe",
    "has_executed",
    "identify",
    "is_alive",
    "largest",
    "mappings_of",
    "memory_of",
]

_LONGEST_COMMAND_BYTES = 4096

# How many are looked at by what is mapped: a browser has thousands of mappings.
_MOST_MAPPED = 5
# Of memory that is shared and in no file that anybody keeps.
_SHARED = ("/dev/shm/", "/memfd:", "/dev/zero (deleted)", "/SYSV")  # noqa: S108

_PF_FORKNOEXEC = 0x40  # include/linux/sched.h: forked, and has not executed since


class Memory(NamedTuple):
    """What a process holds, in bytes.

    Where ``proportional``, a page shared by N processes counts as an Nth for
    each (PSS), so that a sum counts it once; else it counts fully for each (RSS).
    """

    anon_bytes: int
    file_bytes: int
    shmem_bytes: int
    swap_bytes: int
    threads: int
    proportional: bool
    resident_file_bytes: int
    highest_resident_bytes: int


def describe(pid: int) -> Straggler:
    """Name and command line of a process; ``None`` and empty where it has just ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return Straggler(pid, process.name(), tuple(process.cmdline()))
    except psutil.Error:
        return Straggler(pid, None, ())


def all_processes() -> dict[Identity, int]:
    """Every process there is, and its parent's PID; those that have ended unwaited for, too."""
    found: dict[Identity, int] = {}
    for name in os.listdir("/proc"):
        fields = _stat(int(name)) if name.isdecimal() else None
        if fields:
            found[Identity(int(name), int(fields[19]))] = int(fields[1])
    return found


def descendants(roots: Iterable[Identity], parents: Mapping[Identity, int]) -> set[Identity]:
    """Those ``roots`` that are among ``all_processes``, their children, and theirs.

    A root that has ended while all were being looked at may still be named as a parent.
    """
    children: dict[int, list[Identity]] = {}
    for process, parent in parents.items():
        children.setdefault(parent, []).append(process)
    found: set[Identity] = set()
    taken = {process.pid for process in parents}
    waiting = [root for root in roots if root in parents or root.pid not in taken]
    while waiting:
        process = waiting.pop()
        if process not in found:
            found.add(process)
            # What is older than its parent was made by somebody who had that number before.
            waiting += (
                child
                for child in children.get(process.pid, ())
                if child.start_ticks >= process.start_ticks
            )
    return found & parents.keys()


def identify(pid: int) -> Identity | None:
    """The process that has this number now; ``None`` where there is none."""
    stat = _state_and_start(pid)
    return Identity(pid, stat[1]) if stat else None


def is_alive(process: Identity) -> bool:
    """Whether it still runs; not so a zombie or another process with its number."""
    stat = _state_and_start(process.pid)
    return stat is not None and stat[1] == process.start_ticks and stat[0] not in (b"Z", b"X")


def has_executed(pid: int) -> bool:
    """Whether it is a program, and no longer the copy of us that it was made as."""
    fields = _stat(pid)
    return fields is not None and not int(fields[6]) & _PF_FORKNOEXEC


def memory_of(pid: int) -> Memory | None:
    """What a process holds now; ``None`` where it has ended.

    PSS comes from ``smaps_rollup`` (Linux 4.14), which the kernel shows to the
    same user only; RSS and its high-water mark from ``status``.
    """
    # In this order: a process that has just begun maps its files meanwhile, and
    # what is said of them is taken off its high-water mark.
    rollup = _kibibytes(f"/proc/{pid}/smaps_rollup")
    status = _kibibytes(f"/proc/{pid}/status")
    if not status or "VmRSS" not in status:
        return None
    if rollup and "Pss_Anon" in rollup:  # the parts since Linux 5.4
        names, told = ("Pss_Anon", "Pss_File", "Pss_Shmem", "SwapPss"), rollup
    else:
        names, told = ("RssAnon", "RssFile", "RssShmem", "VmSwap"), status
    anon, file, shmem, swap = (told.get(name, 0) * 1024 for name in names)
    return Memory(
        anon_bytes=anon,
        file_bytes=file,
        shmem_bytes=shmem,
        swap_bytes=swap,
        threads=status["Threads"],
        proportional=told is rollup,
        resident_file_bytes=status["RssFile"] * 1024,
        highest_resident_bytes=status["VmHWM"] * 1024,
    )


def largest(pids: Iterable[int], most: int, *, mappings: bool = False) -> tuple[Process, ...]:
    """The ``most`` largest of these processes by RSS, the largest first.

    Only those are asked for more than their RSS: PSS and USS take the kernel a
    walk over all pages, during which the process cannot change its mappings.
    The first few also for their ``mappings``, if wanted.
    """
    by_rss = sorted(((_resident_bytes(pid), pid) for pid in pids), reverse=True)
    described = (_process(pid, rss_bytes) for rss_bytes, pid in by_rss[:most] if rss_bytes)
    found = [process for process in described if process]
    if mappings:
        for index, process in enumerate(found[:_MOST_MAPPED]):
            found[index] = process._replace(mappings=mappings_of(process.pid))
    return tuple(found)


def mappings_of(pid: int) -> Mappings | None:
    """PSS of a process by what is mapped (``smaps``); ``None`` where the kernel hides it."""
    import psutil

    try:
        mapped = psutil.Process(pid).memory_maps(grouped=False)
    except (psutil.Error, OSError):
        return None
    code = {one.path for one in mapped if "x" in one.perms and one.path.startswith("/")}
    sums = dict.fromkeys(Mappings._fields, 0)
    for one in mapped:
        sums[_kind_of(one.path, shared="s" in one.perms, code=one.path in code)] += one.pss
    return Mappings(**sums)


def _kind_of(path: str, *, shared: bool, code: bool) -> str:
    if path == "[heap]":
        return "heap_bytes"
    if path == "[stack]":
        return "stack_bytes"
    if path.startswith(_SHARED) or (shared and not path.startswith("/")):
        return "shared_bytes"
    if code:
        return "libraries_bytes"
    return "files_bytes" if path.startswith("/") else "anonymous_bytes"


def _process(pid: int, rss_bytes: int) -> Process | None:
    """All of it, ``None`` where the process gave up its memory while we looked."""
    rollup = _kibibytes(f"/proc/{pid}/smaps_rollup")
    name, command = _first_line(f"/proc/{pid}/comm"), _command(pid)
    status = _kibibytes(f"/proc/{pid}/status")
    if "VmRSS" not in status:
        return None
    private = [rollup.get(name) for name in ("Private_Clean", "Private_Dirty", "Private_Hugetlb")]
    swap = status.get("VmSwap")
    return Process(
        pid=pid,
        ppid=status.get("PPid"),
        name=name,
        command=command,
        rss_bytes=rss_bytes,
        pss_bytes=rollup["Pss"] * 1024 if "Pss" in rollup else None,
        uss_bytes=sum(filter(None, private)) * 1024 if rollup else None,
        swap_bytes=swap * 1024 if swap is not None else None,
        threads=status.get("Threads"),
    )


def _resident_bytes(pid: int) -> int:
    """RSS as ``statm`` has it; 0 for what has ended and for the kernel's own."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        return 0


def _first_line(path: str) -> str:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return os.fsdecode(file.read(256)).removesuffix("\n")
    return ""


def _command(pid: int) -> tuple[str, ...]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read(_LONGEST_COMMAND_BYTES).removesuffix(b"\0").split(b"\0")
        return tuple(map(os.fsdecode, words)) if words != [b""] else ()
    return ()


def _state_and_start(pid: int) -> tuple[bytes, int] | None:
    """State and start of a process, ``None`` where it is gone.

    Not psutil's ``create_time``, which moves when the clock is set.
    """
    fields = _stat(pid)
    return None if fields is None else (fields[0], int(fields[19]))


def _stat(pid: int) -> list[bytes] | None:
    """``/proc/PID/stat`` from its third field, the state, on (proc_pid_stat(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name before it is the process's own to choose and may hold anything.
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def _kibibytes(path: str) -> dict[str, int]:
    """Lines of ``Name:  number kB``, and of plain numbers; empty where it cannot be read."""
    found = {}
    try:
        # In one go: line by line the process might end in between.
        fd = os.open(path, os.O_RDONLY)
        try:
            text = os.read(fd, 65536).decode("utf-8", "replace")
        finally:
            os.close(fd)
    except OSError:
        return {}
    # A process may have a carriage return in its name, and "VmRSS:1" behind it; a line's end
    # is escaped (fs/proc/array.c).
    *lines, _ = text.split("\n")
    for line in lines:
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdecimal() and words[1:] in ([], ["kB"]):
            found[name] = int(words[0])
    return found
