"""Groups that are there already, found by what a user knows of them."""

import os
import re

from cmemrun.backends import tree
from cmemrun.errors import BadInput, NoGroup
from cmemrun.kernel.hierarchy import Hierarchy, Mount

__all__ = ["find", "group_of_container", "group_of_process"]

# docker-ID.scope, libpod-ID.scope, cri-containerd-ID.scope, crio-ID.scope, and
# with the cgroupfs driver the ID alone; what watches a container has a group of
# its own (libpod-conmon-ID.scope).
_CONTAINER = re.compile(r"(?:(?P<prefix>[a-z-]+)[-_])?(?P<id>[0-9a-f]{64})(?:\.scope)?")
_CONTAINER_ID = re.compile(r"[0-9a-f]{6,64}")


def find(hierarchy: Hierarchy, option: str, path: str) -> tuple[Mount, str]:
    """The tree and the directory of a group given for ``option``.

    As a directory, or as ``/proc/PID/cgroup`` has it. ``BadInput`` where there
    is none with memory.
    """
    hint = "name a directory like /sys/fs/cgroup/mine, or a group like /mine"
    if not path.startswith("/"):
        raise BadInput(f"{option}: {path!r} is not an absolute path", hint=hint)
    directory = os.path.normpath(path)
    mount = hierarchy.mount_of(directory)
    if mount is None:
        mount = hierarchy.memory
        if mount is None:
            raise NoGroup("no cgroup hierarchy is mounted")
        directory = os.path.normpath(f"{mount.point}/{directory}")
    if not os.path.isdir(directory):
        raise BadInput(f"{option}: there is no group {directory!r}", hint=hint)
    if mount.version == 1 and "memory" not in mount.controllers:
        raise BadInput(
            f"{option}: {directory!r} is in a hierarchy without the memory controller", hint=hint
        )
    return mount, directory


def group_of_process(hierarchy: Hierarchy, pid: int) -> tuple[Mount, str]:
    """The tree and the directory of the group a process is in; ``BadInput``, ``NoGroup``."""
    mount = _memory(hierarchy)
    try:
        where = hierarchy.seen_from(pid).own_group(mount)
    except OSError as error:
        raise BadInput(f"--pid: there is no process {pid}", hint="see ps -e") from error
    if where is None:
        raise NoGroup(
            f"--pid: the group of process {pid} lies outside of what can be seen here",
            hint="run cmemrun where the process's groups are mounted, on the host for instance",
        )
    if where == mount.point and mount.root == "/":
        raise NoGroup(
            f"--pid: process {pid} is in the root group, which is the whole machine",
            hint="start it with cmemrun, or as a service or container of its own",
        )
    return mount, where


def group_of_container(hierarchy: Hierarchy, container: str) -> tuple[Mount, str]:
    """The tree and the directory of a container's group, by its ID or the start of that.

    Raises ``BadInput`` where no group, or more than one container's, fits.
    """
    mount = _memory(hierarchy)
    if not _CONTAINER_ID.fullmatch(container):
        raise BadInput(
            f"--container: {container!r} is no ID",
            hint=f"ask for it: docker inspect -f '{{{{.Id}}}}' {container}",
        )
    found: dict[str, str] = {}
    for directory in tree.descendants(mount.point):
        name = _CONTAINER.fullmatch(os.path.basename(directory))
        if name and name["id"].startswith(container) and "conmon" not in (name["prefix"] or ""):
            # Outermost first: a runtime may make more of that name inside.
            found.setdefault(name["id"], directory)
    if len(found) != 1:
        which = f"{len(found)} containers have" if found else "no container's group here has"
        raise BadInput(
            f"--container: {which} an ID that starts with {container!r}",
            hint="name its group with --cgroup, or one of its processes with --pid",
        )
    return mount, _where_it_lives(found.popitem()[1])


def _where_it_lives(directory: str) -> str:
    """The innermost group that holds all of a container, which is the one with its limit.

    crun puts everything into ``container`` below the scope that it was given.
    """
    inner = tree.children(directory)
    while len(inner) == 1 and not tree.members_of(directory):
        directory = inner[0]
        inner = tree.children(directory)
    return directory


def _memory(hierarchy: Hierarchy) -> Mount:
    mount = hierarchy.memory
    if mount is None:
        raise NoGroup("no cgroup hierarchy is mounted")
    return mount
