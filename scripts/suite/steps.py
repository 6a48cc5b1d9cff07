"""What there is to run, and what it said of itself."""

import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from scripts.suite.cpu import Meter

__all__ = ["Ended", "Running", "Step", "Test"]

_PATIENCE_SECONDS = 10


@dataclass(frozen=True)
class Step:
    """One command, of the checkout's root."""

    name: str
    command: tuple[str, ...]
    lanes: int = 1
    """How many processors it keeps busy."""
    records: int = 0
    """How often it runs pytest with the record of ``tests/selection.py``, in guests at each place.

    One without tests is a failure.
    """
    seconds: float = 2400
    """No step takes longer that does not hang."""


class Test(NamedTuple):
    """One test as it ended."""

    node: str
    outcome: str
    seconds: float


@dataclass(frozen=True)
class Ended:
    """A step that has ended, and why it is red if it is."""

    step: Step
    output: str
    wall_seconds: float
    cpu_seconds: float | None
    why_red: str = ""
    tests: list[Test] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)


class Running:
    """A step on its way."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self._begun = time.monotonic()
        self._meter = Meter()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed with the step
        self._report = tempfile.NamedTemporaryFile(prefix="cmemrun-tests-")  # noqa: SIM115
        self._process = subprocess.Popen(
            self._meter.around(step.command),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"CMEMRUN_TEST_REPORT": self._report.name},
            start_new_session=True,
        )

    def has_ended(self) -> bool:
        return self._process.poll() is not None or self._is_late()

    def _is_late(self) -> bool:
        return time.monotonic() - self._begun > self.step.seconds

    def _stop(self) -> None:
        """Let it end what it has started, which may be in a session of its own."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def end(self) -> Ended:
        """Return how it ended; one that has not is ended."""
        status = self._process.poll()
        if status is None:
            self._stop()
        why = "" if status == 0 else "hung" if status is None else f"exit status {status}"
        with self._output, self._report:
            self._output.seek(0)
            output = self._output.read().decode(errors="replace")
            written = Path(self._report.name).read_bytes()
        records = [json.loads(line) for line in written.splitlines()]
        ran = sum(bool(record["tests"]) for record in records)
        if not why and ran < self.step.records:
            why = f"ended well, but {self.step.records - ran} of {self.step.records} ran no test"
        tests = [
            Test(node, outcome, seconds)
            for record in records
            for node, (outcome, seconds) in record["tests"].items()
        ]
        left_out = {node: names for record in records for node, names in record["left_out"].items()}
        return Ended(
            self.step,
            output,
            time.monotonic() - self._begun,
            self._meter.close(),
            why,
            tests,
            left_out,
        )
