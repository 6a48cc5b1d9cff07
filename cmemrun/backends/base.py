"""What every backend offers: a Source that is read, and a Group that also lives and dies."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from cmemrun.model import Limits, Sample

__all__ = ["Adopt", "CpuTime", "Group", "Source"]

Adopt = Callable[[str], None]
"""Told every directory just before it is made, so that somebody can remove it whatever happens."""


class CpuTime(NamedTuple):
    """Seconds spent by every process that was ever in the group."""

    user_seconds: float
    system_seconds: float


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

    def usage(self) -> int:
        """Bytes charged now; the cheapest read there is."""
        ...

    def read(self, elapsed_seconds: float) -> Sample:
        """Everything offered, at one moment."""
        ...

    def peak(self) -> int | None:
        """The kernel's high-water mark in bytes, ``None`` where it keeps none."""
        ...

    def close(self) -> None:
        """Give the descriptors back."""
        ...


class Group(Source, Protocol):
    """A Source made for one run."""

    def limit(self, wanted: Limits) -> Limits:
        """Set what is wanted and return what the kernel made of it.

        Raises ``BadInput`` where this kernel cannot enforce it.
        """
        ...

    def attach(self, pid: int) -> None:
        """Put a waiting process into the group; ``NoGroup`` where that is refused."""
        ...

    def members(self) -> set[int]:
        """The processes in the group and in groups made inside it."""
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
