"""Signals and job control while a program runs: it shall live as it would without us.

The program shares our process group, session and terminal. What the terminal
sends (Ctrl-C, Ctrl-Z, a new size) has reached it already; what somebody sends
to us alone is passed on. We never act on a signal ourselves: we end when the
program ends and stop when it stops.
"""

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Iterator
from typing import Protocol

from cmemrun.launcher import Program

__all__ = ["Background", "Foreground", "Waiter"]

RELAYED = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
    }
)
_ENDINGS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
_STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_WATCHED = RELAYED | _STOPS | {signal.SIGCHLD}

# siginfo.si_code of a signal that a process sent: SI_USER, SI_QUEUE, SI_TKILL
# (sigaction(2)). The terminal's have SI_KERNEL.
_SENT_BY_PROCESS = frozenset({0, -1, -6})

# Python ignores these from its start on, so that writes fail with an error
# instead; a program expects to find them as they were before.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class Waiter(Protocol):
    """Waits for a program, in the foreground of a terminal or in a caller's thread."""

    interrupted: bool
    """Whether somebody asked to end (SIGINT, SIGTERM, SIGHUP or SIGQUIT) since the last look."""

    def restore(self) -> None:
        """In the program's process, before it executes: dispositions and mask as we found them."""
        ...

    def wait(self, program: Program, seconds: float | None) -> None:
        """Return when something may have happened to the program, or the time is over."""
        ...

    def pause(self, seconds: float) -> None:
        """Wait after the program's end, shorter where somebody asks to end."""
        ...

    def stopped(self, program: Program) -> None:
        """The program has been stopped: do what becomes us."""
        ...


class Foreground:
    """For the command line: takes every signal in one place, so that none can come in between.

    A context; inside it the watched signals are blocked, and a thread started
    there inherits that.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._mask: set[int] = set()
        self._child_ignored = False

    def __enter__(self) -> "Foreground":
        self._mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED))
        # Ignored, it would make the kernel reap the program and lose its status.
        self._child_ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
        if self._child_ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return self

    def __exit__(self, *_: object) -> None:
        # Whoever pressed Ctrl-C while the program ended meant the program.
        while signal.sigtimedwait(RELAYED | _STOPS, 0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def restore(self) -> None:
        """Undo what Python did at its start and what we did in ``__enter__``."""
        _restore_what_python_ignores()
        if self._child_ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def wait(self, program: Program, seconds: float | None) -> None:
        """Sleep until a signal comes; pass it on if it was meant for the program."""
        info = self._next(seconds)
        if info is None or info.si_signo == signal.SIGCHLD:
            return
        # What the program itself sent to its process group it has had already.
        if info.si_code in _SENT_BY_PROCESS and info.si_pid != program.pid:
            program.signal(signal.Signals(info.si_signo))

    def pause(self, seconds: float) -> None:
        """Sleep until a signal comes."""
        self._next(seconds)

    def stopped(self, program: Program) -> None:
        """Stop as well, so that the shell gets its terminal back, until somebody continues us.

        Only where there is a terminal: elsewhere nobody would. The kernel
        discards our SIGTSTP where no shell of this session could continue us
        ("orphaned process group", setpgid(2)).
        """
        with _terminal() as there:
            if not there or signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
                return
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
        # The shell continues its job's process group; a program that made one
        # of its own is not in it.
        if program.is_stopped():
            program.signal(signal.SIGCONT)

    def _next(self, seconds: float | None) -> signal.struct_siginfo | None:
        if seconds is None:
            info: signal.struct_siginfo | None = signal.sigwaitinfo(_WATCHED)
        else:
            info = signal.sigtimedwait(_WATCHED, max(0.0, seconds))
        self.interrupted |= info is not None and info.si_signo in _ENDINGS
        return info


class Background:
    """For a caller's thread: no signal is touched."""

    interrupted = False

    def restore(self) -> None:
        """Undo what Python did at its start."""
        _restore_what_python_ignores()

    def wait(self, program: Program, seconds: float | None) -> None:
        """Wait for the program's end (pidfd_open(2), Linux 5.3; else look every 10 ms)."""
        try:
            handle = os.pidfd_open(program.pid)
        except OSError as error:
            if error.errno == errno.ENOSYS:
                time.sleep(0.01 if seconds is None else min(seconds, 0.01))
            return
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.poll(None if seconds is None else max(0, round(seconds * 1000)))
        finally:
            os.close(handle)

    def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def stopped(self, program: Program) -> None:
        """Whoever stopped it will continue it."""


def _restore_what_python_ignores() -> None:
    """Other handlers go with exec, and ignored signals stay ignored: so ``nohup`` holds."""
    for signum in _IGNORED_BY_PYTHON:
        signal.signal(signum, signal.SIG_DFL)


@contextlib.contextmanager
def _terminal() -> Iterator[bool]:
    """Whether this session has a controlling terminal."""
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(fd)
