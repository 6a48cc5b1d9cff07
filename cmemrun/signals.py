"""Signals and job control while a program runs: it shall live as it would without us.

The program shares our process group, session and terminal. What the terminal
sends (Ctrl-C, Ctrl-Z, a new size) has reached it already; what somebody sends
to us is passed on. We never act on a signal ourselves: we end when the program
ends and stop when it stops.
"""

import math
import os
import select
import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from cmemrun.launcher import Program

__all__ = [
    "Background",
    "Foreground",
    "Waiter",
    "end_interrupted",
    "end_where_interrupted",
    "survive_one_interrupt",
]

_ENDINGS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
_RELAYED = _ENDINGS | {signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH}
_STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_WATCHED = _RELAYED | _STOPS | {signal.SIGCHLD, signal.SIGCONT}

# siginfo.si_code of a signal that a process sent: SI_USER, SI_QUEUE, SI_TKILL
# (sigaction(2)). The terminal's have SI_KERNEL.
_SENT_BY_PROCESS = frozenset({0, -1, -6})

# poll(2) takes an int. Whoever waits for longer looks again in between.
_LONGEST_POLL_MILLISECONDS = 2**31 - 1

# Python ignores these from its start on, so that writes fail with an error
# instead; a program expects to find them as they were before.
_IGNORED_BY_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})


# A process has one disposition of a signal, and so one such thing to remember.
_survived: set[int] = set()


class Waiter(Protocol):
    """Waits for a program, in the foreground of a terminal or in a caller's thread."""

    interrupted: bool
    """Whether somebody asked to end (SIGINT, SIGTERM, SIGHUP or SIGQUIT) since the last look."""

    owns_process: bool
    """Whether all that this process starts meanwhile is ours, as on the command line."""

    is_relative: Callable[[int], bool]
    """The program's processes: what they send to their process group has reached the program."""

    def restore(self) -> None:
        """In the program's process, before it executes: dispositions and mask as we found them."""
        ...

    def wait(self, program: Program, seconds: float | None) -> None:
        """Return when something may have happened to the program, or the time is over."""
        ...

    def pause(self, seconds: float) -> None:
        """Wait after the program's end, shorter where somebody asks to end."""
        ...

    def stopped(self, program: Program, signum: int) -> None:
        """A signal has stopped the program: do what becomes us."""
        ...


class Foreground:
    """For the command line: takes every signal in one place, so that none can come in between.

    A context; inside it the watched signals are blocked, and a thread started
    there inherits that. For what we have in the terminal ``before_stop`` and
    ``after_stop`` are called when we stop and when somebody has continued us, and
    ``on_resize`` when its size has changed while the program runs.
    """

    owns_process = True

    def __init__(self) -> None:
        self.interrupted = False
        self.interrupted_by_terminal = False
        self.asked_to_end = False
        """As ``interrupted``, and never forgotten."""
        self.is_relative: Callable[[int], bool] = lambda _: False
        self.before_stop: Callable[[], None] = lambda: None
        self.after_stop: Callable[[], None] = lambda: None
        self.on_resize: Callable[[], None] = lambda: None
        self._mask: set[int] = set()
        self._child_ignored = False
        self._endings: set[int] = set()

    def __enter__(self) -> "Foreground":
        self._mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED))
        # Blocked, an ignored signal comes to us all the same (signal(7)).
        self._endings = {
            signum for signum in _ENDINGS if signal.getsignal(signum) is not signal.SIG_IGN
        }
        # Ignored, it would make the kernel reap the program and lose its status.
        self._child_ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
        if self._child_ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return self

    def __exit__(self, *_: object) -> None:
        # Whoever pressed Ctrl-C while the program ended meant the program.
        while self._take(_WATCHED - {signal.SIGCHLD}, 0):
            pass
        survive_one_interrupt()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def restore(self) -> None:
        """Undo what Python did at its start and what we did in ``__enter__``."""
        _restore_dispositions()
        if self._child_ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def wait(self, program: Program, seconds: float | None) -> None:
        """Sleep until a signal comes; pass it on unless the program has had it, too."""
        info = self._take(_WATCHED, seconds)
        if info is None or info.si_signo in (signal.SIGCHLD, signal.SIGCONT):
            return
        if info.si_signo == signal.SIGWINCH:
            self.on_resize()
        if info.si_code in _SENT_BY_PROCESS:
            # To our process group, we take it, where one of its own sent it.
            # Somebody else's signal to the group cannot be told from one to us.
            had = info.si_pid == program.pid or self.is_relative(info.si_pid)
        else:
            had = program.process_group() == os.getpgrp()
        if not had:
            program.signal(signal.Signals(info.si_signo))

    def pause(self, seconds: float) -> None:
        """Sleep until a signal comes."""
        info = self._take(_WATCHED, seconds)
        if info is not None and info.si_signo in _STOPS:
            self._stop()

    def stopped(self, program: Program, signum: int) -> None:
        """Stop as well, so that the shell gets its terminal back, until somebody continues us.

        Only where a shell waits for us as a job in a terminal: elsewhere nobody
        would continue us.
        """
        # SIGSTOP is also what debuggers and throttlers send, who continue only
        # the program; a shell's "suspend" sends it in the foreground.
        ours = {os.getpgrp(), program.process_group()}
        if signum == signal.SIGSTOP and not (_is_job() and _foreground_group() in ours):
            return
        # The shell continues its job's process group; a program that made one
        # of its own is not in it.
        if self._stop() and program.is_stopped():
            program.signal(signal.SIGCONT)

    def _stop(self) -> bool:
        """Stop until we are continued; whether we were.

        The kernel discards our SIGTSTP where no shell of this session could
        continue us ("orphaned process group", setpgid(2)).
        """
        if _foreground_group() is None or signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
            return False
        self.before_stop()
        while signal.sigtimedwait({signal.SIGCONT}, 0):
            pass
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
        self.after_stop()
        return signal.sigtimedwait({signal.SIGCONT}, 0) is not None

    def _take(
        self, signals: frozenset[signal.Signals], seconds: float | None
    ) -> signal.struct_siginfo | None:
        if seconds is None:
            info: signal.struct_siginfo | None = signal.sigwaitinfo(signals)
        else:
            info = signal.sigtimedwait(signals, max(0.0, seconds))
        if info is not None and info.si_signo in self._endings:
            self.interrupted = self.asked_to_end = True
            if info.si_signo == signal.SIGINT and info.si_code not in _SENT_BY_PROCESS:
                self.interrupted_by_terminal = True
        return info


