"""The ways to have a group, and the only place that picks one."""

import contextlib
import os
from collections.abc import Collection, Container, Iterator
from typing import TYPE_CHECKING

from cmemrun.backends import v1, v2
from cmemrun.backends.base import Group, Heir
from cmemrun.backends.delegation import left_to_us
from cmemrun.backends.places import find
from cmemrun.backends.surrounding import Surrounding
from cmemrun.backends.tree import AS_ROOT, all_refused
from cmemrun.errors import BadInput, NoGroup, WayFailed
from cmemrun.kernel.hierarchy import Hierarchy, is_manager
from cmemrun.log import Log

if TYPE_CHECKING:
    from cmemrun.backends.manager import Manager

__all__ = ["Group", "choose", "make", "open_manager", "ways"]

log = Log(__name__)


def choose(
    hierarchy: Hierarchy,
    program: int,
    heir: Heir,
    surrounding: Surrounding,
    *,
    parent: str | None = None,
    backend: str = "auto",
    require: str | None = None,
    avoid: Container[str] = (),
    owns_process: bool = False,
) -> Group:
    """Make a group for a waiting program in the best way this machine offers.

    ``heir`` is told everything that somebody must end and remove if we cannot;
    ``surrounding`` is of before the program's process was made. ``parent`` is the
    directory to make it in, or the path of a group as ``/proc/self/cgroup`` has
    it. ``backend`` is ``auto``, ``systemd``, ``v2``, ``v1`` or ``proc``.
    ``require`` is ``cgroup`` to refuse a measurement without a group, or ``exact``
    to refuse a sampled peak, too. ``avoid`` are ways that have failed already.
    ``owns_process``: nobody else starts processes from this one meanwhile.

    Raises ``BadInput`` for a parent that is no memory group and ``NoGroup``,
    with the reason of every way, where none works or none is good enough;
    ``WayFailed`` where one has begun with the program and then failed.
    """
    places: list[str] | None = None
    if parent is not None:
        way, place = _parent(hierarchy, parent)
        if backend not in ("auto", way):
            raise BadInput(
                f"--parent: {parent!r} is not for --backend {backend}", hint="leave one of them out"
            )
        wanted, places = [way], [place]
    else:
        wanted = ways(hierarchy, backend)
    refusals: list[NoGroup] = []
    with open_manager(wanted) as asked:
        for way in wanted:
            if way == "proc":
                break
            if way in avoid:
                continue
            try:
                group = make(way, hierarchy, program, heir, asked, places=places)
            except WayFailed:
                raise
            except NoGroup as refusal:
                refusals.append(refusal)
                log.debug("way=%s refused=%r", way, refusal.message)
                continue
            group.way = way
            log.debug("way=%s group=%s layout=%s", way, group.where, hierarchy.layout.value)
            if require == "exact" and group.peak() is None:
                group.close()
                group.remove()
                raise NoGroup(
                    "--require exact: this kernel keeps no high-water mark for a v2 group",
                    hint="use Linux 5.19 or newer, or --require cgroup for a sampled peak",
                )
            return group
    why = all_refused(refusals)
    if "proc" in wanted and require is None:
        from cmemrun.backends.proc import ProcessTree

        reason = why.message or "--backend proc asks for none"
        return ProcessTree(surrounding, heir, reason, owns_process=owns_process)
    if backend == "proc":
        raise NoGroup("--backend proc makes no memory group", hint="leave it out")
    hints = [why.hint] if why.hint else []
    if os.geteuid() != 0 and AS_ROOT not in (why.hint or ""):
        hints.append(AS_ROOT)
    raise NoGroup(
        f"no memory group can be made here ({why.message})", hint="; or ".join(hints) or None
    )


def ways(hierarchy: Hierarchy, backend: str = "auto") -> list[str]:
    """The ways that ``choose`` tries for a backend, best first.

    Where systemd is the manager nobody makes directories behind its back who
    can ask it (CGROUP_DELEGATION.md, the single-writer rule); root may still do
    so where it does not answer.
    """
    if backend in ("v2", "v1"):
        return [f"delegated-{backend}", backend]
    if backend != "auto":
        return [backend]
    # A controller is in one hierarchy at a time.
    directory = "v1" if hierarchy.v1("memory") else "v2"
    delegated = f"delegated-{directory}"
    if not is_manager():
        return [delegated, directory, "proc"]
    return [delegated, "systemd", *([directory] if os.geteuid() == 0 else []), "proc"]


def make(
    way: str,
    hierarchy: Hierarchy,
    program: int,
    heir: Heir,
    manager: "Manager | None",
    *,
    places: list[str] | None = None,
) -> Group:
    """Make a group in one of the ``ways``; ``NoGroup`` where it is not possible."""
    if way == "delegated-v2":
        groups = left_to_us(hierarchy, hierarchy.v2, manager)
        return v2.make(hierarchy, heir.adopt, places=groups, may_divide=True)
    if way == "delegated-v1":
        groups = left_to_us(hierarchy, hierarchy.v1("memory"), manager)
        return v1.make(hierarchy, heir.adopt, places=groups)
    if way == "v2":
        return v2.make(hierarchy, heir.adopt, places=places)
    if way == "v1":
        return v1.make(hierarchy, heir.adopt, places=places)
    if manager is None:
        raise NoGroup("systemd is not the manager here")
    from cmemrun.backends import systemd

    return systemd.make(hierarchy, manager, program, heir.pid, heir.adopt)


@contextlib.contextmanager
def open_manager(wanted: Collection[str]) -> "Iterator[Manager | None]":
    """Whom to ask in the wanted ways, ``None`` where nobody manages the groups."""
    if not is_manager() or not any(_asks(way) for way in wanted):
        yield None
        return
    from cmemrun.backends.manager import Manager

    with contextlib.closing(Manager(system=os.geteuid() == 0)) as found:
        yield found


def _asks(way: str) -> bool:
    return way == "systemd" or way.startswith("delegated-")


def _parent(hierarchy: Hierarchy, parent: str) -> tuple[str, str]:
    """The way that a given parent means, and its directory."""
    mount, directory = find(hierarchy, "--parent", parent)
    return f"v{mount.version}", directory
