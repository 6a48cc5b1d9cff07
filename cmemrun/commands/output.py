"""Where a report or a document goes.

An output is tried before the program starts, so a bad path costs nothing, and
written when it has ended. A regular file is complete or as it was before: it is
written without a name beside its place and put there at the end, so not even
``kill -9`` leaves half a file.
"""

import contextlib
import errno
import fcntl
import os
import re
import signal
import stat
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from cmemrun.commands.console import closed_at_start, write_all
from cmemrun.commands.paths import Place, find_place
from cmemrun.errors import BadInput, OutputError

__all__ = ["Output", "Stream", "identity_of", "open_appended", "open_output", "open_stream"]

_DESCRIPTOR = re.compile(r"(?:/dev/fd|/proc/self/fd)/([0-9]{1,9})")
_STANDARD = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}

# What a file system says that cannot make a file without a name (open(2)).
_NO_NAMELESS_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
# What a file says that cannot be replaced though it can be written: a mount
# point, a file of somebody else's in a sticky directory.
_NOT_REPLACEABLE = frozenset({errno.EBUSY, errno.EPERM, errno.EACCES, errno.EXDEV, errno.EROFS})


class Output(Protocol):
    """Something that a text or a picture can be written to, once."""

    identity: tuple[object, ...] | None
    """What tells it from other outputs; ``None`` where any number may share it."""

    def write(self, data: str | bytes) -> None:
        """Write it all; ``OutputError`` where that fails."""
        ...


def open_output(option: str, path: str) -> Output:
    """Try a path that was given for ``option``; ``-`` is standard output.

    Raises ``OutputError`` where nothing could be written there.
    """
    with _explained(option, path):
        descriptor = _descriptor(path)
        if descriptor is not None:
            return _Descriptor(option, path, descriptor)
        if not path or path.endswith("/"):
            raise IsADirectoryError(errno.EISDIR, "it names no file")
        place = find_place(path)
        try:
            return _output_at(place, option, path)
        except (OSError, BadInput):
            place.close()
            raise


