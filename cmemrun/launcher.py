"""The gate: a program's process is made, waits, and executes only when it is told to.

In between it is put in its group, so that nothing it ever touches is charged
elsewhere. Between fork and exec the child does nothing but close, wait, become another
user, go to its directory, take its streams, put the signal dispositions back and
execute: it may be the fork of a process with threads.
"""

import contextlib
import errno
import fcntl
import gc
import os
import resource
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NoReturn

from cmemrun.errors import (
    BadInput,
    CmemrunError,
    ProgramNotExecutable,
    ProgramNotFound,
    cannot_fork,
)
from cmemrun.identity import User, become, environment_of, libc, not_allowed
from cmemrun.kernel.files import write_text
from cmemrun.kernel.process import has_executed
from cmemrun.model import Exit

__all__ = ["OUR_STREAMS", "Program", "Streams", "original_environment"]

Streams = tuple[int | None, int | None, int | None]
"""Descriptors for standard input, output and error; ``None`` for our own."""

OUR_STREAMS: Streams = (None, None, None)

_FAILURE = struct.Struct("=iI")  # errno, index of the path that gave it
_NOT_BECOME = 2**32 - 1  # in place of an index: the user could not be changed
_NOT_ENTERED = 2**32 - 2  # likewise the directory
_NOT_TAKEN = 2**32 - 3  # likewise the streams

# execvp(3): these say "not here", and the search goes on.
_NOT_HERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ESTALE, errno.ETIMEDOUT})


