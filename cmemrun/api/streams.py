"""A program's standard streams: the caller's, files, nothing, or read by us."""

import contextlib
import fcntl
import os
import select
import subprocess
import threading
from collections.abc import Generator
from typing import NamedTuple, Protocol

from cmemrun import launcher
from cmemrun.errors import BadInput, CmemrunError
from cmemrun.identity import User

__all__ = ["Captured", "HasFileno", "Stream", "open_streams"]

_READ_BYTES = 2**16


class HasFileno(Protocol):
    """A file, a socket: anything with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


Stream = int | HasFileno | None
"""As in ``subprocess``: a descriptor, a file, ``DEVNULL``, ``STDOUT``; ``None`` for our own."""


class Captured(NamedTuple):
    """What a program is given, and what was read of it when the context is over."""

    streams: launcher.Streams
    stdout: "Reader | None"
    stderr: "Reader | None"


class Reader:
    """A thread that reads what a program writes, as a context.

    Through a pipe: the pages of a file would be charged to the program. It is
    over when the context is, and not when the pipe is: somebody who has left the
    group may hold on to that.
    """

    def __init__(self, user: User | None) -> None:
        """``user`` is whose program writes, where that is not ourselves."""
        self._user = user
        self._parts: list[bytes] = []
        self._thread = threading.Thread(target=self._run, name="cmemrun-reader", daemon=True)

    @property
    def text(self) -> str:
        """All of it; bytes that are no UTF-8 as ``\\xff``."""
        return b"".join(self._parts).decode("utf-8", "backslashreplace")

    def __enter__(self) -> "Reader":
        with contextlib.ExitStack() as undo:
            try:
                self._reading, self.writing = os.pipe()
                undo.callback(os.close, self._reading)
                undo.callback(os.close, self.writing)
                os.set_blocking(self._reading, False)
                self._over = os.eventfd(0, os.EFD_CLOEXEC)
                undo.callback(os.close, self._over)
                self._thread.start()
            except (
                OSError,
                RuntimeError,
            ) as error:  # the latter where there is no thread to be had
                raise CmemrunError(
                    f"cannot read what the program writes: {error}",
                    hint="free memory or descriptors, or give it a file: stdout=open(...)",
                ) from error
            undo.pop_all()
        if self._user is not None:
            # Who opens /dev/stdout needs a right to the pipe. Where we may not give
            # it, we cannot become that user, either, and that is said elsewhere.
            with contextlib.suppress(OSError):
                os.fchown(self.writing, self._user.uid, -1)
        return self

    def __exit__(self, *_: object) -> None:
        os.eventfd_write(self._over, 1)
        self._thread.join()
        for fd in (self._reading, self.writing, self._over):
            os.close(fd)

    def _run(self) -> None:
        poll = select.poll()
        for fd in (self._reading, self._over):
            poll.register(fd, select.POLLIN)
        while self._over not in dict(poll.poll()):
            self._read(_READ_BYTES)
        self._read(fcntl.fcntl(self._reading, fcntl.F_GETPIPE_SZ))

    def _read(self, most_bytes: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._parts.append(os.read(self._reading, most_bytes))


@contextlib.contextmanager
def open_streams(
    stdin: Stream,
    stdout: Stream,
    stderr: Stream,
    *,
    capture_output: bool,
    user: User | None = None,
) -> Generator[Captured, None, None]:
    """What they are for a program; ``BadInput`` for what is no stream, or is given twice."""
    if capture_output and (stdout is not None or stderr is not None):
        raise BadInput("capture_output and a stream: choose one", hint="leave one of them out")
    if subprocess.STDOUT in (stdin, stdout):
        raise BadInput("STDOUT is for stderr", hint="give it as stderr")
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(Reader(user)) if capture_output else None
        err = stack.enter_context(Reader(user)) if capture_output else None

        def descriptor(name: str, stream: Stream) -> int | None:
            if stream != subprocess.DEVNULL:
                return _descriptor(name, stream)
            fd = os.open(os.devnull, os.O_RDWR)
            stack.callback(os.close, fd)
            return fd

        first = descriptor("stdin", stdin)
        second = out.writing if out else descriptor("stdout", stdout)
        if stderr == subprocess.STDOUT:
            third: int | None = 1 if second is None else second
        else:
            third = err.writing if err else descriptor("stderr", stderr)
        yield Captured((first, second, third), out, err)


def _descriptor(name: str, stream: Stream) -> int | None:
    if stream is None:
        return None
    if stream == subprocess.PIPE:
        raise BadInput(f"{name}: nobody would read or write a pipe", hint="use capture_output")
    try:
        fd = stream if isinstance(stream, int) else stream.fileno()
        os.fstat(fd)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{name}: {stream!r} has no open descriptor", hint="give a file, or DEVNULL"
        ) from error
    return fd
