"""The gate: a program's process is made, waits, and executes only when it is told to.

In between it is put in its group, so that nothing it ever touches is charged
elsewhere. Between fork and exec the child does nothing but wait, become another
user, put the signal dispositions back and execute: it may be the fork of a process with threads.
"""

import contextlib
import errno
import os
import resource
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NoReturn

from cmemrun.errors import BadInput, CmemrunError, ProgramNotExecutable, ProgramNotFound
from cmemrun.identity import User, become, environment_of, libc, not_allowed
from cmemrun.kernel.files import write_text
from cmemrun.kernel.process import has_executed
from cmemrun.model import Exit

__all__ = ["Program", "original_environment"]

_FAILURE = struct.Struct("=iI")  # errno, index of the path that gave it
_NOT_BECOME = 2**32 - 1  # in place of an index: the user could not be changed

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
    ) -> None:
        """Make its process; nothing is executed before ``open_gate``.

        ``restore`` is called there just before, to put back what of the
        caller's signal dispositions and mask we have changed; and the process
        becomes ``user``, where one is given.
        """
        if not command[0]:
            raise ProgramNotFound("there is no program ''", hint="name one")
        environment = os.environ if environment is None else environment
        if user is not None:
            environment = environment_of(user, environment)
        self._user = user
        become_user = partial(become, user, libc()) if user is not None else None
        self.command = tuple(command)
        self._paths = search(command[0], environment)
        self._status: int | None = None
        self._stop_signal: int | None = None
        self.usage: resource.struct_rusage | None = None
        self.has_executed = False
        """Whether it became the program before it was last looked at."""
        waiting, self._gate = os.pipe()
        self._failure, failing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _wait_and_execute(
                *(waiting, failing, self._gate, self._paths, self.command, environment),
                *(restore, become_user),
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
        if self._status is None:
            self.kill()
            self._reap()

    def poll(self) -> bool:
        """Look for news of it; whether it has ended."""
        if self._status is None:
            self.has_executed = self.has_executed or has_executed(self.pid)
            pid, status, usage = os.wait4(self.pid, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                self._stop_signal = os.WSTOPSIG(status)
            elif pid:
                self._status, self.usage = status, usage
        return self._status is not None

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
        if self._status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signum)

    def ended(self, *, timed_out: bool) -> Exit:
        """How it ended.

        Raises ``ProgramNotFound`` or ``ProgramNotExecutable``, with the path
        and the reason, where it was never executed, and ``CmemrunError`` where
        it could not become its user.
        """
        assert self._status is not None, "asked before its end"  # noqa: S101
        failure = os.read(self._failure, _FAILURE.size)
        if len(failure) == _FAILURE.size:
            number, index = _FAILURE.unpack(failure)
            if index == _NOT_BECOME and self._user is not None:
                raise not_allowed(self._user, number)
            raise self._refusal(number, self._paths[index])
        if os.WIFSIGNALED(self._status):
            return Exit(None, os.WTERMSIG(self._status), timed_out)
        return Exit(os.WEXITSTATUS(self._status), None, timed_out)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            _, self._status, self.usage = os.wait4(self.pid, 0)

    def _refusal(self, number: int, path: str) -> CmemrunError:
        name, reason = self.command[0], os.strerror(number)
        if number not in _NOT_HERE:
            return ProgramNotExecutable(
                f"cannot execute {path!r}: {reason}", hint=_remedy(number, path)
            )
        if os.path.exists(path):
            return ProgramNotExecutable(
                f"cannot execute {path!r}: its interpreter is missing ({reason})",
                hint="look at its first line, or at the loader that readelf -l names",
            )
        if "/" in name:
            return ProgramNotFound(f"there is no program {name!r}: {reason}")
        return ProgramNotFound(f"there is no program {name!r} on PATH")


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
    gate: int,
    paths: Sequence[str],
    command: tuple[str, ...],
    environment: Mapping[str, str],
    restore: Callable[[], None],
    become_user: Callable[[], None] | None,
) -> NoReturn:
    try:
        os.close(gate)
        if os.read(waiting, 1) == b"!":
            failure = _become(become_user) if become_user is not None else None
            if failure is None:
                restore()
                failure = _execute(paths, command, environment)
            os.write(failing, _FAILURE.pack(*failure))
    except BaseException:
        os.write(failing, _FAILURE.pack(errno.EINVAL, 0))
    finally:
        # Reached only where nothing was executed; never back into the caller's code.
        os._exit(127)


def _become(become_user: Callable[[], None]) -> tuple[int, int] | None:
    try:
        become_user()
    except OSError as error:
        return error.errno or errno.EPERM, _NOT_BECOME
    return None


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
