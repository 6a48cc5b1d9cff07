"""Wait for conditions, never for a time; and how slow this machine is, for bounds that matter."""

import functools
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["PATIENCE_SECONDS", "slowness", "until"]

T = TypeVar("T")

PATIENCE_SECONDS = 120.0
"""Only a hang takes this long, on the slowest machine and beside any load."""
_USUAL_START_SECONDS = 0.1


def until(
    what: str, true: Callable[[], T], *, within: float = PATIENCE_SECONDS, every: float = 0.01
) -> T:
    """Wait until ``true()`` is true and return what it gave; otherwise fail and say ``what``."""
    deadline = time.monotonic() + within
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what}"
        time.sleep(every)
    return found


@functools.cache
def slowness() -> float:
    """How many times slower than a quiet machine of today this one starts programs; at least 1.

    Measured once per session, for the few bounds in wall time that are a promise to users.
    """
    command = shutil.which("cmemrun", path=str(Path(sys.executable).parent)) or "cmemrun"
    taken = []
    for _ in range(3):
        begun = time.monotonic()
        subprocess.run([command, "-q", "true"], check=True, stdin=subprocess.DEVNULL)
        taken.append(time.monotonic() - begun)
    return max(1.0, sorted(taken)[1] / _USUAL_START_SECONDS)
