"""The ways to have a group, and the only place that picks one."""

import os
from collections.abc import Callable

from cmemrun.backends import v1, v2
from cmemrun.backends.base import Group, Heir
from cmemrun.errors import BadInput, NoGroup
from cmemrun.kernel.hierarchy import Hierarchy, is_manager
from cmemrun.log import Log

__all__ = ["Group", "choose"]

_REMEDY = "run as root (sudo cmemrun …), or name a group you may write to with --parent"

log = Log(__name__)


def choose(
    hierarchy: Hierarchy,
    program: int,
    heir: Heir,
    *,
    parent: str | None = None,
    backend: str = "auto",
    require: str | None = None,
) -> Group:
    """Make a group for a waiting program in the best way this machine offers.

    ``heir`` is told everything that somebody must end and remove if we cannot.
    ``parent`` is the directory to make it in, or the path of a group as
    ``/proc/self/cgroup`` has it. ``backend`` is ``auto``, ``systemd``, ``v2``,
    ``v1`` or ``proc``. ``require`` is ``cgroup`` to refuse a measurement without
    a group, or ``exact`` to refuse a sampled peak, too.

    Raises ``BadInput`` for a parent that is no memory group and ``NoGroup``,
    with the reason of every way, where none works or none is good enough.
    """
    place: str | None = None
    if parent is not None:
        way, place = _parent(hierarchy, parent)
        if backend not in ("auto", way):
            raise BadInput(f"--parent: {parent!r} is not for --backend {backend}")
        backend = way
    ways: dict[str, Callable[[], Group]] = {
        "systemd": lambda: _scope(hierarchy, program, heir),
        "v2": lambda: v2.make(hierarchy, place, heir.adopt),
        "v1": lambda: v1.make(hierarchy, place, heir.adopt),
    }
    wanted = [backend] if backend != "auto" else _in_order()
    refusals: list[NoGroup] = []
    for way in wanted:
        if way == "proc":
            break
        try:
            group = ways[way]()
        except NoGroup as refusal:
            refusals.append(refusal)
            log.debug("way=%s refused=%r", way, refusal.message)
            continue
        log.debug("way=%s group=%s layout=%s", group.name, group.where, hierarchy.layout.value)
        if require == "exact" and group.peak() is None:
            group.close()
            group.remove()
            raise NoGroup(
                "--require exact: this kernel keeps no high-water mark for a v2 group",
                hint="use Linux 5.19 or newer, or --require cgroup for a sampled peak",
            )
        return group
    why = "; ".join(refusal.message for refusal in refusals) or "--backend proc asks for none"
    if "proc" in wanted and require is None:
        from cmemrun.backends.proc import ProcessTree

        return ProcessTree(hierarchy, heir, why)
    remedies = [refusal.hint for refusal in refusals if refusal.hint]
    raise NoGroup(f"no memory group can be made here ({why})", hint="; ".join([*remedies, _REMEDY]))


def _scope(hierarchy: Hierarchy, program: int, heir: Heir) -> Group:
    from cmemrun.backends import systemd

    return systemd.make(hierarchy, program, heir.pid, heir.adopt)


def _in_order() -> list[str]:
    """The ways to try, best first.

    Where systemd is the manager nobody makes directories behind its back who
    can ask it (CGROUP_DELEGATION.md, the single-writer rule); root may still do
    so where it does not answer.
    """
    directories = ["v2", "v1"]
    if not is_manager():
        return [*directories, "proc"]
    return ["systemd", *(directories if os.geteuid() == 0 else ()), "proc"]


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
        return "v2", parent
    if "memory" in mount.controllers:
        return "v1", parent
    raise BadInput(
        f"--parent: {parent!r} is in a hierarchy without the memory controller", hint=hint
    )
