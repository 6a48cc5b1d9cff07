"""Work in a thread of its own, which its owner can end, whatever happens to that one.

So an exception that comes at any time, as that of Ctrl-C does, never comes into
the middle of making or removing a group.
"""

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent import futures
from types import TracebackType
from typing import Generic, TypeVar

from cmemrun.signals import Background

__all__ = ["Job", "Stoppable"]

Result = TypeVar("Result")

# Since Python 3.12 a fork beside threads warns. Ours do what little may be done:
# see launcher and keeper.
_FORK_WARNING = ".*multi-threaded, use of fork"
_FORKING = r"cmemrun\.(keeper|launcher)"


class _Cancelled(Exception):
    """Somebody does not want the result any more."""


class Stoppable(Background):
    """Waits in the job's thread, and can be told to stop from another one.

    It is made in the caller's thread, whose signal mask the program gets; the
    job's thread has all of them blocked, so that none comes to a fork of ours.
    """

    def __init__(self) -> None:
        super().__init__()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_cancelled = False

    def restore(self) -> None:
        super().restore()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def sleep(self, handles: Sequence[int], seconds: float | None) -> None:
        super().sleep((*handles, self._wake), seconds)
        if self._is_cancelled:
            raise _Cancelled

    def finish(self) -> None:
        """Have it come to its end, with a result."""
        self.interrupted = True
        os.eventfd_write(self._wake, 1)

    def cancel(self) -> None:
        """Have it give up, undoing what it has done."""
        self._is_cancelled = True
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        os.close(self._wake)


class Job(Generic[Result]):
    """A context; when it is left, nothing goes on. It begins once."""

    def __init__(self, work: Callable[[Stoppable], Result]) -> None:
        self._work = work
        self.waiter = Stoppable()
        self.future: futures.Future[Result] = futures.Future()

    def start(self) -> None:
        """Begin; a daemon, as whoever ends the interpreter does not want to wait for programs."""
        threading.Thread(target=self._run, name="cmemrun", daemon=True).start()

    def __enter__(self) -> "Job[Result]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._insist(self._give_up)
        finally:
            self.waiter.close()

    async def outcome(self) -> Result:
        """Begin, and wait without blocking the loop; cancelled, until all is undone."""
        import asyncio

        self.start()
        ended = asyncio.wrap_future(self.future)
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            self.waiter.cancel()
            while not ended.done():
                # Somebody who cancels again gets what the first one does.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([ended])
            ended.exception()  # it has been looked at, and asyncio need not complain
            raise

    def finish(self) -> None:
        """Have it come to its end, with a result, and wait for that."""
        self._insist(self.waiter.finish)

    def _give_up(self) -> None:
        # False where it has begun; else it never will.
        if not self.future.cancel():
            self.waiter.cancel()

    def _insist(self, ask: Callable[[], None]) -> None:
        """Until it is over; what interrupts us is raised only then."""
        interruption: BaseException | None = None
        while not self.future.done():
            try:
                ask()
                futures.wait([self.future])
            except BaseException as error:
                interruption = error
        if interruption is not None:
            raise interruption

    def _run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            _ignore_fork_warning()
            result = self._work(self.waiter)
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


def _ignore_fork_warning() -> None:
    """Unless it is ignored: each new filter makes Python forget what it has warned of."""
    if not any(_FORK_WARNING in str(known) for known in warnings.filters):
        warnings.filterwarnings("ignore", _FORK_WARNING, DeprecationWarning, _FORKING)
