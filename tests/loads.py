"""The programs of known appetite that tests measure, and what holds them at their height."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE_SECONDS, until

__all__ = ["LOAD", "LOADS", "MIB", "Hold", "running", "samples_of"]

LOADS = str(Path(__file__).with_name("kernels") / "loads.py")
LOAD = (sys.executable, "-S", "-E", LOADS)
MIB = 2**20

Seen = Callable[[Sequence[Any]], bool]


@contextlib.contextmanager
def running(command: Sequence[str], **more: Any) -> Iterator["subprocess.Popen[str]"]:
    """A command while the block runs; a block that fails ends it, and does not wait for it."""
    with subprocess.Popen(command, text=True, **more) as process:
        try:
            yield process
        finally:
            process.kill()


def samples_of(record: Path) -> list[Any]:
    """The samples that a run has recorded until now."""
    if not record.exists():
        return []
    lines = record.read_bytes().split(b"\n")[:-1]  # the last one may not be whole
    return [told["sample"] for told in map(json.loads, lines) if "sample" in told]


class Hold:
    """A FIFO whose path stands for the SECONDS of loads: they hold until it is released.

    They also do where the test dies, which closes it. Who measures them with ``options``
    records what it sees, so that a test can release them once something was seen.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "hold"
        self._holding = directory / "hold.held"
        self._record = directory / "hold.jsonl"
        for one in (self._path, self._holding, self._record):
            one.unlink(missing_ok=True)
        os.mkfifo(self._path)
        # For reading, too: to open one for writing alone waits for who reads.
        self._fd: int | None = os.open(self._path, os.O_RDWR)
        self.options = ("--record", str(self._record))

    def __str__(self) -> str:
        return str(self._path)

    def loads(self) -> int:
        """How many have reached their height."""
        return self._holding.stat().st_size if self._holding.exists() else 0

    def samples(self) -> list[Any]:
        """What was recorded until now."""
        return samples_of(self._record)

    def release(self) -> None:
        """Let all of them go on, also those that are still to come: they find nothing to open.

        Gone first and closed then, it keeps nobody waiting for a writer.
        """
        if self._fd is not None:
            self._path.unlink()
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @contextlib.contextmanager
    def until(self, seen: Seen, loads: int = 1) -> Iterator["Hold"]:
        """Release them, while the block runs, once they hold and the samples show something."""
        over, shown = threading.Event(), threading.Event()

        def watch() -> None:
            try:
                until("the loads hold", lambda: over.is_set() or self.loads() >= loads, every=0.05)
                until("it was seen", lambda: over.is_set() or seen(self.samples()), every=0.1)
                if not over.is_set():
                    shown.set()
            finally:
                self.release()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join(PATIENCE_SECONDS)
        assert shown.is_set(), f"never seen of {self.loads()} loads: {self.samples()[-3:]}"

    def until_sampled(self, loads: int = 1) -> contextlib.AbstractContextManager["Hold"]:
        """Release them once a sample was begun while all of them held."""
        before: list[int] = []

        def seen(samples: Sequence[Any]) -> bool:
            before.append(len(samples))
            return len(samples) >= before[0] + 2

        return self.until(seen, loads)
