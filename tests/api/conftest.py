"""What the caller of the API must find unchanged."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cmemrun.kernel.hierarchy import detect
from tests.loads import LOADS
from tests.waiting import PATIENCE_SECONDS, until

MIB = 2**20


def load(*words: str) -> list[str]:
    """One of the known loads as a command."""
    return [sys.executable, "-S", "-E", LOADS, *words]


def groups_of(pid: int) -> set[str]:
    """The groups of the runs that a process has made."""
    return {
        f"{directory}/{name}"
        for mount in detect().mounts
        for directory, names, _ in os.walk(mount.point)
        for name in names
        if name.startswith(f"cmemrun-{pid}-")
    }


def until_written(text: str, path: Path) -> None:
    """Wait for a program to have written something."""
    until(f"{path} says {text!r}", lambda: path.exists() and text in path.read_text())


@pytest.fixture
def nothing_left(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No group, process, descriptor, thread, handler or word of ours stays in this process."""

    def found() -> tuple[object, ...]:
        return (
            groups_of(os.getpid()),
            [child.pid for child in psutil.Process().children(recursive=True)],
            sorted(os.listdir("/proc/self/fd")),
            sorted(thread.name for thread in threading.enumerate()),
            signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            [signal.getsignal(signum) for signum in signal.valid_signals()],
            os.getcwd(),
        )

    before = found()
    yield
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (now := found()) != before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert now == before
    assert capfd.readouterr() == ("", "")
