"""What there is to run, and what it said of itself."""

import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from scripts.suite.cpu import Meter

__all__ = ["Ended", "Running", "Step"]


@dataclass(frozen=True)
class Step:
    """One command, of the checkout's root."""

    name: str
    command: tuple[str, ...]
    lanes: int = 1
    """How many processors it keeps busy."""
    has_tests: bool = False
    """Runs pytest with the record of ``tests/selection.py``: a run without tests is a failure."""
    seconds: float = 2400
    """No step takes longer that does not hang."""


@dataclass(frozen=True)
class Ended:
    """A step that has ended, and why it is red if it is."""

    step: Step
    output: str
    wall_seconds: float
    cpu_seconds: float | None
    why_red: str = ""
    tests: dict[str, tuple[str, float]] = field(default_factory=dict)
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

    def end(self) -> Ended:
        """Return how it ended; one that has not is ended."""
        status = self._process.poll()
        if status is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        why = "" if status == 0 else "hung" if status is None else f"exit status {status}"
        with self._output, self._report:
            self._output.seek(0)
            output = self._output.read().decode(errors="replace")
            written = Path(self._report.name).read_bytes()
        record = json.loads(written) if written else {}
        if self.step.has_tests and not why and not record.get("tests"):
            why = "ended well, but ran no test"
        return Ended(
            self.step,
            output,
            time.monotonic() - self._begun,
            self._meter.close(),
            why,
            {node: (how, seconds) for node, (how, seconds) in record.get("tests", {}).items()},
            record.get("left_out", {}),
        )
