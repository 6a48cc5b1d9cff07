"""A small process that ends and removes the group when the launcher is gone.

It waits for the end of a pipe that only the launcher writes to, and for the end of
the launcher, whose other forks may have copies of that pipe; so even ``kill -9`` of
the launcher ends the program and removes its group within a second. It sits in a
session of its own (no Ctrl-C reaches it) and holds nothing but those two: with our
standard output it would keep ``$(cmemrun …)`` waiting, with another run's pipe it
would keep that run's keeper from acting.
"""

import contextlib
import gc
import os
import select
import signal
import time
from typing import NoReturn

from cmemrun.backends import tree
from cmemrun.errors import cannot_fork
from cmemrun.model import Identity

__all__ = ["Keeper"]

# Long enough for a process that hangs in a slow device to come back and die.
_PERSIST_SECONDS = 600.0

# The launcher's last message; all others are paths, or processes after "=".
_GO = b"!"

# How long the launcher waits for its keeper, which takes a millisecond to begin and has
# nothing left to do at the end; it may be stopped, or dead.
_PATIENCE_SECONDS = 1.0


class Keeper:
    """The launcher's end of it.

    Use it as a context: whatever happens inside, every adopted directory is
    ended and removed.
    """

    def __init__(self) -> None:
        """Fork it; do so before any thread is started.

        Raises ``CmemrunError`` where no process can be made.
        """
        reading, self._pipe = os.pipe()
        launcher, self._begun = _handle_of_ourselves(), _event()
        try:
            self.pid = os.fork()
        except OSError as error:
            for fd in (reading, self._pipe, *launcher, *self._begun):
                os.close(fd)
            raise cannot_fork(error) from error
        if self.pid == 0:
            _keep(reading, launcher, self._begun)
        for fd in (reading, *launcher):
            os.close(fd)

    def adopt(self, path: str) -> None:
        """Have this directory ended and removed; to be called before it is made."""
        self._tell(os.fsencode(path))

    def watch(self, processes: set[Identity]) -> None:
        """Have these processes ended, and not those told before."""
        told = " ".join(f"{process.pid}:{process.start_ticks}" for process in processes)
        self._tell(b"=" + told.encode())

    def dismiss(self) -> None:
        """Let it do what is left to do and go."""
        self._tell(_GO)
        os.close(self._pipe)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        wait = 0.0002
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
                time.sleep(wait)
                wait = min(wait * 2, 0.02)

    def _tell(self, message: bytes) -> None:
        # Until it has begun, what is aimed at us, by name or group, would hit it as well.
        for event in self._begun:
            _readable((event,), _PATIENCE_SECONDS)
            os.close(event)
        self._begun = ()
        # Somebody killed it: then the launcher is alone with the clean-up.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, message + b"\0")

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()


def _keep(pipe: int, launcher: tuple[int, ...], begun: tuple[int, ...]) -> NoReturn:
    """The keeper's whole life; nothing of the launcher's is to be touched here."""
    status = 1
    try:
        # No finalizer of the launcher's is to run here.
        gc.disable()
        os.setsid()
        # First of all: there may be no descriptor left to find the others by.
        for fd in {0, 1, 2} - {pipe, *launcher, *begun}:
            with contextlib.suppress(OSError):
                os.close(fd)
        # So that whoever ends all that is called cmemrun does not end this, too.
        with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:
            comm.write("memkeeper")
        for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
            signal.signal(signum, signal.SIG_IGN)
        # Nothing of this is worth leaving the group behind.
        for event in begun:
            with contextlib.suppress(OSError):
                os.eventfd_write(event, 1)
        with contextlib.suppress(OSError):
            _close_all_but({pipe, *launcher})
        with contextlib.suppress(OSError):
            os.chdir("/")
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        paths: list[str] = []
        processes: list[Identity] = []
        told, is_over = b"", False
        while not is_over and (part := _read(pipe, launcher)):
            *messages, told = (told + part).split(b"\0")
            for message in messages:
                if message == _GO:
                    is_over = True
                elif message.startswith(b"="):
                    pairs = [word.split(b":") for word in message[1:].split()]
                    processes = [Identity(int(pid), int(start)) for pid, start in pairs]
                else:
                    paths.append(os.fsdecode(message))
        if processes:
            _end(processes)
        status = 0 if tree.end(paths, _PERSIST_SECONDS) else 1
    finally:
        # Not sys.exit: buffers and exit handlers copied by the fork are the launcher's.
        os._exit(status)


def _end(processes: list[Identity]) -> None:
    from cmemrun.kernel.process import is_alive

    for process in processes:
        if is_alive(process):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)


def _handle_of_ourselves() -> tuple[int, ...]:
    """A descriptor that tells of our end; none before Linux 5.3.

    Nor in a Python that was built for older kernels, as conda's is: it lacks the name.
    """
    with contextlib.suppress(OSError, AttributeError):
        return (os.pidfd_open(os.getpid()),)
    return ()


def _event() -> tuple[int, ...]:
    """A descriptor by which one process can tell another of something; none if all are in use."""
    with contextlib.suppress(OSError):
        return (os.eventfd(0),)
    return ()


def _read(pipe: int, launcher: tuple[int, ...]) -> bytes:
    """What the launcher says next; empty when it says no more."""
    # What it has said before its end comes first.
    return os.read(pipe, 65536) if pipe in _readable((pipe, *launcher)) else b""


def _readable(fds: tuple[int, ...], seconds: float | None = None) -> set[int]:
    """Wait until something can be read from one of them; from which, none when time is over."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000)}


def _close_all_but(keep: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd not in keep:
            # The descriptor of the listing itself is among them, and closed by now.
            with contextlib.suppress(OSError):
                os.close(fd)