class Program:
    """One program, waiting at the gate, then running, then ended."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        restore: Callable[[], None],
        environment: Mapping[str, str] | None = None,
        user: User | None = None,
        is_users_environment: bool = False,
        directory: str | None = None,
        streams: Streams = OUR_STREAMS,
    ) -> None:
        """Make its process; nothing is executed before ``open_gate``.

        ``restore`` is called there just before, to put back what of the
        caller's signal dispositions and mask we have changed; and the process
        becomes ``user``, goes to ``directory`` and takes ``streams``, where
        they are given. The environment is made that user's unless it is so already.
        Raises ``CmemrunError`` where no process can be made.
        """
        if not command[0]:
            raise ProgramNotFound("there is no program ''", hint="name one")
        environment = os.environ if environment is None else environment
        if user is not None and not is_users_environment:
            environment = environment_of(user, environment)
        self._user = user
        become_user = partial(become, user, libc()) if user is not None else None
        self.command = tuple(command)
        self._paths = search(command[0], environment)
        self._directory = directory
        self._has_ended = False
        self._status: int | None = None
        self._stop_signal: int | None = None
        self.usage: resource.struct_rusage | None = None
        self.has_executed = False
        """Whether it became the program before it was last looked at."""
        waiting, self._gate = os.pipe()
        self._failure, failing = os.pipe()
        # Another thread's fork may have a copy of its other end, and live for long.
        os.set_blocking(self._failure, False)
        try:
            self.pid = os.fork()
        except OSError as error:
            for fd in (waiting, self._gate, self._failure, failing):
                os.close(fd)
            raise cannot_fork(error) from error
        if self.pid == 0:
            _wait_and_execute(
                *(waiting, failing, self._paths, self.command, environment),
                *(restore, become_user, directory, streams),
            )
        os.close(waiting)
        os.close(failing)

    def open_gate(self) -> None:
        """Let it execute.

        Whether it could is known at its end: to wait for it here would be to
        wait without hearing that it was stopped on the way.
        """
        gate, self._gate = self._gate, -1
        with contextlib.suppress(BrokenPipeError):  # it was killed while it waited
            os.write(gate, b"!")
        os.close(gate)

    def adjust_oom_score(self, adj: int) -> None:
        """Have the OOM killer choose it sooner or later than by its size; for those it makes, too.

        Raises ``BadInput`` where this takes rights that we do not have.
        """
        try:
            write_text(f"/proc/{self.pid}/oom_score_adj", str(adj))
        except OSError as error:
            raise BadInput(
                f"--oom-score-adj: {adj} is refused: {error.strerror}",
                hint="only root may lower it",
            ) from error

    def abandon(self) -> None:
        """End it where it stands, wherever that is; harmless after its end."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1
        if self._failure >= 0:
            os.close(self._failure)
            self._failure = -1
        if not self._has_ended:
            self.kill()
            self._reap()

    def poll(self) -> bool:
        """Look for news of it; whether it has ended."""
        if not self._has_ended:
            self.has_executed = self.has_executed or has_executed(self.pid)
            try:
                pid, status, usage = os.wait4(self.pid, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                # Our caller waits for every child, or has SIGCHLD ignored.
                self._has_ended = True
                return True
            if pid and os.WIFSTOPPED(status):
                self._stop_signal = os.WSTOPSIG(status)
            elif pid:
                self._has_ended, self._status, self.usage = True, status, usage
        return self._has_ended

    def take_stop(self) -> int | None:
        """The signal that has stopped it since this was last asked; each stop is told once."""
        signum, self._stop_signal = self._stop_signal, None
        return signum

    def is_stopped(self) -> bool:
        """Whether it stands still right now."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                # The name before it is the program's to choose and may hold anything.
                return file.read().rpartition(b")")[2].split()[:1] == [b"T"]
        except OSError:
            return False

    def process_group(self) -> int | None:
        """The process group it is in; it may have made its own."""
        with contextlib.suppress(ProcessLookupError):
            return os.getpgid(self.pid)
        return None

    def terminate(self) -> None:
        """Ask it to end."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, also where it has left its group."""
        self.signal(signal.SIGKILL)

    def signal(self, signum: signal.Signals) -> None:
        """Send it a signal, unless it has ended (then its PID may be somebody else's)."""
        if not self._has_ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signum)

    def ended(self, *, timed_out: bool) -> Exit:
        """How it ended, as far as anybody told us.

        Raises ``ProgramNotFound`` or ``ProgramNotExecutable``, with the path
        and the reason, where it was never executed, ``BadInput`` where it could
        not enter its directory or have its streams, and ``CmemrunError`` where
        it could not become its user.
        """
        assert self._has_ended, "asked before its end"  # noqa: S101
        try:
            failure = os.read(self._failure, _FAILURE.size)
        except BlockingIOError:
            failure = b""
        if len(failure) == _FAILURE.size:
            number, index = _FAILURE.unpack(failure)
            if index == _NOT_BECOME and self._user is not None:
                raise not_allowed(self._user, number)
            if index == _NOT_ENTERED:
                raise BadInput(
                    f"it cannot start in {self._directory!r}: {os.strerror(number)}",
                    hint="give a directory that is there and that it may enter",
                )
            if index == _NOT_TAKEN:
                raise BadInput(
                    f"it cannot have these streams: {os.strerror(number)}",
                    hint="give files that are open",
                )
            raise self._refusal(number, self._paths[index])
        if self._status is None:
            return Exit(timed_out=timed_out)
        if os.WIFSIGNALED(self._status):
            return Exit(None, os.WTERMSIG(self._status), timed_out)
        return Exit(os.WEXITSTATUS(self._status), None, timed_out)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            _, self._status, self.usage = os.wait4(self.pid, 0)
        self._has_ended = True

    def _refusal(self, number: int, path: str) -> CmemrunError:
        name, reason = self.command[0], os.strerror(number)
        if number not in _NOT_HERE:
            return ProgramNotExecutable(
                f"cannot execute {path!r}: {reason}", hint=_remedy(number, path)
            )
        if os.path.exists(os.path.join(self._directory or "", path)):
            return ProgramNotExecutable(
                f"cannot execute {path!r}: its interpreter is missing ({reason})",
                hint="look at its first line, or at the loader that readelf -l names",
            )
        if "/" in name:
            return ProgramNotFound(
                f"there is no program {name!r}: {reason}", hint="see that the path is right: ls -l"
            )
        return ProgramNotFound(
            f"there is no program {name!r} on PATH",
            hint=f"install it, or write where it is, as in ./{name}",
        )


def search(name: str, environment: Mapping[str, str]) -> list[str]:
    """The paths to try for a name, in order, as execvp(3) does."""
    if "/" in name:
        return [name]
    path = environment.get("PATH", os.defpath)
    return [os.path.join(directory, name) for directory in path.split(":")]


