"""What runtimes are measured against: the limits they may read, and versions."""

import re
from typing import NamedTuple

from cmemrun.model import Limits

__all__ = ["BESIDE", "MIB", "Bounds", "at_least", "bounds_of", "set_in"]

MIB = 2**20

BESIDE = ("cpu", "cpuacct", "cpuset")
"""Without these HotSpot reads no limit of v1's (cgroupSubsystem_linux.cpp, determine_type)."""


class Bounds(NamedTuple):
    """A group's limit, and what lies below it where a runtime reads that, too."""

    limit_bytes: int
    unified: bool = True
    """Memory is on cgroup v2."""
    soft_bytes: int | None = None
    """v2's ``memory.high`` or v1's ``memory.soft_limit_in_bytes``."""
    whole: bool = True
    """On v1: the controllers ``BESIDE`` are mounted, too."""


def bounds_of(
    limits: Limits, *, unified: bool, memory_bytes: int, whole: bool = True
) -> Bounds | None:
    """The bounds that a group's limits are; ``None`` where it has no limit of its own.

    One of the machine's memory and more bounds nothing, and runtimes differ in
    whether they go by it: Node does not, and HotSpot on cgroup v2 does.
    """
    if not isinstance(limits.max_bytes, int) or limits.max_bytes >= memory_bytes:
        return None
    soft = limits.high_bytes if unified else limits.low_bytes
    # On v2 a runtime takes 0 for no limit, and on v1 nobody has one of 0.
    soft_bytes = soft if isinstance(soft, int) and soft else None
    return Bounds(limits.max_bytes, unified, soft_bytes, whole)


def at_least(version: str, *wanted: int) -> bool:
    """Whether a version is one or newer; as far as it is not known it is taken for new."""
    found = tuple(int(number) for number in re.findall(r"\d{1,9}", version)[: len(wanted)])
    return found >= wanted[: len(found)]


def set_in(options: str, pattern: str, where: str) -> tuple[str, ...]:
    """The words among options that are of a pattern, each with where it stands.

    A pattern is compiled where it is needed: few runs are of a runtime.
    """
    return tuple(f"{word} ({where})" for word in options.split() if re.fullmatch(pattern, word))
