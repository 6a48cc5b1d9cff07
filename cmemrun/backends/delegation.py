"""A group that was left to us: who says so, and how one that holds processes is divided.

Owning a directory is not having it left to oneself: a service of the user's own
manager is owned by the user, and that manager goes on working in it.
"""

import contextlib
import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cmemrun.backends import tree
from cmemrun.errors import NoGroup
from cmemrun.kernel.files import read_text, write_text
from cmemrun.kernel.hierarchy import Hierarchy, Mount, ancestors
from cmemrun.log import Log

if TYPE_CHECKING:
    from cmemrun.backends.manager import Manager

__all__ = ["OTHERS", "divide", "left_to_us"]

log = Log(__name__)

OTHERS = "cmemrun-others"
"""The group for what was in a divided group before; all runs below it share it."""

# What systemd itself can leave to somebody (systemd.resource-control(5)).
_UNIT = re.compile(r".+\.(?:service|scope)")
_REMEDY = "set Delegate=yes for it (systemctl edit), or start it with systemd-run -p Delegate=yes"

_LOCK_SECONDS = 2.0
# Processes are being forked while we move them; so often the rest is looked for.
_ROUNDS = 50
_PAUSE_SECONDS = 0.002


def left_to_us(hierarchy: Hierarchy, mount: Mount | None, manager: "Manager | None") -> list[str]:
    """Our own group and those above it that are left to us, inner ones first.

    ``manager`` is whom to ask, ``None`` where nobody manages the groups. Raises
    ``NoGroup`` with the reason where there is none.
    """
    if mount is None:
        raise NoGroup("no such hierarchy is mounted")
    own = hierarchy.own_group(mount)
    if own is None:
        raise NoGroup(f"our own group is not shown below {mount.point}")
    try:
        read_only = os.statvfs(own).f_flag & os.ST_RDONLY
    except OSError as error:
        raise tree.refusal(own, error) from error
    if read_only:
        raise tree.refusal(own, OSError(errno.EROFS, os.strerror(errno.EROFS)))
    if not os.access(own, os.W_OK) or tree.is_of_another(own):
        raise NoGroup(f"{own} belongs to somebody else")
    if manager is not None:
        unit = _delegated_unit(own, mount, manager)
        if tree.is_of_another(unit):
            raise NoGroup(f"{unit} belongs to somebody else")
        return [group for group in ancestors(own, mount) if _is_in(group, unit)]
    # Nobody to ask: the whole of a private namespace that can be written to, and
    # what somebody gave to an ordinary user.
    groups = [
        group
        for group in ancestors(own, mount)
        if os.access(group, os.W_OK)
        and not tree.is_of_another(group)
        and (_is_top_of_a_namespace(group, mount) or os.stat(group).st_uid == os.geteuid() != 0)
    ]
    if not groups:
        raise NoGroup("neither our group nor one above it was left to us")
    return groups


def divide(top: str) -> None:
    """Have groups below ``top`` get the memory controller although it holds processes.

    Those get a leaf, which stays, as the controller does: taken off while another
    run lives below, it would take that run's files with it. Raises ``NoGroup``
    where that is refused; everything is then as it was.
    """
    others = f"{top}/{OTHERS}"
    with _locked(top):
        if b"memory" not in (read_text(f"{top}/cgroup.controllers") or b"").split():
            raise NoGroup(f"{top} has no memory controller")
        if b"0" in (read_text(f"{top}/cgroup.procs") or b"").split():
            raise NoGroup(f"{top} holds processes of another PID namespace")
        try:
            with contextlib.suppress(FileExistsError):
                tree.create(others)
            _move_all(top, others)
        except (OSError, NoGroup) as refusal:
            _undo(top, others)
            if isinstance(refusal, NoGroup):
                raise
            raise NoGroup(f"{top} cannot be divided: {refusal.strerror}") from refusal
    log.debug("divided group=%s", top)


def _move_all(top: str, others: str) -> None:
    for _ in range(_ROUNDS):
        for pid in tree.members_of(top):
            with contextlib.suppress(ProcessLookupError):
                tree.add(others, pid)
        try:
            # Alone and first: pids over processes would make the whole group
            # "domain threaded" (cgroup-v2.rst).
            write_text(f"{top}/cgroup.subtree_control", "+memory")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return
    raise NoGroup(f"{top} holds processes that cannot be moved")


def _undo(top: str, others: str) -> None:
    for _ in range(_ROUNDS):
        for pid in tree.members_of(others):
            with contextlib.suppress(OSError):
                tree.add(top, pid)
        try:
            os.rmdir(others)
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            time.sleep(_PAUSE_SECONDS)  # somebody has forked meanwhile
        else:
            return


@contextlib.contextmanager
def _locked(top: str) -> Iterator[None]:
    """Let nobody else divide the same group meanwhile."""
    deadline = time.monotonic() + _LOCK_SECONDS
    try:
        fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise tree.refusal(top, error) from error
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NoGroup(f"somebody holds a lock on {top}") from None
                time.sleep(_PAUSE_SECONDS)
        yield
    finally:
        os.close(fd)


def _is_top_of_a_namespace(group: str, mount: Mount) -> bool:
    """Not so the root of the whole tree, which alone has no ``cgroup.type`` (cgroup-v2.rst)."""
    return group == mount.point and os.path.exists(f"{group}/cgroup.type")


def _delegated_unit(own: str, mount: Mount, manager: "Manager") -> str:
    """The directory of the unit that we are in, where its manager has left it to us."""
    for group in ancestors(own, mount):
        unit = os.path.basename(group)
        if not _UNIT.fullmatch(unit):
            continue
        if unit.startswith("user@"):
            raise NoGroup(f"{unit} is left to the manager in it, which left us nothing")
        if _is_marked(group):
            return group
        delegated = _ask(manager, unit, group.removeprefix(mount.point))
        if delegated:
            return group
        if delegated is not None:
            raise NoGroup(f"the unit {unit} is not delegated", hint=_REMEDY)
    raise NoGroup("we are in no unit that could be delegated")


def _is_marked(group: str) -> bool:
    """Whether the system's manager has marked it (the user's own cannot, systemd 257).

    ``trusted`` only root can see; ``user`` came with Linux 5.7 and systemd 252.
    """
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    return False


def _ask(manager: "Manager", unit: str, path: str) -> bool | None:
    """Whether it has left the unit to others, ``None`` where it knows none of that place."""
    if manager.property(unit, "ControlGroup") != path:
        return None
    return manager.property(unit, "Delegate") is True


def _is_in(group: str, top: str) -> bool:
    return group == top or group.startswith(f"{top}/")
