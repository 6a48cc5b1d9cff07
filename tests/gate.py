"""A gate at which programs of a test wait until it is opened: they end no sooner, and no later."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Gate", "closed_gate"]


class Gate:
    """A file that the test has locked; programs wait for a lock of their own, many at once."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self.shell = f"flock -s {path} true"
        """What waits at it, for a shell; and for Python, which has nothing else on the line."""
        self.python = f"import fcntl; fcntl.flock(open({str(path)!r}), fcntl.LOCK_SH)"

    def open(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Whoever still waits goes on."""
        os.close(self._fd)


@contextmanager
def closed_gate(path: Path) -> Iterator[Gate]:
    gate = Gate(path)
    try:
        yield gate
    finally:
        gate.close()
