"""Which control group hierarchies are mounted, and where a process sits in each.

Read from ``/proc/self/mountinfo`` and ``/proc/self/cgroup`` (cgroups(7),
proc_pid_mountinfo(5)), never from the name of a distribution or a kernel.
"""

import os
import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from cmemrun.errors import KernelTextError, NoGroup

__all__ = ["Hierarchy", "Layout", "Mount", "detect", "parse_memberships", "parse_mounts"]


class Layout(Enum):
    """The three tree setups that systemd's CGROUP_DELEGATION.md names, and none at all."""

    UNIFIED = "unified"
    HYBRID = "hybrid"
    LEGACY = "legacy"
    NONE = "none"


class Mount(NamedTuple):
    """One mounted hierarchy.

    ``root`` is the group that ``point`` shows; ``controllers`` are v1's, a named
    one as ``name=systemd``. On v2 they are a property of each group instead.
    """

    point: str
    root: str
    version: int
    controllers: frozenset[str]


class Hierarchy(NamedTuple):
    """What is mounted, and the group of the calling process in each.

    ``memberships`` maps a v1 controller, or ``""`` for v2, to the path of the
    group as the kernel prints it.
    """

    mounts: tuple[Mount, ...]
    memberships: dict[str, str]

    @property
    def layout(self) -> Layout:
        versions = {mount.version for mount in self.mounts}
        return {
            frozenset(): Layout.NONE,
            frozenset({1}): Layout.LEGACY,
            frozenset({2}): Layout.UNIFIED,
        }.get(frozenset(versions), Layout.HYBRID)

    @property
    def v2(self) -> Mount | None:
        """The v2 tree, with or without controllers."""
        return next((mount for mount in self.mounts if mount.version == 2), None)

    def v1(self, controller: str) -> Mount | None:
        """The v1 tree that has this controller."""
        return next((mount for mount in self.mounts if controller in mount.controllers), None)

    @property
    def memory(self) -> Mount | None:
        """The tree with the memory controller, which is in one at a time; else the v2 tree."""
        return self.v1("memory") or self.v2

    def own_group(self, mount: Mount) -> str | None:
        """The directory of the calling process's group, ``None`` where the mount does not show it.

        A path that starts with ``/..`` lies outside our namespace, and below a
        mount made before ``unshare -C`` the two do not join (cgroup_namespaces(7)).
        """
        keys = mount.controllers or {""}
        path = next((self.memberships[key] for key in keys if key in self.memberships), None)
        if path is None or path.endswith(" (deleted)"):
            return None
        inside = _below(path, mount.root)
        if inside is None or ".." in inside.split("/"):
            return None
        return os.path.normpath(f"{mount.point}/{inside}")

    def seen_from(self, pid: int) -> "Hierarchy":
        """The same mounts, with the groups of another process; ``OSError`` where there is none."""
        with open(f"/proc/{pid}/cgroup", "rb") as file:
            return self._replace(memberships=parse_memberships(file.read()))

    def mount_of(self, path: str) -> Mount | None:
        """The innermost of our mounts that ``path`` lies in."""
        holders = [mount for mount in self.mounts if _below(path, mount.point) is not None]
        return max(holders, key=lambda mount: len(mount.point), default=None)


def ancestors(group: str, mount: Mount) -> Iterator[str]:
    """``group`` and every group above it, up to the mount's own."""
    while _below(group, mount.point) is not None:
        yield group
        if group == mount.point:
            return
        group = os.path.dirname(group)


def is_manager() -> bool:
    """Whether systemd is the manager of this machine's groups (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def detect(root: str = "") -> Hierarchy:
    """Read the caller's hierarchies; ``root`` is put before every path (for made-up trees).

    Raises ``NoGroup`` where there is no ``/proc`` to read.
    """
    try:
        with open(f"{root}/proc/self/mountinfo", "rb") as file:
            mounts = parse_mounts(file.read(), root)
        with open(f"{root}/proc/self/cgroup", "rb") as file:
            memberships = parse_memberships(file.read())
    except OSError as error:
        raise NoGroup(
            f"cannot read {error.filename}: {error.strerror}",
            hint="mount /proc in this namespace",
        ) from error
    return Hierarchy(mounts, memberships)


def parse_mounts(text: bytes, root: str = "") -> tuple[Mount, ...]:
    """The cgroup mounts of a ``mountinfo`` that can be seen; a later mount hides what it covers."""
    found: dict[str, Mount] = {}
    # Of what ends a line elsewhere only this one is escaped in a name (fs/proc_namespace.c).
    *lines, torn = text.split(b"\n")
    if torn:
        raise KernelTextError(f"mountinfo ends in the middle of a line: {torn[:120]!r}")
    for line in lines:
        fields, separator, rest = line.partition(b" - ")
        words, kinds = fields.split(b" "), rest.split(b" ")
        if not separator or len(words) < 6 or len(kinds) < 3:
            raise KernelTextError(f"mountinfo has a line we do not understand: {line[:120]!r}")
        point = root + _unescape(words[4])
        for hidden in [earlier for earlier in found if _below(earlier, point) is not None]:
            del found[hidden]
        version = {b"cgroup": 1, b"cgroup2": 2}.get(kinds[0])
        if version is None:
            continue
        options = frozenset(os.fsdecode(kinds[2]).split(","))
        found[point] = Mount(
            point=point,
            root=_unescape(words[3]),
            version=version,
            controllers=options - {"rw", "ro"} if version == 1 else frozenset(),
        )
    return tuple(found.values())


def parse_memberships(text: bytes) -> dict[str, str]:
    """``/proc/PID/cgroup``: controller (``""`` for v2, ``name=…`` for a named one) to path.

    Only the first two colons divide: a path may contain more.
    """
    found = {}
    *lines, torn = os.fsdecode(text).split("\n")
    if torn:
        raise KernelTextError(f"/proc/self/cgroup ends in the middle of a line: {torn!r}")
    for line in lines:
        parts = line.split(":", 2)
        if len(parts) != 3:
            raise KernelTextError(f"/proc/self/cgroup has a line we do not understand: {line!r}")
        for controller in parts[1].split(","):
            found[controller] = parts[2]
    return found


def _unescape(field: bytes) -> str:
    """Octal escapes as mountinfo writes space, tab, newline and backslash."""
    plain = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8) & 0xFF]), field)
    return os.fsdecode(plain)


def _below(path: str, top: str) -> str | None:
    """``path`` relative to ``top`` (empty for itself), ``None`` where it lies elsewhere."""
    top = top.rstrip("/")
    if path in (top, top + "/"):
        return ""
    return path[len(top) + 1 :] if path.startswith(top + "/") else None
