"""Processes: who belongs to whom, and what memory each has."""

import os
from typing import NamedTuple

import psutil

from cmemrun.model import Identity, Straggler

__all__ = ["Memory", "descendants", "describe", "has_executed", "is_alive", "memory_of"]

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
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return Straggler(pid, process.name(), tuple(process.cmdline()))
    except psutil.Error:
        return Straggler(pid, None, ())


def descendants(pid: int) -> set[Identity]:
    """The children of a process and theirs, dead ones that nobody has waited for included."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return set()
    found = ((child.pid, _state_and_start(child.pid)) for child in children)
    return {Identity(child, stat[1]) for child, stat in found if stat}


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
    for line in text.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdecimal() and words[1:] in ([], ["kB"]):
            found[name] = int(words[0])
    return found