def _output_at(place: Place, option: str, path: str) -> Output:
    found = place.look()
    if found is None:
        return _Replaced(option, path, place, None)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.ENXIO, "it is a socket")
    if not os.access(place.name, os.W_OK, dir_fd=place.directory, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if stat.S_ISREG(found.st_mode):
        with contextlib.suppress(PermissionError):
            return _Replaced(option, path, place, found)
    return _InPlace(option, path, place, found)


def open_appended(option: str, path: str) -> "Appended":
    """Try a path to whose end something is to be written, once; ``OutputError`` likewise."""
    return Appended(option, path, open_stream(option, path))


class Stream(NamedTuple):
    """A descriptor to write to while a run goes on, and the file that was made for it."""

    fd: int
    made: Place | None


def open_stream(option: str, path: str) -> Stream:
    """Open a path for lines that are written as they come; a file keeps what it has for now.

    Raises ``OutputError`` where nothing can be written there.
    """
    with _explained(option, path):
        descriptor = _descriptor(path)
        if descriptor is not None:
            return Stream(_Descriptor(option, path, descriptor).fd, None)
        place = find_place(path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY
        made = None
        try:
            new = flags | os.O_CREAT | os.O_EXCL
            fd = os.open(place.name, new, 0o666, dir_fd=place.directory)
            made = place
        except FileExistsError:
            fd = place.open(flags)
        finally:
            if made is None:
                place.close()
        return Stream(fd, made)


class _Descriptor:
    """A stream that is open already, the end of a pipe for instance."""

    def __init__(self, option: str, path: str, descriptor: int) -> None:
        self._option, self._path = option, path
        if descriptor in closed_at_start:
            raise OSError(errno.EBADF, "it is closed")
        self.fd = os.dup(descriptor)
        self.identity = identity_of(os.fstat(self.fd))
        if fcntl.fcntl(self.fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise PermissionError(errno.EBADF, "it is open for reading only")

    def write(self, data: str | bytes) -> None:
        with _explained(self._option, self._path):
            write_all(self.fd, data)


class Appended:
    """The end of a file that others write to as well, or a stream; to be closed."""

    def __init__(self, option: str, path: str, stream: "Stream") -> None:
        self._option, self._path, self._stream = option, path, stream
        self._is_written = False
        self.identity = identity_of(os.fstat(stream.fd))

    def write(self, data: str | bytes) -> None:
        with _explained(self._option, self._path):
            self._is_written = True
            write_all(self._stream.fd, data)

    def close(self) -> None:
        """Give it back; a file that was made for nothing goes again."""
        os.close(self._stream.fd)
        if self._stream.made is not None:
            if not self._is_written:
                self._stream.made.remove()
            self._stream.made.close()


class _InPlace:
    """A FIFO, a device, or a file that can be written but not replaced."""

    def __init__(self, option: str, path: str, place: Place, found: os.stat_result) -> None:
        self._option, self._path, self._place = option, path, place
        self.identity = identity_of(found)

    def write(self, data: str | bytes) -> None:
        with _explained(self._option, self._path):
            _write_in_place(self._place, data)


def _write_in_place(place: Place, data: str | bytes) -> None:
    fd = place.open(os.O_WRONLY | os.O_TRUNC | os.O_NOCTTY)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


class _Replaced:
    """A regular file: the old one or the new one, never a part."""

    def __init__(self, option: str, path: str, place: Place, found: os.stat_result | None) -> None:
        self._option, self._path, self._place = option, path, place
        self._directory, self._name = place.directory, place.name
        self._found = found
        there = os.fstat(self._directory) if found is None else found
        self.identity = identity_of(there)
        if found is None:
            self.identity = (*(self.identity or ()), self._name)
        fd, beside = self._new_file()
        os.close(fd)
        self._discard(beside)

    def write(self, data: str | bytes) -> None:
        with _explained(self._option, self._path), _uninterrupted():
            fd, beside = self._new_file()
            try:
                write_all(fd, data)
                os.fsync(fd)
                self._put_in_place(fd, beside)
            except OSError as error:
                if self._found is None or error.errno not in _NOT_REPLACEABLE:
                    raise
                _write_in_place(self._place, data)
            finally:
                os.close(fd)
                self._discard(beside)

    def _new_file(self) -> tuple[int, str | None]:
        """A file without a name, or, where there are none, one with a name nobody can guess."""
        try:
            return self._open(".", os.O_TMPFILE), None
        except OSError as error:
            if error.errno not in _NO_NAMELESS_FILES:
                raise
        beside = _fresh_name()
        return self._open(beside, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW), beside

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, os.O_WRONLY | flags, 0o666, dir_fd=self._directory)

    def _put_in_place(self, fd: int, beside: str | None) -> None:
        # Again, as somebody may have laid another one there since.
        before = None if self._found is None else self._place.look()
        if before is not None and stat.S_ISREG(before.st_mode):
            with contextlib.suppress(PermissionError):
                os.fchmod(fd, before.st_mode & 0o777)
                os.fchown(fd, before.st_uid, before.st_gid)
        if beside is None:
            if self._found is None:
                # In one step: nobody ever sees another name of it.
                with contextlib.suppress(FileExistsError):
                    self._link(fd, self._name)
                    return
            beside = _fresh_name()
            self._link(fd, beside)
        try:
            os.rename(beside, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            self._discard(beside)
            raise

    def _link(self, fd: int, name: str) -> None:
        # With a directory given Python calls linkat(2), which can be told to
        # follow the link that /proc shows for a file without a name.
        os.link(
            f"/proc/self/fd/{fd}",
            name,
            src_dir_fd=self._directory,
            dst_dir_fd=self._directory,
            follow_symlinks=True,
        )

    def _discard(self, beside: str | None) -> None:
        if beside is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside, dir_fd=self._directory)


def _descriptor(path: str) -> int | None:
    """The open descriptor a path means.

    Not to be opened anew: of a redirected file that would be a second position,
    from which we would write over what the program wrote.
    """
    if path in _STANDARD:
        return _STANDARD[path]
    match = _DESCRIPTOR.fullmatch(path)
    return int(match[1]) if match else None


def identity_of(found: os.stat_result) -> tuple[object, ...] | None:
    return None if stat.S_ISCHR(found.st_mode) else (found.st_dev, found.st_ino)


def _fresh_name() -> str:
    return f".cmemrun-{os.urandom(8).hex()}"


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold signals back that would end us, for as long as a file takes to write."""
    mask = signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
    )
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def _explained(option: str, path: str) -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{option}: {path!r}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise OutputError(
            f"{option}: cannot write {path!r}: {error.strerror}",
            hint=f"name a file in a directory you can write to, for example {option} out.txt",
        ) from error
