"""The ways to have a group, and the only place that picks one."""

import logging
import os
from collections.abc import Callable

from cmemrun.backends import v1, v2
from cmemrun.backends.base import Adopt, Group
from cmemrun.errors import BadInput, NoGroup
from cmemrun.kernel.hierarchy import Hierarchy

__all__ = ["Group", "choose"]

log = logging.getLogger(__name__)


def choose(hierarchy: Hierarchy, adopt: Adopt, *, parent: str | None = None) -> Group:
    """Make a group in the best way this machine offers.

    ``adopt`` is told each directory before it is made. ``parent`` is the
    directory to make it in, or the path of a group as ``/proc/self/cgroup``
    has it. Raises ``BadInput`` for a parent that is no memory group and
    ``NoGroup``, with the reason of every way, where none works.
    """
    ways: dict[str, Callable[[Hierarchy, str | None, Adopt], Group]]
    ways = {"cgroup-v2": v2.make, "cgroup-v1": v1.make}
    if parent is not None:
        way, parent = _parent(hierarchy, parent)
        ways = {way: ways[way]}
    refusals = []
    for way, make in ways.items():
        try:
            group = make(hierarchy, parent, adopt)
        except NoGroup as refusal:
            refusals.append(f"{way}: {refusal.message}")
            log.debug("way=%s refused=%r", way, refusal.message)
        else:
            log.debug("way=%s group=%s layout=%s", way, group.where, hierarchy.layout.value)
            return group
    raise NoGroup(
        "no memory group can be made here (" + "; ".join(refusals) + ")",
        hint="run as root, or name a group you may write to with --parent",
    )


def _parent(hierarchy: Hierarchy, parent: str) -> tuple[str, str]:
    """The way that a given parent means, and its directory."""
    hint = "name a directory like /sys/fs/cgroup/mine, or a group like /mine"
    if not parent.startswith("/"):
        raise BadInput(f"--parent: {parent!r} is not an absolute path", hint=hint)
    parent = os.path.normpath(parent)
    mount = hierarchy.mount_of(parent)
    if mount is None:
        memory = hierarchy.v1("memory") or hierarchy.v2
        if memory is None:
            raise NoGroup("no cgroup hierarchy is mounted")
        mount, parent = memory, os.path.normpath(f"{memory.point}/{parent}")
    if not os.path.isdir(parent):
        raise BadInput(f"--parent: there is no group {parent!r}", hint=hint)
    if mount.version == 2:
        return "cgroup-v2", parent
    if "memory" in mount.controllers:
        return "cgroup-v1", parent
    raise BadInput(
        f"--parent: {parent!r} is in a hierarchy without the memory controller", hint=hint
    )
