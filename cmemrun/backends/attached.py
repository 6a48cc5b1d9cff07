"""A group that was there before, read from now on. Nothing in it is changed."""

import contextlib
import os
from collections.abc import Iterator
from typing import TypeVar

from cmemrun.backends import tree
from cmemrun.backends.base import CpuTime, Taken
from cmemrun.backends.v1 import V1Source
from cmemrun.backends.v2 import V2Source
from cmemrun.errors import NoGroup
from cmemrun.kernel.files import ControlFile
from cmemrun.kernel.hierarchy import Hierarchy, Mount, ancestors
from cmemrun.log import Log
from cmemrun.model import Composition, Events, Limits, Paging, Pressure, Sample
from cmemrun.units import format_size

__all__ = ["Attached"]

log = Log(__name__)

_USAGE = {1: "memory.usage_in_bytes", 2: "memory.current"}


class Attached:
    """A Source over somebody else's group, that counts from when it was made.

    Counters are what they rose by. The peak is of the time watched where the
    kernel tells: since Linux 6.12 by a mark of our own, else where the group's
    mark has risen meanwhile.
    """

    def __init__(self, hierarchy: Hierarchy, mount: Mount, where: str) -> None:
        """``NoGroup`` where the group's memory cannot be read."""
        self._path = os.path.relpath(where, mount.point)
        beside = tuple(_companions(hierarchy, mount, where))
        try:
            self._inner: V1Source | V2Source = (
                V1Source(where, beside) if mount.version == 1 else V2Source(where, beside)
            )
            self._first = self._inner.take(0.0).understand()
        except OSError as error:
            raise _unreadable(mount, where, error) from error
        self.name = self._inner.name
        self.where = where
        self.notes = self._inner.notes
        self.resolution_bytes = self._inner.resolution_bytes
        self.slowest_probe_seconds = self._inner.slowest_probe_seconds
        self._cpu_at_start = self._inner.cpu_time()
        self._mark_at_start = self._inner.peak()
        self._own_mark = _own_mark(f"{where}/memory.peak") if mount.version == 2 else None

    def limits(self) -> Limits:
        """What the kernel enforces on it."""
        return self._inner.limits()

    def usage(self) -> int:
        return self._inner.usage()

    def take(self, elapsed_seconds: float) -> Taken:
        taken = self._inner.take(elapsed_seconds)
        self.resolution_bytes = self._inner.resolution_bytes
        return taken._replace(understand=lambda: self._risen(taken.understand()))

    def _risen(self, sample: Sample) -> Sample:
        first = self._first
        return sample._replace(
            events=_since(first.events, sample.events),
            paging=_since(first.paging, sample.paging),
            pressure=_pressure_since(first.pressure, sample.pressure),
        )

    def composition(self) -> Composition | None:
        return self._inner.composition()

    def root_in(self, path: str) -> str | None:
        if self._path == ".":
            return ""
        # The log has the path from the hierarchy's root, which may lie above
        # what our namespace shows: mostly it does not.
        own, whole = f"/{self._path}/", f"{path}/"
        begin = 0 if whole.startswith(own) else whole.find(own)
        return None if begin < 0 else whole[: begin + len(own) - 1]

    def members(self) -> set[int]:
        return self._inner.members()

    def has_seen(self, pid: int) -> bool:
        return self._inner.has_seen(pid)

    def has_strangers(self) -> bool:
        return False

    def peak(self) -> int | None:
        if self._own_mark is not None:
            return self._own_mark.scalar()
        mark = self._inner.peak()
        if mark is not None and self._mark_at_start is not None and mark > self._mark_at_start:
            return mark
        told = "this kernel keeps no high-water mark of a v2 group"
        if mark is not None:
            told = f"the group's own high-water mark, {format_size(mark)}, is older than the watch"
        self.notes.append(f"{told}: the peak is the highest sample")
        return None

    def cpu_time(self) -> CpuTime | None:
        """CPU time since the start, ``None`` where the kernel does not count it."""
        now, first = self._inner.cpu_time(), self._cpu_at_start
        if now is None or first is None:
            return None
        return CpuTime(
            now.user_seconds - first.user_seconds, now.system_seconds - first.system_seconds
        )

    def close(self) -> None:
        self._inner.close()
        if self._own_mark is not None:
            self._own_mark.close()
            self._own_mark = None


def _unreadable(mount: Mount, where: str, error: OSError) -> NoGroup:
    """Why, and which group above has what is missing (its controller may not be enabled)."""
    usage = _USAGE[mount.version]
    above = (one for one in ancestors(where, mount) if os.path.exists(f"{one}/{usage}"))
    nearest = next(above, None)
    hint = "run as root"
    if isinstance(error, FileNotFoundError):
        hint = "there is none above it, either"
        if nearest is not None:
            hint = f"its memory is counted in the group above: --cgroup {nearest}"
    return NoGroup(f"{where} has no {usage} to read: {error.strerror}", hint=hint)


def _companions(hierarchy: Hierarchy, mount: Mount, where: str) -> Iterator[str]:
    """Groups in other trees that hold the same processes, all of them and no other."""
    members = tree.members([where])
    if mount.version == 1 and members:
        path = os.path.relpath(where, mount.point)
        for other in (hierarchy.v2, hierarchy.v1("pids")):
            if other is None:
                continue
            likely = [f"{other.point}/{path}", *_groups_of(hierarchy, members, other)]
            found = next((one for one in likely if tree.members([one]) == members), None)
            if found is not None:
                yield found


def _groups_of(hierarchy: Hierarchy, members: set[int], mount: Mount) -> Iterator[str]:
    """Where one of the processes sits in a tree, and the groups around that one.

    Not the root, which is the whole machine. Each group has all that those in it have,
    so the first that has others ends it; and those whom we cannot see are others.
    """
    with contextlib.suppress(OSError):
        group = hierarchy.seen_from(min(members)).own_group(mount)
        for one in ancestors(group, mount) if group else ():
            is_root = one == mount.point and mount.root == "/"
            if is_root or tree.has_others_than(one, members):
                break
            yield one


def _own_mark(path: str) -> ControlFile | None:
    """A high-water mark that starts now and is this descriptor's alone (Linux 6.12).

    Before, the file is read-only or refuses what is written (EINVAL).
    """
    try:
        file = ControlFile(path, os.O_RDWR)
    except OSError as error:
        log.debug("no mark of our own reason=%r", error.strerror)
        return None
    try:
        os.write(file.fd, b"reset")
    except OSError as error:
        log.debug("no mark of our own reason=%r", error.strerror)
        file.close()
        return None
    return file


_Counts = TypeVar("_Counts", Events, Paging)


def _since(first: _Counts, now: _Counts) -> _Counts:
    """What counters rose by; ``None`` where they are not offered."""
    rises = (
        None if before is None or after is None else after - before
        for before, after in zip(first, now, strict=True)
    )
    return type(now)(*rises)


def _pressure_since(first: Pressure | None, now: Pressure | None) -> Pressure | None:
    if first is None or now is None:
        return None
    full = None
    if now.full_seconds is not None and first.full_seconds is not None:
        full = now.full_seconds - first.full_seconds
    return Pressure(now.some_seconds - first.some_seconds, full)