class Background:
    """For a caller's thread: no signal is touched."""

    owns_process = False

    def __init__(self) -> None:
        self.interrupted = False
        self.is_relative: Callable[[int], bool] = lambda _: False

    def restore(self) -> None:
        """Undo what Python did at its start."""
        _restore_dispositions()

    def wait(self, program: Program, seconds: float | None) -> None:
        """Wait for the program's end, or look again after 10 ms where nobody can tell it."""
        try:
            handle = os.pidfd_open(program.pid)  # Linux 5.3
        except ProcessLookupError:
            return
        except (OSError, AttributeError):  # a Python built for older kernels lacks the name
            self.sleep((), 0.01 if seconds is None else min(seconds, 0.01))
            return
        try:
            self.sleep((handle,), seconds)
        finally:
            os.close(handle)

    def pause(self, seconds: float) -> None:
        """Sleep."""
        self.sleep((), seconds)

    def sleep(self, handles: Sequence[int], seconds: float | None) -> None:
        """Until there is something to be read, or the time is over."""
        poll = select.poll()
        for handle in handles:
            poll.register(handle, select.POLLIN)
        wait = None if seconds is None else max(0, math.ceil(seconds * 1000))
        poll.poll(wait if wait is None else min(wait, _LONGEST_POLL_MILLISECONDS))

    def stopped(self, program: Program, signum: int) -> None:
        """Whoever stopped it will continue it."""


def survive_one_interrupt() -> None:
    """Have one SIGINT that would end us lose nothing that was measured; the next one does end us.

    Some output may take for ever, as a pipe does that nobody reads. Once all is told,
    ``end_where_interrupted`` makes up for it.
    """

    def survive(signum: int, _: object) -> None:
        _survived.add(signum)
        signal.signal(signum, signal.SIG_DFL)

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, survive)


def end_where_interrupted() -> None:
    """End as ``end_interrupted`` does where a SIGINT was survived."""
    if _survived:
        end_interrupted()


def end_interrupted() -> None:
    """End by SIGINT, where there is a shell that must see it to end its script or loop, too.

    Whoever presses Ctrl-C in a loop means the loop; to the shell the status is the
    same. Without a shell (we lead the session) nobody looks, and nothing is done.
    """
    if os.getsid(0) == os.getpid():
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.kill(os.getpid(), signal.SIGINT)


def _restore_dispositions() -> None:
    """As exec would leave them, but before the mask is: no handler of ours runs in the child.

    What was ignored before Python started stays ignored: so ``nohup`` holds.
    """
    for signum in signal.valid_signals():
        if signum in _IGNORED_BY_PYTHON or callable(signal.getsignal(signum)):
            signal.signal(signum, signal.SIG_DFL)


def _is_job() -> bool:
    """Whether our parent has put us into a process group of our own, as shells with jobs do."""
    try:
        return os.getpgid(os.getppid()) != os.getpgrp()
    except ProcessLookupError:
        return False


def _foreground_group() -> int | None:
    """The process group in the foreground of our controlling terminal, if there is one."""
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return os.tcgetpgrp(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
