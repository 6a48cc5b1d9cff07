"""A scope of systemd's around the waiting program: the manager makes the group, we read it.

The scope is asked for with two processes, the program and the keeper: with the
program alone it would be gone, and its peak with it, as soon as the program has
ended. ``Delegate`` makes its inside ours; there each of the two gets a leaf, as
v2 allows no processes beside inner groups, and the program's is read like any
other group.
"""

import errno
import time

from cmemrun.backends import tree
from cmemrun.backends.base import Adopt
from cmemrun.backends.manager import ANSWER_SECONDS, Manager, Property
from cmemrun.backends.v1 import V1Group, companion_mounts, companions
from cmemrun.backends.v2 import V2Group
from cmemrun.errors import NoGroup, WayFailed
from cmemrun.kernel.files import read_text, write_text
from cmemrun.kernel.hierarchy import Hierarchy, parse_memberships
from cmemrun.log import Log

__all__ = ["make"]

log = Log(__name__)

NAME = "systemd-scope"


def make(
    hierarchy: Hierarchy, manager: Manager, program: int, keeper: int, adopt: Adopt
) -> V1Group | V2Group:
    """A new scope with both processes in it, and in it a group for the program.

    Raises ``NoGroup`` with the reason, and the remedy where there is one;
    ``WayFailed`` once systemd may have moved the two, now or later.
    """
    unit = f"{tree.fresh_name()}.scope"
    properties: list[Property] = [
        ("Description", ("s", "a program measured by cmemrun")),
        ("PIDs", ("au", [program, keeper])),
        ("Delegate", ("b", True)),
        # No failed unit is left behind an OOM kill.
        ("CollectMode", ("s", "inactive-or-failed")),
    ]
    try:
        manager.start_scope(unit, properties)
        scope = _wait_for_scope(hierarchy, unit, {program, keeper})
        return _divide(hierarchy, scope, keeper, adopt)
    except NoGroup as refusal:
        if not manager.may_have_moved:
            raise
        raise WayFailed(refusal.message, hint=refusal.hint, way="systemd") from refusal
    except OSError as error:
        what = f"{error.filename}: {error.strerror}"
        raise WayFailed(
            f"the scope that systemd made cannot be used: {what}", way="systemd"
        ) from error


def _wait_for_scope(hierarchy: Hierarchy, unit: str, pids: set[int]) -> str:
    """The path of the scope, once all are in it: the manager answers before it moves anybody."""
    deadline, wait = time.monotonic() + ANSWER_SECONDS, 0.0005
    key = "memory" if hierarchy.v1("memory") else ""
    while True:
        places = [parse_memberships(read_text(f"/proc/{pid}/cgroup") or b"") for pid in pids]
        paths = {place.get(key, "") for place in places}
        if len(paths) == 1 and (scope := paths.pop()).endswith(f"/{unit}"):
            return scope
        if time.monotonic() > deadline:
            if any(path.endswith(f"/{unit}") for place in places for path in place.values()):
                raise NoGroup("systemd gives its users no memory groups on v1", hint=tree.AS_ROOT)
            raise NoGroup(f"systemd has not started {unit} within {ANSWER_SECONDS:.0f} s")
        time.sleep(wait)
        wait = min(wait * 2, 0.02)


def _divide(hierarchy: Hierarchy, scope: str, keeper: int, adopt: Adopt) -> V1Group | V2Group:
    name = tree.fresh_name()
    memory = hierarchy.v1("memory")
    if memory is not None:
        top = f"{memory.point}{scope}"
        path = f"{top}/{name}"
        adopt(path)
        tree.create(path)
        # Below the scope everywhere: what is delegated is that, and no more.
        beside = {
            kind: f"{mount.point}{scope}" if mount else None
            for kind, mount in companion_mounts(hierarchy).items()
        }
        group: V1Group | V2Group = V1Group(path, companions(beside, name, adopt))
    else:
        assert hierarchy.v2 is not None  # noqa: S101 (the program has just been found in it)
        top = f"{hierarchy.v2.point}{scope}"
        path, apart = f"{top}/{name}", f"{top}/keeper"
        adopt(path)
        for directory in (path, apart):
            tree.create(directory)
        tree.add(apart, keeper)
        _hand_on(top, path)
        group = V2Group(path)
    group.name = NAME
    return group


def _hand_on(top: str, leaf: str) -> None:
    """Give the leaves memory and, if possible, pids; the program has to leave the top first."""
    for pid in tree.members_of(top):
        tree.add(leaf, pid)
    for controller in ("memory", "pids"):
        try:
            write_text(f"{top}/cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            if controller == "memory":
                if error.errno == errno.ENOENT:
                    raise NoGroup(
                        "the manager that made the scope has no memory controller itself",
                        hint="delegate it: see systemd's CGROUP_DELEGATION, Delegate=memory",
                    ) from error
                raise
