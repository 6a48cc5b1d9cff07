"""What every backend offers: a Source that is read, and a Group that also lives and dies."""

from collections.abc import Callable
from resource import struct_rusage
from typing import NamedTuple, Protocol

from cmemrun.model import Composition, Identity, Limits, Sample

__all__ = ["LIMIT_OPTIONS", "Adopt", "CpuTime", "Group", "Heir", "Source", "Taken"]

Adopt = Callable[[str], None]
"""Told every directory just before it is made, so that somebody can remove it whatever happens."""


LIMIT_OPTIONS = {
    "min_bytes": "--min",
    "low_bytes": "--low",
    "high_bytes": "--high",
    "max_bytes": "--limit",
    "swap_max_bytes": "--swap",
    "zswap_max_bytes": "--zswap",
    "pids_max": "--pids",
}
"""What sets which of the ``Limits``, in the order in which they are: first what protects."""


class Heir(Protocol):
    """Who ends and removes what a run has made, if its launcher cannot."""

    pid: int

    def adopt(self, path: str) -> None:
        """Told every directory just before it is made."""
        ...

    def watch(self, processes: set[Identity]) -> None:
        """Told all processes of a run without a group, whenever they have changed."""
        ...


class CpuTime(NamedTuple):
    """Seconds spent by every process that was ever in the group."""

    user_seconds: float
    system_seconds: float


class Taken(NamedTuple):
    """What was read at one moment, of which only usage is understood yet.

    After a sleep understanding costs four times as much as right after another one:
    Python finds nothing in the processor's caches.
    """

    elapsed_seconds: float
    usage_bytes: int
    understand: Callable[[], Sample]
    """Its texts as values; ``KernelTextError``. To be called in the order of the moments."""


class Source(Protocol):
    """Something whose memory can be read again and again.

    Reading raises ``OSError`` (``ENODEV``) once the thing is gone.
    """

    name: str
    """What the JSON calls this way: ``cgroup-v2``, ``cgroup-v1``."""

    where: str
    """The directory that is read."""

    notes: list[str]
    """What a reader of the numbers must know of this way, in sentences."""

    resolution_bytes: int
    """How much too high usage may be."""

    slowest_probe_seconds: float
    """How rarely usage may be looked at, where looking costs much."""

    def usage(self) -> int:
        """Bytes charged now; the cheapest read there is."""
        ...

    def take(self, elapsed_seconds: float) -> Taken:
        """Everything offered, at one moment."""
        ...

    def composition(self) -> Composition | None:
        """What lay inside the parts of the last sample understood, ``None`` where nobody says."""
        ...

    def root_in(self, path: str) -> str | None:
        """This group as the kernel's log has it, where ``path`` of that log is it or inside it."""
        ...

    def members(self) -> set[int]:
        """The processes in the group and in groups made inside it."""
        ...

    def has_seen(self, pid: int) -> bool:
        """Whether a process was in it when somebody asked for ``members``, however long ago."""
        ...

    def has_strangers(self) -> bool:
        """Whether kills that it counts may have been of others than the program's."""
        ...

    def peak(self) -> int | None:
        """The kernel's high-water mark in bytes, ``None`` where it keeps none."""
        ...

    def close(self) -> None:
        """Give the descriptors back."""
        ...


class Group(Source, Protocol):
    """A Source made for one run."""

    way: str
    """The one of ``backends.ways`` in which it was made."""

    @property
    def directories(self) -> list[str]:
        """The groups that it is made of, the one with the memory controller first."""
        ...

    def limit(self, wanted: Limits, *, strict: bool = True) -> Limits:
        """Set what is wanted and return what the kernel made of it.

        Raises ``BadInput`` where this kernel cannot enforce it; unless ``strict``
        that becomes a note, as long as there is a group at all.
        """
        ...

    def attach(self, pid: int) -> None:
        """Put a waiting process into the group; ``NoGroup`` where that is refused."""
        ...

    def holds(self, pid: int) -> bool:
        """Whether a process belongs to it, also one that has just died."""
        ...

    def high_water_bytes(self, program: struct_rusage | None) -> int:
        """What some process alone is known to have held at some time; 0 where that adds nothing.

        ``program`` is what the kernel accounted to the main process, once it has ended.
        """
        ...

    def upper_bound_bytes(self) -> int | None:
        """What the peak cannot have been above, where ``peak`` is a lower bound only."""
        ...

    def cpu_time(self) -> CpuTime | None:
        """CPU time of the group, ``None`` where the kernel does not count it."""
        ...

    def kill(self) -> None:
        """SIGKILL to every process, without waiting for the end of any."""
        ...

    def remove(self) -> bool:
        """End what still lives and remove the group; whether nothing is left."""
        ...
