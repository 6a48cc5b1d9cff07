"""The group that we are in ourselves, a container's for instance, as far as it can be read."""

from cmemrun.backends import tree
from cmemrun.backends.reading import charge_resolution_bytes
from cmemrun.kernel.files import ControlFile, parse_limit, read_text
from cmemrun.kernel.hierarchy import Hierarchy
from cmemrun.units import format_size

__all__ = ["Surrounding"]


class Surrounding:
    """Its usage from before a program's process was made: what it rises by is an upper bound.

    It holds others than the program, us among them. From before, because what
    the process has at the gate is given back when it executes.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._usage: ControlFile | None = None
        self._kills: ControlFile | None = None
        self._kills_at_start: int | None = None
        self._highest_usage = 0
        mount = hierarchy.memory
        self._group = hierarchy.own_group(mount) if mount else None
        self._version = mount.version if mount else 0
        self._usage_at_start = self._number("memory.usage_in_bytes", "memory.current")
        self._mark_at_start: int | None = None

    def watch(self) -> list[str]:
        """Begin to look, and what a reader of the upper bound must know, in sentences."""
        if self._usage_at_start is None:
            return []
        self._usage = self._offered("memory.usage_in_bytes", "memory.current")
        self._kills = self._offered("memory.oom_control", "memory.events")
        self._kills_at_start = self._count_kills()
        self._mark_at_start = self._mark()
        notes = [
            "the upper bound is the rise of the group we are in, with whatever else is in"
            " it; it holds as long as nobody else there gives memory back"
        ]
        limit = self._number("memory.limit_in_bytes", "memory.max")
        if limit is not None and limit < 2**62:
            notes.append(f"the group we are in has a limit of {format_size(limit)}")
        return notes

    def look(self) -> None:
        if self._usage is not None:
            self._highest_usage = max(self._highest_usage, self._usage.scalar())

    def highest_rise_bytes(self) -> int | None:
        """How much it rose at most, ``None`` where its usage cannot be read.

        The kernel's own mark knows of what came between two looks, where it was
        raised meanwhile; below an older, higher mark there are only the looks.
        """
        if self._usage is None or self._usage_at_start is None:
            return None
        mark, highest = self._mark(), self._highest_usage
        if mark is not None and self._mark_at_start is not None and mark > self._mark_at_start:
            highest = mark
        # What the kernel had charged in advance is used up first, unseen; and what groups
        # others have made in there meanwhile nobody knows.
        unseen = charge_resolution_bytes(has_inner_groups=True)
        return highest - self._usage_at_start + unseen

    def oom_kills(self) -> int | None:
        """Kills since the start in the group that we are in."""
        now = self._count_kills()
        return None if now is None or self._kills_at_start is None else now - self._kills_at_start

    def has_others_than(self, pids: set[int]) -> bool:
        """Whether somebody else is in it, or nobody lets us see who is."""
        if self._group is None or tree.has_others_than(self._group, pids):
            return True
        return not tree.members_of(self._group)  # we are in it

    def close(self) -> None:
        for file in (self._usage, self._kills):
            if file is not None:
                file.close()
        self._usage = self._kills = None

    def _mark(self) -> int | None:
        return self._number("memory.max_usage_in_bytes", "memory.peak")

    def _number(self, v1_name: str, v2_name: str) -> int | None:
        path = self._path(v1_name, v2_name)
        text = read_text(path) if path else None
        value = parse_limit(text) if text else None
        return value if isinstance(value, int) else None

    def _offered(self, v1_name: str, v2_name: str) -> ControlFile | None:
        path = self._path(v1_name, v2_name)
        return ControlFile.offered(path) if path else None

    def _path(self, v1_name: str, v2_name: str) -> str | None:
        if self._group is None:
            return None
        return f"{self._group}/{v1_name if self._version == 1 else v2_name}"

    def _count_kills(self) -> int | None:
        return self._kills.keyed().get(b"oom_kill") if self._kills else None
