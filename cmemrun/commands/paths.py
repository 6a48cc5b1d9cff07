"""Where a path that we are to write to leads, without anything that somebody laid in its way.

Where all can write, anybody can lay a link, a FIFO or another name of a file of ours,
and root would write through it. The kernel refuses some of that in sticky directories
where it is told to (``fs.protected_symlinks`` and the like, proc_sys_fs(5)); we do not
rely on it.
"""

import contextlib
import errno
import os
import stat
from typing import NamedTuple

from cmemrun.errors import BadInput

__all__ = ["Place", "find_place"]

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
_MOST_LINKS = 40  # as the kernel follows (path_resolution(7))
_PROC_ROOT = 1  # PROC_ROOT_INO (proc_fs.h)


class Place(NamedTuple):
    """A name in a directory that is held, so that nobody can put another in its place."""

    directory: int
    """A descriptor."""
    name: str
    is_shared: bool
    """Somebody else, root apart, may lay things there."""

    def look(self) -> os.stat_result | None:
        """What is there now, ``None`` where there is nothing; ``BadInput`` as ``open``."""
        try:
            found = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        self._refuse_laid(found)
        return found

    def open(self, flags: int) -> int:
        """Open what is there now.

        Raises ``BadInput`` where somebody else has laid it where all can write.
        """
        fd = os.open(self.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self.directory)
        try:
            self._refuse_laid(os.fstat(fd))
            # The very one that was looked at.
            return os.open(f"/proc/self/fd/{fd}", flags)
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Take the name away, if it is there and we may."""
        with contextlib.suppress(OSError):
            os.unlink(self.name, dir_fd=self.directory)

    def close(self) -> None:
        """Give the directory back."""
        os.close(self.directory)

    def _refuse_laid(self, found: os.stat_result) -> None:
        if self.is_shared:
            _refuse_laid(self.name, found)


def _refuse_laid(name: str, found: os.stat_result) -> None:
    """Of what is ours or root's somebody else can still lay a second name, links included."""
    what = "link" if stat.S_ISLNK(found.st_mode) else "file"
    if not _is_trusted(found):
        raise BadInput(f"{name!r} is somebody else's {what} {_WHERE}", hint=_HINT)
    if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
        raise BadInput(f"{name!r} is another {what}'s second name {_WHERE}", hint=_HINT)


_WHERE = "in a directory that all can write to"
_HINT = "name a file in a directory of your own"


class _Directory(NamedTuple):
    fd: int
    is_shared: bool
    """As of a ``Place``."""


def find_place(path: str) -> Place:
    """Walk a path step by step, links included.

    Raises ``OSError`` where there is no such directory, ``BadInput`` at a link that
    somebody else has laid where all can write.
    """
    steps, links = path.split("/")[::-1], 0
    with contextlib.ExitStack() as opened:
        trail = [_open("/" if path.startswith("/") else ".", opened)]
        while True:
            step = steps.pop() or "."
            if steps and step == ".":
                continue
            if steps and step == "..":
                trail = trail[:-1] or [_open("..", opened, at=trail[-1].fd)]
                continue
            if steps and (inner := _enter(trail[-1], step, opened)):
                trail.append(inner)
                continue
            if steps and (elsewhere := _enter_by_proc(trail[-1], step, opened)):
                trail = [elsewhere]
                continue
            target = _link(trail[-1], step)
            if target is None and not steps:
                return Place(os.dup(trail[-1].fd), step, trail[-1].is_shared)
            links += 1
            if target is None or links > _MOST_LINKS:
                number = errno.ENOTDIR if target is None else errno.ELOOP
                raise OSError(number, os.strerror(number))
            if target.startswith("/"):
                trail = [_open("/", opened)]
            steps += target.split("/")[::-1]


def _open(
    path: str, opened: contextlib.ExitStack, *, at: int | None = None, flags: int = _DIRECTORY
) -> _Directory:
    """A directory to which no walk from one that is known has led."""
    fd = os.open(path, flags, dir_fd=at)
    opened.callback(os.close, fd)
    return _Directory(fd, _is_among_others(fd))


def _is_among_others(directory: int) -> bool:
    """Whether all can write there, or somebody else has made it where all can."""
    with contextlib.ExitStack() as opened:
        while not _all_can_write(found := os.fstat(directory)):
            if _is_trusted(found):
                return False
            above = os.open("..", _DIRECTORY, dir_fd=directory)
            opened.callback(os.close, above)
            if os.path.samestat(found, os.fstat(above)):
                return False
            directory = above
    return True


def _enter(at: _Directory, step: str, opened: contextlib.ExitStack) -> _Directory | None:
    """Go on to a directory; ``None`` where it is none itself, but a link perhaps."""
    try:
        fd = os.open(step, _DIRECTORY, dir_fd=at.fd)
    except NotADirectoryError:
        return None
    opened.callback(os.close, fd)
    found = os.fstat(fd)
    # What somebody has made among all others is that one's to change.
    return _Directory(fd, _all_can_write(found) or (at.is_shared and not _is_trusted(found)))


def _enter_by_proc(at: _Directory, step: str, opened: contextlib.ExitStack) -> _Directory | None:
    """Go through a link of /proc's, to a process's root for instance, which no path may name."""
    found = os.stat(step, dir_fd=at.fd, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode) or not _is_of_proc(found):
        return None
    return _open(step, opened, at=at.fd, flags=os.O_PATH | os.O_DIRECTORY)


def _is_of_proc(found: os.stat_result) -> bool:
    try:
        proc = os.stat("/proc")
    except FileNotFoundError:
        return False
    # Else it is a directory in which nothing is mounted.
    return proc.st_ino == _PROC_ROOT and found.st_dev == proc.st_dev


def _link(at: _Directory, step: str) -> str | None:
    """What a link says; ``None`` where it is none, or nothing at all."""
    try:
        fd = os.open(step, os.O_PATH | os.O_NOFOLLOW, dir_fd=at.fd)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISLNK(found.st_mode):
            return None
        if at.is_shared:
            _refuse_laid(step, found)
        return os.readlink("", dir_fd=fd)
    finally:
        os.close(fd)


def _all_can_write(found: os.stat_result) -> bool:
    return bool(found.st_mode & stat.S_IWOTH)


def _is_trusted(found: os.stat_result) -> bool:
    return found.st_uid in (os.geteuid(), 0)
