"""A program that is run again and again says nothing, and reads nothing."""

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["silenced"]


@contextlib.contextmanager
def silenced() -> Iterator[int]:
    """Have what the program says go nowhere; a descriptor for what we say meanwhile."""
    sys.stdout.flush()
    kept = [os.dup(fd) for fd in (0, 1, 2)]
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        for fd in (0, 1, 2):
            os.dup2(nowhere, fd)
        yield kept[2]
    finally:
        for fd, before in enumerate(kept):
            os.dup2(before, fd)
            os.close(before)
        os.close(nowhere)
