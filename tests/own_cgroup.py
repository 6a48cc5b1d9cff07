"""A cgroup for this process and all that its tests start, in every hierarchy that a run uses.

What the runs of other processes leave behind, and when, is then never in sight.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cmemrun.backends import tree, v1
from cmemrun.kernel.hierarchy import Hierarchy, Mount, detect

__all__ = ["entered", "is_entered", "searched"]

_PREFIX = "cmemrun-tests-"
_entered: dict[str, str] = {}  # by mount point


def searched() -> list[str]:
    """The directories that the cgroups of our tests' runs are below: the own ones, if any."""
    return [_entered.get(mount.point, mount.point) for mount in detect().mounts]


def is_entered() -> bool:
    """Whether the runs of other processes are out of sight."""
    return bool(_entered)


@contextlib.contextmanager
def entered() -> Iterator[None]:
    """Be in cgroups of our own, which end with all that is still in them.

    Not where the memory controller is on v2: a cgroup with processes hands no controllers on
    there ("no internal processes", cgroup-v2.rst), so the runs would be made beside it.
    """
    hierarchy = detect()
    before: dict[str, str] = {}
    for mount in _used_by_runs(hierarchy) if os.geteuid() == 0 else []:
        parent = hierarchy.own_group(mount)
        if parent is None:
            continue
        _remove_forgotten(parent)
        group = f"{parent}/{_PREFIX}{os.getpid()}"
        try:
            os.mkdir(group)
            tree.add(group, os.getpid())
        except OSError:  # read-only, or not for us
            tree.remove([group])
        else:
            before[group], _entered[mount.point] = parent, group
    try:
        yield
    finally:
        _entered.clear()
        for group, parent in before.items():
            tree.add(parent, os.getpid())
            assert tree.end([group], 30), group


def _used_by_runs(hierarchy: Hierarchy) -> list[Mount]:
    mounts = [hierarchy.memory, *v1.companion_mounts(hierarchy).values()]
    if hierarchy.memory is None or hierarchy.memory.version == 2:
        return []
    return [mount for mount in dict.fromkeys(mounts) if mount is not None]


def _remove_forgotten(parent: str) -> None:
    """Remove what processes that were killed could not remove."""
    for group in Path(parent).glob(f"{_PREFIX}*"):
        if not Path("/proc", group.name.removeprefix(_PREFIX)).exists():
            tree.remove([str(group)])
