"""Processes, as psutil sees them."""

import psutil

from cmemrun.model import Straggler

__all__ = ["describe"]


def describe(pid: int) -> Straggler:
    """Name and command line of a process; ``None`` and empty where it has just ended."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return Straggler(pid, process.name(), tuple(process.cmdline()))
    except psutil.Error:
        return Straggler(pid, None, ())
