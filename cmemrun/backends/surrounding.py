"""The group that we are in ourselves, a container's for instance, as far as it can be read."""

from cmemrun.backends.directory import charge_resolution_bytes
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
        self.highest_rise_bytes: int | None = None
        """In bytes, ``None`` where its usage cannot be read."""
        self._usage: ControlFile | None = None
        self._kills: ControlFile | None = None
        self._kills_at_start: int | None = None
        mount = hierarchy.v1("memory") or hierarchy.v2
        self._group = hierarchy.own_group(mount) if mount else None
        self._version = mount.version if mount else 0
        text = read_text(self._path("memory.usage_in_bytes", "memory.current"))
        self._usage_at_start = int(text) if text else None

    def watch(self) -> list[str]:
        """Begin to look, and what a reader of the upper bound must know, in sentences."""
        if self._usage_at_start is None:
            return []
        self._usage = ControlFile.offered(self._path("memory.usage_in_bytes", "memory.current"))
        self._kills = ControlFile.offered(self._path("memory.oom_control", "memory.events"))
        self._kills_at_start = self._count_kills()
        notes = [
            "the upper bound is the rise of the group we are in, with whatever else is in"
            " it; it holds as long as nobody else there gives memory back"
        ]
        text = read_text(self._path("memory.limit_in_bytes", "memory.max"))
        most = parse_limit(text) if text else None
        if isinstance(most, int) and most < 2**62:
            notes.append(f"the group we are in has a limit of {format_size(most)}")
        return notes

    def look(self) -> None:
        if self._usage is not None and self._usage_at_start is not None:
            # What the kernel had charged in advance is used up first, unseen.
            rise = self._usage.scalar() - self._usage_at_start + charge_resolution_bytes()
            self.highest_rise_bytes = max(self.highest_rise_bytes or 0, rise)

    def oom_kills(self) -> int | None:
        """Kills since the start in the group that we are in."""
        now = self._count_kills()
        return None if now is None or self._kills_at_start is None else now - self._kills_at_start

    def close(self) -> None:
        for file in (self._usage, self._kills):
            if file is not None:
                file.close()
        self._usage = self._kills = None

    def _path(self, v1_name: str, v2_name: str) -> str:
        return f"{self._group}/{v1_name if self._version == 1 else v2_name}"

    def _count_kills(self) -> int | None:
        return self._kills.keyed().get(b"oom_kill") if self._kills else None