def original_environment() -> dict[str, str]:
    """Our environment as the caller set it.

    In the C locale Python adds ``LC_CTYPE`` to its own environment (PEP 538);
    the program shall not get it from us. The kernel still has the original.
    """
    environment = dict(os.environ)
    if "LC_CTYPE" in environment:
        with contextlib.suppress(OSError), open("/proc/self/environ", "rb") as file:
            if not any(entry.startswith(b"LC_CTYPE=") for entry in file.read().split(b"\0")):
                del environment["LC_CTYPE"]
    # A nameless entry, which some shells leave, is one that Python cannot pass on.
    environment.pop("", None)
    return environment


def _remedy(number: int, path: str) -> str | None:
    if os.path.isdir(path):
        return "it is a directory: name the program in it"
    if number == errno.EACCES:
        return f"make it executable: chmod +x {path}"
    if number == errno.ENOEXEC:
        return "it is neither a program for this machine nor a script"
    return None


def _wait_and_execute(
    waiting: int,
    failing: int,
    paths: Sequence[str],
    command: tuple[str, ...],
    environment: Mapping[str, str],
    restore: Callable[[], None],
    become_user: Callable[[], None] | None,
    directory: str | None,
    streams: Streams,
) -> NoReturn:
    try:
        # No finalizer of the caller's is to run here, on what it shares with its fork.
        gc.disable()
        _close(but={waiting, failing, *streams}, inherited=become_user is not None)
        if os.read(waiting, 1) == b"!":
            # Above the streams' numbers, which a caller may have closed.
            if failing < 3:
                failing = fcntl.fcntl(failing, fcntl.F_DUPFD_CLOEXEC, 3)
            failure = _prepare(become_user, directory, streams)
            if failure is None:
                restore()
                failure = _execute(paths, command, environment)
            os.write(failing, _FAILURE.pack(*failure))
    except BaseException:
        os.write(failing, _FAILURE.pack(errno.EINVAL, 0))
    finally:
        # Reached only where nothing was executed; never back into the caller's code.
        os._exit(127)


def _close(*, but: set[int | None], inherited: bool) -> None:
    """Close early what exec would: another thread's run waits for the end of its pipes.

    And what is ``inherited``, standard streams apart, where it was opened with root's rights
    and the program is not to have any of those (as sudo's closefrom does).
    """
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        # The descriptor of the listing itself is among them, and closed by now.
        with contextlib.suppress(OSError):
            if fd not in but and (not os.get_inheritable(fd) or (inherited and fd > 2)):
                os.close(fd)


def _prepare(
    become_user: Callable[[], None] | None, directory: str | None, streams: Streams
) -> tuple[int, int] | None:
    """Whatever the program is to find; else the error and which of them it was."""
    at = _NOT_BECOME
    try:
        if become_user is not None:
            become_user()
        at = _NOT_ENTERED
        if directory is not None:
            os.chdir(directory)
        at = _NOT_TAKEN
        if streams != OUR_STREAMS:
            _take(streams)
    except OSError as error:
        return error.errno or errno.EPERM, at
    return None


def _take(streams: Streams) -> None:
    # Out of the way first: one of them may have the number that is another's.
    copies = [fd if fd is None else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in streams]
    for number, copy in enumerate(copies):
        if copy is not None:
            os.dup2(copy, number)


def _execute(
    paths: Sequence[str], command: tuple[str, ...], environment: Mapping[str, str]
) -> tuple[int, int]:
    """Try the paths as execvp(3) does; the error to report and the index of its path."""
    worst, found = (errno.ENOENT, len(paths) - 1), False
    for index, path in enumerate(paths):
        try:
            os.execve(path, command, environment)
        except OSError as error:
            if error.errno == errno.ENOEXEC and _is_text(path):
                # A script without a first line that says whose it is: every
                # shell and execvp(3) give it to /bin/sh.
                with contextlib.suppress(OSError):
                    os.execve("/bin/sh", ["/bin/sh", path, *command[1:]], environment)
            number = error.errno or errno.EIO
            if number not in _NOT_HERE | {errno.EACCES}:
                return number, index
            # The search goes on; what is told in the end is the first that was
            # there: not executable, or with an interpreter that is not there.
            if not found:
                worst = (number, index)
                found = number == errno.EACCES or os.path.exists(path)
    return worst


def _is_text(path: str) -> bool:
    """What bash asks before it takes a file for a script: no NUL in its first line."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return b"\0" not in file.read(80).partition(b"\n")[0]
    return False
