"""What a test waits for in another process, as ``/proc`` shows it."""

import re
from pathlib import Path

import psutil

__all__ = [
    "catches",
    "child_named",
    "has_taken_signals",
    "is_stopped",
    "state",
    "thread_waits_in",
    "waits_in",
]


def state(pid: int) -> str:
    """One letter (proc_pid_stat(5)): S sleeps, T is stopped, Z has ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def is_stopped(pid: int) -> bool:
    return state(pid) == "T"


def waits_in(pid: int, function: str) -> bool:
    """Whether its main thread sleeps in a function of the kernel of this name."""
    return function in Path(f"/proc/{pid}/wchan").read_text()


def thread_waits_in(pid: int, function: str) -> bool:
    """Whether any of its threads sleeps in a function of the kernel of this name."""
    return any(
        function in (task / "wchan").read_text() for task in Path(f"/proc/{pid}/task").iterdir()
    )


def catches(pid: int, signum: int) -> bool:
    """Whether it has a handler for a signal; a process that has ended has none."""
    return bool(_mask(pid, "SigCgt") >> (signum - 1) & 1)


def has_taken_signals(pid: int) -> bool:
    """Whether it has taken every signal it was sent, and sleeps."""
    return not (_mask(pid, "SigPnd") | _mask(pid, "ShdPnd")) and state(pid) == "S"


def child_named(pid: int, name: str) -> int | None:
    """The first process of this name below another one, once it executes that program."""
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if child.name() == name and child.status() != psutil.STATUS_ZOMBIE:
                return child.pid
        except psutil.NoSuchProcess:
            continue
    return None


def _mask(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    [found] = re.findall(rf"^{name}:\s*(\w+)", status, re.M)
    return int(found, 16)
