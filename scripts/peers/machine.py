"""The machine, in the words that a table's caption needs."""

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from cmemrun.kernel.hierarchy import detect
from scripts.peers.tools import Tool

__all__ = ["describe"]

_HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def describe(tools: Iterable[Tool]) -> str:
    """One sentence: kernel, cgroup layout of memory, CPUs, Python, and the tools' versions."""
    hierarchy = detect()
    version = hierarchy.memory.version if hierarchy.memory else "none"
    huge = "none"
    if _HUGE.exists():
        huge = _HUGE.read_text().partition("[")[2].partition("]")[0]
    parts = [
        f"Linux {platform.release()} ({platform.machine()})",
        f"memory on cgroup v{version} ({hierarchy.layout.value})",
        f"{os.cpu_count()} CPUs",
        f"transparent huge pages: {huge}",
        f"Python {platform.python_version()}",
        *(f"{tool.name} {tool.version()}".strip() for tool in tools),
    ]
    return ", ".join(parts)
