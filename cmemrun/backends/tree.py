"""Directories of control groups: made, emptied and removed, the same for v1 and v2.

A run has a *tree* in one hierarchy or in several: on a hybrid machine the
program sits in v1's memory group and in a v2 group that can be killed at once.
``end`` is also what the keeper does when the launcher is gone, so it needs
nothing but the directories' names.
"""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterable, Sequence

from cmemrun.errors import NoGroup
from cmemrun.kernel.files import read_text, write_text

__all__ = [
    "AS_ROOT",
    "add",
    "all_refused",
    "children",
    "create",
    "descendants",
    "end",
    "fresh_name",
    "has_others_than",
    "kill",
    "members",
    "members_of",
    "refusal",
    "remove",
]

# How long the directory of a group stays busy after its last process has been
# told to die: measured 0 to 4 ms, so the first looks come quickly.
_FIRST_WAIT_SECONDS = 0.0005
_LONGEST_WAIT_SECONDS = 0.05

# Where nobody is left to die, somebody makes groups inside as we remove them. He waits for
# the very lock that we let go of, so he is beaten by trying often (measured: 20 to 1,200
# times, a second at most) and hardly ever at 50 ms.
_RACE_SECONDS = 5.0

_WRITABLE = (
    "give the container a cgroup tree that it may write to: podman run --security-opt"
    " unmask=/sys/fs/cgroup, docker run --security-opt writable-cgroups=true (or --privileged)"
)


AS_ROOT = "run as root (sudo cmemrun …), or name a group you may write to with --parent"


def fresh_name() -> str:
    """A name for one run's directories; random, so that nobody can make it before us."""
    return f"cmemrun-{os.getpid()}-{os.urandom(6).hex()}"


def is_of_another(group: str) -> bool:
    """Whether root, who may write anywhere, would make groups in what was given to a user.

    Whoever owns a group has one writer, that user's manager or program, and owns the way out
    of all that is made in it (cgroup-v2.rst, "Delegation Containment").
    """
    return os.geteuid() == 0 and os.stat(group).st_uid != 0


def create(path: str) -> None:
    """Make a group's directory; it must not be there yet."""
    os.mkdir(path, 0o755)


def refusal(parent: str, error: OSError) -> NoGroup:
    """Why no group can be made below ``parent``, and what would help.

    The error itself is raised where it is ours: without descriptors no place is any better.
    """
    if error.errno in (errno.EMFILE, errno.ENFILE):
        raise error
    hint = {errno.EROFS: _WRITABLE, errno.EACCES: AS_ROOT}.get(error.errno or 0)
    return NoGroup(f"cannot make a group below {parent}: {error.strerror}", hint=hint)


def all_refused(refusals: Sequence[NoGroup]) -> NoGroup:
    """One refusal out of those of several places."""
    hints = dict.fromkeys(refusal.hint for refusal in refusals if refusal.hint)
    return NoGroup(
        "; ".join(dict.fromkeys(refusal.message for refusal in refusals)),
        hint="; ".join(hints) or None,
    )


def add(path: str, pid: int) -> None:
    """Move a process, with all its threads, into a group."""
    write_text(f"{path}/cgroup.procs", str(pid))


def members(paths: Iterable[str]) -> set[int]:
    """The processes of these groups and of all groups below them."""
    found: set[int] = set()
    for path in paths:
        for group in [path, *descendants(path)]:
            found |= members_of(group)
    return found


def members_of(path: str) -> set[int]:
    """The processes of this very group.

    One outside our PID namespace reads as 0, which to ``kill`` would mean our
    own process group: it is left out.
    """
    return _listed(path) - {0}


def has_others_than(path: str, pids: set[int]) -> bool:
    """Whether somebody else is in a group or in one below it, outside our PID namespace, too."""
    return any(_listed(group) - pids for group in (path, *descendants(path)))


def _listed(path: str) -> set[int]:
    words = (read_text(f"{path}/cgroup.procs") or b"").split()
    # Who cleans up does not stop at a word that no kernel writes.
    return {int(word) for word in words if word.isdigit()}


def kill(paths: Sequence[str]) -> bool:
    """Send SIGKILL to every process of the groups, once; whether there was any.

    New ones may still be born on v1.

    ``cgroup.kill`` (Linux 5.14) reaches them all, also those being forked. Where
    it is missing the groups are frozen first, so that nobody forks meanwhile:
    frozen processes die at once on v2, and after the thaw on v1.
    """
    at_once = [path for path in paths if os.path.exists(f"{path}/cgroup.kill")]
    for path in at_once:
        _write_if_there(f"{path}/cgroup.kill", "1")
    if not at_once:
        for path in paths:
            _write_if_there(f"{path}/cgroup.freeze", "1")
            _write_if_there(f"{path}/freezer.state", "FROZEN")
    found = members(paths)
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    if not at_once:
        for path in paths:
            _write_if_there(f"{path}/freezer.state", "THAWED")
    return bool(found)


def remove(paths: Sequence[str]) -> bool:
    """Remove the groups and those the program made inside; whether all are gone."""
    for path in paths:
        for group in [*reversed(descendants(path)), path]:
            # EBUSY: a process is still on its way out. Whoever removed it before
            # us did no harm.
            with contextlib.suppress(OSError):
                os.rmdir(group)
    return not any(os.path.isdir(path) for path in paths)


def end(paths: Sequence[str], seconds: float) -> bool:
    """Kill and remove until nothing is left or the time is over; whether nothing is left."""
    began, wait = time.monotonic(), _FIRST_WAIT_SECONDS
    while not remove(paths):
        waited_seconds = time.monotonic() - began
        if waited_seconds > seconds:
            return False
        if kill(paths) or waited_seconds > _RACE_SECONDS:
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
        time.sleep(wait)
    return True


def children(top: str) -> list[str]:
    """The groups right below ``top``; none where it has just gone."""
    with contextlib.suppress(OSError), os.scandir(top) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def descendants(top: str) -> list[str]:
    """Every group below ``top``, outermost first."""
    found = [top]
    for group in found:
        found.extend(children(group))
    return found[1:]


def _write_if_there(path: str, text: str) -> None:
    """Write to a file that this kernel may not have, in a group that may just have gone."""
    try:
        write_text(path, text)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
