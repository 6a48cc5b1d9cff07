"""Commands that are run beside the program: to prepare, to check, to ask git."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from cmemrun.errors import BadInput
from cmemrun.launcher import original_environment

__all__ = ["run_beside"]


def run_beside(
    option: str, command: Sequence[str], **more: Any
) -> "subprocess.CompletedProcess[bytes]":
    """Run it without input, in the caller's environment; ``BadInput`` where it cannot be.

    ``option`` is what asked for it, ``more`` are ``subprocess.run``'s, ``env`` included.
    """
    more.setdefault("env", original_environment())
    try:
        with _statuses():
            return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, **more)
    except OSError as error:
        raise BadInput(
            f"{option}: cannot run {command[0]!r}: {error.strerror}",
            hint="give a program on PATH, or the path of one, that is executable",
        ) from error


@contextlib.contextmanager
def _statuses() -> Iterator[None]:
    """Have SIGCHLD not ignored, or the kernel keeps no status, and all would seem to succeed."""
    ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        if ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
